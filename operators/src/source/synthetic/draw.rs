//! A frame's pixels: the ground, shadows or beams, then all things from the farthest to the nearest.

use std::sync::OnceLock;

use flowrun_engine::frame::PlainMemory;
use flowrun_engine::rows::Size;

use super::body::{Body, Kind};
use super::camera::Camera;
use super::figure::{self, Solid, at, trait_of};
use super::ground::{self, Planes};
use super::hull::Hull;
use super::paint::{Canvas, Colour, Noise, Paint, lit};
use super::random::mix;
use super::roads::{Lamp, Signals};
use super::scene::{Placed, Scene, Thing};
use super::street::{Fixture, Surface};

/// What all frames of a camera share.
#[derive(Debug)]
pub(super) struct Stage {
    pub size: Size,
    pub camera: Camera,
    pub fixtures: Vec<Fixture>,
    seed: u64,
    /// Made when somebody first looks at a picture.
    backdrop: OnceLock<([Planes; 2], Noise)>,
}

/// What a frame shows and in which light.
#[derive(Debug)]
pub(super) struct Shot {
    pub frame: u64,
    pub scene: Scene,
    pub signals: Signals,
    /// 0 by day, 1 by night.
    pub night: f32,
}

impl Stage {
    pub fn new(size: Size, seed: u64) -> Self {
        let camera = Camera::new(size);
        Stage {
            size,
            fixtures: super::street::fixtures(&camera),
            camera,
            seed,
            backdrop: OnceLock::new(),
        }
    }

    /// The pixels of a frame: the same whenever they are asked for.
    pub fn render(&self, shot: &Shot) -> PlainMemory {
        let (planes, noise) = self.backdrop.get_or_init(|| {
            let planes = ground::backgrounds(&self.camera, self.size, self.seed);
            (planes, Noise::new(self.seed))
        });
        let mut artist = Artist {
            canvas: Canvas {
                width: self.size.width as usize,
                height: self.size.height as usize,
                luma: between(planes.each_ref().map(|planes| &planes.luma[..]), shot.night),
                chroma: [0, 1]
                    .map(|plane| between(planes.each_ref().map(|planes| &planes.chroma[plane][..]), shot.night)),
                noise,
            },
            camera: &self.camera,
            light: 1.0 - 0.70 * shot.night,
            night: shot.night,
        };
        for placed in &shot.scene.things {
            if let Thing::Body(body) = &placed.thing {
                artist.on_the_ground(body);
            }
        }
        for placed in &shot.scene.things {
            match &placed.thing {
                Thing::Body(body) => artist.body(body, placed),
                Thing::Fixture(index) => artist.fixture(&self.fixtures[*index], &shot.signals),
            }
        }
        let mut canvas = artist.canvas;
        let strength = 3 + (6.0 * shot.night) as i16;
        for (row, line) in canvas.luma.chunks_exact_mut(canvas.width).enumerate() {
            let bits = mix(self.seed ^ mix(shot.frame) ^ (row as u64) << 40);
            for (pixel, grain) in line.iter_mut().zip(noise.run(bits, canvas.width)) {
                *pixel = (i16::from(*pixel) + ((i16::from(*grain) * strength) >> 6)).clamp(0, 255) as u8;
            }
        }
        let [u, v] = canvas.chroma;
        PlainMemory::new([
            (canvas.width, canvas.luma),
            (canvas.width / 2, u),
            (canvas.width / 2, v),
        ])
    }
}

/// A mix of day and night.
fn between([day, night]: [&[u8]; 2], part: f32) -> Vec<u8> {
    match (part * 256.0) as u16 {
        0 => day.to_vec(),
        256.. => night.to_vec(),
        part => {
            let pairs = day.iter().zip(night);
            pairs
                .map(|(day, night)| ((u16::from(*day) * (256 - part) + u16::from(*night) * part) >> 8) as u8)
                .collect()
        }
    }
}

/// The pixels of a quadrangle or other flat shape in the world.
fn flat<const N: usize>(camera: &Camera, points: [[f64; 3]; N]) -> Option<Hull> {
    Hull::around(points.map(|point| camera.pixel(point)))
}

const SHIRTS: [Colour; 10] = [
    [0.72, 0.15, 0.14],
    [0.16, 0.28, 0.55],
    [0.86, 0.85, 0.82],
    [0.12, 0.12, 0.14],
    [0.80, 0.63, 0.14],
    [0.20, 0.45, 0.26],
    [0.46, 0.47, 0.50],
    [0.55, 0.25, 0.48],
    [0.88, 0.47, 0.16],
    [0.32, 0.60, 0.68],
];
const TROUSERS: [Colour; 5] = [
    [0.13, 0.15, 0.24],
    [0.10, 0.10, 0.11],
    [0.42, 0.36, 0.28],
    [0.28, 0.33, 0.42],
    [0.55, 0.53, 0.50],
];
const SKINS: [Colour; 4] = [
    [0.83, 0.64, 0.53],
    [0.66, 0.47, 0.35],
    [0.45, 0.30, 0.21],
    [0.30, 0.20, 0.15],
];
const LACQUERS: [Colour; 10] = [
    [0.80, 0.81, 0.82],
    [0.55, 0.57, 0.59],
    [0.11, 0.11, 0.12],
    [0.30, 0.32, 0.34],
    [0.62, 0.10, 0.09],
    [0.12, 0.22, 0.46],
    [0.88, 0.88, 0.86],
    [0.16, 0.33, 0.24],
    [0.72, 0.58, 0.20],
    [0.36, 0.46, 0.58],
];
const LIVERIES: [Colour; 4] = [
    [0.76, 0.14, 0.12],
    [0.88, 0.70, 0.12],
    [0.16, 0.40, 0.62],
    [0.22, 0.50, 0.30],
];
const RUBBER: Colour = [0.06, 0.06, 0.065];
const GLASS: Colour = [0.13, 0.17, 0.20];

/// One of a palette, by a part of a body's looks.
fn pick(palette: &[Colour], body: &Body, which: u32) -> Colour {
    palette[((body.look >> (which * 8)) & 255) as usize % palette.len()]
}

struct Artist<'a> {
    canvas: Canvas<'a>,
    camera: &'a Camera,
    light: f32,
    night: f32,
}

/// The faces of a solid that may be seen: corners (bottom, bottom, top, top) and the outward normal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Face {
    Left,
    Right,
    Rear,
    Front,
}

impl Face {
    fn corners(self, solid: &[[f64; 3]; 8]) -> [[f64; 3]; 4] {
        let [a, b] = match self {
            Face::Left => [0, 3],
            Face::Right => [1, 2],
            Face::Rear => [0, 1],
            Face::Front => [3, 2],
        };
        [solid[a], solid[b], solid[b + 4], solid[a + 4]]
    }
    fn normal(self, [x, y]: [f64; 2]) -> [f64; 2] {
        match self {
            Face::Left => [-y, x],
            Face::Right => [y, -x],
            Face::Rear => [-x, -y],
            Face::Front => [x, y],
        }
    }
}

/// A part of a face: from and to along its width and its height, 0 to 1.
fn panel(face: &[[f64; 3]; 4], across: [f64; 2], up: [f64; 2]) -> [[f64; 3]; 4] {
    let point = |u: f64, v: f64| {
        [0, 1, 2].map(|axis| {
            let low = face[0][axis] * (1.0 - u) + face[1][axis] * u;
            let high = face[3][axis] * (1.0 - u) + face[2][axis] * u;
            low * (1.0 - v) + high * v
        })
    };
    [
        point(across[0], up[0]),
        point(across[1], up[0]),
        point(across[1], up[1]),
        point(across[0], up[1]),
    ]
}

impl Artist<'_> {
    fn fill(&mut self, hull: Option<Hull>, colour: Colour, fade: f32, grain: i32, salt: u64) {
        if let Some(hull) = hull {
            let colour = lit(colour, self.light);
            let grain = (grain as f32 * self.light) as i32;
            self.canvas.fill(
                &hull,
                &Paint {
                    colour,
                    fade,
                    grain,
                    salt,
                },
            );
        }
    }
    fn shine(&mut self, hull: Option<Hull>, colour: Colour) {
        if let Some(hull) = hull {
            self.canvas.fill(&hull, &Paint::plain(colour));
        }
    }

    /// Shadows by day, beams by night.
    fn on_the_ground(&mut self, body: &Body) {
        let half = 0.5 * body.kind.length(body.look);
        let (side, height) = match body.kind {
            Kind::Person => (0.22, 1.6),
            Kind::Bicycle | Kind::Motorcycle => (0.2, 1.3),
            Kind::Car => (0.9, 1.3),
            Kind::Bus | Kind::Truck => (1.25, 3.0),
        };
        if self.night < 1.0 {
            let foot = [[-half, -side], [-half, side], [half, side], [half, -side]].map(|[u, v]| at(body, u, v, 0.0));
            let cast = foot.map(|[x, y, z]| [x + 0.42 * height, y + 0.26 * height, z]);
            let points = [foot[0], foot[1], foot[2], foot[3], cast[0], cast[1], cast[2], cast[3]];
            if let Some(hull) = flat(self.camera, points) {
                self.canvas.shade(&hull, 150 + (106.0 * self.night) as u16);
            }
        }
        if self.night > 0.4 && body.kind != Kind::Person {
            for (reach, wide, light) in [(13.0, 2.6, 26), (9.0, 1.9, 30), (5.0, 1.3, 34)] {
                let beam = [
                    at(body, half, -side * 0.7, 0.0),
                    at(body, half, side * 0.7, 0.0),
                    at(body, half + reach, wide, 0.0),
                    at(body, half + reach, -wide, 0.0),
                ];
                if let Some(hull) = flat(self.camera, beam) {
                    self.canvas.glow(&hull, (light as f32 * self.night) as u8);
                }
            }
        }
    }

    fn body(&mut self, body: &Body, placed: &Placed) {
        match body.kind {
            Kind::Person => self.person(body, placed),
            Kind::Bicycle | Kind::Motorcycle => self.two_wheeler(body, placed),
            Kind::Car | Kind::Bus | Kind::Truck => self.vehicle(body, placed),
        }
    }

    fn person(&mut self, body: &Body, placed: &Placed) {
        let (shirt, trousers) = (pick(&SHIRTS, body, 1), pick(&TROUSERS, body, 2));
        let skin = pick(&SKINS, body, 3);
        let colours = [lit(trousers, 0.8), trousers, shirt, skin];
        for (part, (hull, colour)) in placed.outline.iter().zip(colours).enumerate() {
            self.fill(Some(*hull), colour, 0.82, 14, body.look ^ part as u64);
        }
        // Hair: the upper half of the head.
        if let Some(head) = placed.outline.get(3) {
            let [left, top, right, bottom] = head.bounds;
            let low = top + 0.45 * (bottom - top);
            let (wide, shoulder) = (right - left, top + 0.32 * (low - top) / 0.45);
            let hair = [
                [left + 0.32 * wide, top],
                [right - 0.32 * wide, top],
                [right - 0.03 * wide, shoulder],
                [right - 0.03 * wide, low],
                [left + 0.03 * wide, low],
                [left + 0.03 * wide, shoulder],
            ];
            let colour = if trait_of(body, 4) < 0.7 {
                [0.12, 0.09, 0.07]
            } else {
                [0.50, 0.38, 0.22]
            };
            self.fill(Hull::around(hair.map(Some)), colour, 1.0, 8, body.look);
        }
    }

    fn two_wheeler(&mut self, body: &Body, placed: &Placed) {
        let frame = pick(&LACQUERS, body, 1);
        let colours = [
            RUBBER,
            RUBBER,
            frame,
            pick(&TROUSERS, body, 2),
            pick(&SHIRTS, body, 3),
            pick(&SHIRTS, body, 4),
        ];
        for (part, (hull, colour)) in placed.outline.iter().zip(colours).enumerate() {
            self.fill(Some(*hull), colour, 0.8, 12, body.look ^ part as u64);
        }
        let half = 0.5 * body.kind.length(body.look) - 0.33;
        for along in [-half, half] {
            let rim = [[-0.16, 0.2], [0.16, 0.2], [0.16, 0.46], [-0.16, 0.46]];
            let rim = rim.map(|[u, z]| at(body, along + u, 0.0, z));
            if body.kind == Kind::Bicycle {
                self.fill(flat(self.camera, rim), [0.34, 0.35, 0.36], 1.0, 10, body.look);
            }
        }
        self.lamps(body, 0.70, 0.12, &placed.outline[0]);
    }

    fn vehicle(&mut self, body: &Body, placed: &Placed) {
        // What shines through the gaps between the panels is the dark of the underbody.
        for hull in placed.outline.iter() {
            self.fill(Some(*hull), RUBBER, 1.0, 6, body.look);
        }
        let colour = match body.kind {
            Kind::Bus => pick(&LIVERIES, body, 2),
            _ => pick(&LACQUERS, body, 2),
        };
        let cargo = if trait_of(body, 3) < 0.6 {
            [0.82, 0.82, 0.80]
        } else {
            pick(&LIVERIES, body, 4)
        };
        let mut solids: Vec<(usize, Solid)> = figure::solids(body).into_iter().flatten().enumerate().collect();
        // The part that is farther away first; a car's cabin stands on its body.
        if body.kind == Kind::Truck && body.heading[1] > 0.0 {
            solids.reverse();
        }
        for (part, solid) in solids {
            match (body.kind, part) {
                (Kind::Car, 0) => self.panels(body, &lifted(solid, 0.24), colour, Dress::Body),
                (Kind::Car, _) => self.panels(body, &solid, colour, Dress::Cabin),
                (Kind::Bus, _) => self.panels(body, &lifted(solid, 0.32), colour, Dress::Coach),
                (_, 0) => self.panels(body, &lifted(solid, 0.75), cargo, Dress::Box),
                (_, _) => self.panels(body, &lifted(solid, 0.45), colour, Dress::Cab),
            }
        }
        self.wheels(body);
    }

    fn panels(&mut self, body: &Body, solid: &Solid, colour: Colour, dress: Dress) {
        let corners = solid.corners(body);
        let tall = self.camera.pixel(corners[0]).zip(self.camera.pixel(corners[4]));
        let is_tiny = tall.is_some_and(|(low, high)| low[1] - high[1] < 3.0);
        for face in [Face::Left, Face::Right, Face::Rear, Face::Front] {
            let quad = face.corners(&corners);
            let normal = face.normal(body.heading);
            if !self.camera.sees([quad[0][0], quad[0][1]], normal) {
                continue;
            }
            // The sun stands in the south-west.
            let sun = (0.80 - 0.16 * normal[0] - 0.08 * normal[1]) as f32;
            self.fill(
                flat(self.camera, quad),
                lit(colour, sun),
                0.72,
                7,
                body.look ^ face as u64,
            );
            if !is_tiny {
                self.details(body, &quad, face, dress, colour);
            }
        }
        let top = [corners[4], corners[5], corners[6], corners[7]];
        let gloss = if dress == Dress::Body { 1.12 } else { 1.05 };
        self.fill(flat(self.camera, top), lit(colour, gloss), 0.94, 7, body.look ^ 9);
    }

    fn details(&mut self, body: &Body, face: &[[f64; 3]; 4], face_kind: Face, dress: Dress, colour: Colour) {
        let is_side = matches!(face_kind, Face::Left | Face::Right);
        let mut glass = |across: [f64; 2], up: [f64; 2]| {
            let hull = flat(self.camera, panel(face, across, up));
            self.fill(hull, GLASS, 1.9, 6, body.look);
        };
        match (dress, is_side) {
            (Dress::Cabin, true) => {
                glass([0.07, 0.47], [0.14, 0.86]);
                glass([0.52, 0.92], [0.14, 0.86]);
            }
            (Dress::Cabin, false) => glass([0.07, 0.93], [0.10, 0.90]),
            (Dress::Coach, true) => {
                for window in 0..6 {
                    let from = 0.04 + 0.157 * f64::from(window);
                    glass([from, from + 0.135], [0.42, 0.80]);
                }
                let stripe = flat(self.camera, panel(face, [0.0, 1.0], [0.22, 0.30]));
                self.fill(stripe, [0.88, 0.87, 0.84], 1.0, 4, body.look);
            }
            (Dress::Coach, false) => {
                glass([0.08, 0.92], [0.36, 0.80]);
                let sign = flat(self.camera, panel(face, [0.2, 0.8], [0.84, 0.95]));
                self.shine(
                    sign,
                    if face_kind == Face::Front {
                        [0.95, 0.66, 0.12]
                    } else {
                        [0.12, 0.12, 0.12]
                    },
                );
            }
            (Dress::Cab, true) => glass([0.32, 0.85], [0.52, 0.88]),
            (Dress::Cab, false) if face_kind == Face::Front => glass([0.08, 0.92], [0.50, 0.90]),
            (Dress::Box, true) => {
                for rib in 1..5 {
                    let at = 0.2 * f64::from(rib);
                    let hull = flat(self.camera, panel(face, [at, at + 0.012], [0.05, 0.97]));
                    self.fill(hull, lit(colour, 0.6), 1.0, 4, body.look);
                }
            }
            (Dress::Box, false) => {
                let hull = flat(self.camera, panel(face, [0.485, 0.515], [0.04, 0.96]));
                self.fill(hull, lit(colour, 0.5), 1.0, 4, body.look);
            }
            _ => {}
        }
        let carries_lamps = match face_kind {
            Face::Front => dress != Dress::Cabin && dress != Dress::Box,
            Face::Rear => dress != Dress::Cabin && dress != Dress::Cab,
            _ => false,
        };
        if carries_lamps {
            let low = if matches!(dress, Dress::Body) {
                [0.45, 0.74]
            } else {
                [0.04, 0.13]
            };
            for across in [[0.05, 0.22], [0.78, 0.95]] {
                let lamp = flat(self.camera, panel(face, across, low));
                self.shine(lamp, self.lamp_colour(body, face_kind == Face::Front));
            }
            let plate = flat(
                self.camera,
                panel(
                    face,
                    [0.38, 0.62],
                    [low[0] * 0.5, low[0] * 0.5 + 0.6 * (low[1] - low[0])],
                ),
            );
            self.fill(plate, [0.85, 0.85, 0.78], 1.0, 6, body.look);
        }
    }

    fn lamp_colour(&self, body: &Body, is_front: bool) -> Colour {
        match (is_front, self.night > 0.4) {
            (true, true) => [1.0, 0.98, 0.88],
            (true, false) => [0.80, 0.82, 0.82],
            (false, _) if body.braking => [0.98, 0.12, 0.08],
            (false, true) => [0.66, 0.04, 0.03],
            (false, false) => [0.46, 0.05, 0.05],
        }
    }

    /// The one lamp of a two-wheeler, inside its frame.
    fn lamps(&mut self, body: &Body, height: f64, radius: f64, rear_wheel: &Hull) {
        if rear_wheel.bounds[3] - rear_wheel.bounds[1] < 4.0 || self.night < 0.4 {
            return;
        }
        let is_front = self.camera.sees(body.position, body.heading);
        let along = if is_front { 0.2 } else { -0.15 };
        let disc = [
            [-radius, -radius],
            [radius, -radius],
            [radius, radius],
            [-radius, radius],
        ];
        let [x, y] = self.camera.across();
        let [a, b, c] = at(body, along, 0.0, height);
        let hull = flat(
            self.camera,
            disc.map(|[u, v]| [a + x * u * 0.4, b + y * u * 0.4, c + v * 0.4]),
        );
        self.shine(hull, self.lamp_colour(body, is_front));
    }

    fn wheels(&mut self, body: &Body) {
        let length = body.kind.length(body.look);
        let (side, radius, places): (f64, f64, &[f64]) = match body.kind {
            Kind::Car => (0.885, 0.33, &[-0.31, 0.32]),
            Kind::Bus => (1.255, 0.48, &[-0.27, 0.33]),
            _ => (1.155, 0.47, &[-0.34, -0.22, 0.34]),
        };
        let left = self.camera.sees(at_level(body, -side), Face::Left.normal(body.heading));
        let side = if left { -side } else { side };
        for place in places {
            for (scale, colour) in [(1.0, RUBBER), (0.56, [0.52, 0.53, 0.55])] {
                const ROUND: [[f64; 2]; 8] = [
                    [1.0, 0.4],
                    [0.4, 1.0],
                    [-0.4, 1.0],
                    [-1.0, 0.4],
                    [-1.0, -0.4],
                    [-0.4, -1.0],
                    [0.4, -1.0],
                    [1.0, -0.4],
                ];
                let rim = ROUND.map(|[u, v]| {
                    at(
                        body,
                        place * length + u * radius * scale,
                        side,
                        radius + v * radius * scale,
                    )
                });
                self.fill(flat(self.camera, rim), colour, 0.8, 4, body.look);
            }
        }
    }

    fn fixture(&mut self, fixture: &Fixture, signals: &Signals) {
        for (index, (hull, surface)) in fixture.outline.iter().zip(&fixture.surfaces).enumerate() {
            match *surface {
                Surface::Matt(colour, grain) => self.fill(Some(*hull), colour, 0.75, grain, index as u64 * 977),
                Surface::StreetLamp if self.night > 0.4 => self.shine(Some(*hull), [1.0, 0.92, 0.70]),
                Surface::StreetLamp => self.fill(Some(*hull), [0.75, 0.75, 0.72], 1.0, 0, 0),
                Surface::Signal(arm, lamp) => {
                    let (shows, on, off) = match lamp {
                        0 => (Lamp::Red, [1.0, 0.15, 0.10], [0.22, 0.05, 0.05]),
                        1 => (Lamp::Yellow, [1.0, 0.78, 0.15], [0.22, 0.17, 0.04]),
                        _ => (Lamp::Green, [0.15, 1.0, 0.45], [0.04, 0.20, 0.10]),
                    };
                    self.shine(Some(*hull), if signals.lamps[arm] == shows { on } else { off });
                }
            }
        }
    }
}

fn at_level(body: &Body, side: f64) -> [f64; 2] {
    let [x, y, _] = at(body, 0.0, side, 0.0);
    [x, y]
}

/// The same solid with its bottom higher up.
fn lifted(solid: Solid, height: f64) -> Solid {
    Solid {
        height: [height, solid.height[1]],
        ..solid
    }
}

/// What is painted on a solid's faces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dress {
    Body,
    Cabin,
    Coach,
    Box,
    Cab,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::synthetic::body::KINDS;

    #[test]
    fn nothing_is_painted_outside_the_outline() {
        let size = Size {
            width: 640,
            height: 360,
        };
        let camera = Camera::new(size);
        let noise = Noise::new(1);
        let headings = [
            [1.0, 0.0],
            [0.0, 1.0],
            [-1.0, 0.0],
            [0.0, -1.0],
            [0.6, 0.8],
            [-0.8, 0.6],
            [0.8, -0.6],
        ];
        for (kind, heading, look, night) in KINDS.into_iter().flat_map(|kind| {
            headings
                .into_iter()
                .flat_map(move |heading| (0..6u64).map(move |look| (kind, heading, mix(look), (look % 2) as f32)))
        }) {
            let body = Body {
                id: 1,
                kind,
                look,
                position: [(look % 20) as f64 - 10.0, (look % 40) as f64 - 15.0],
                heading,
                travelled: (look % 7) as f64 * 0.3,
                braking: look % 3 == 0,
            };
            let scene = Scene::new(&[body], &[], &camera, size);
            let Some(placed) = scene.things.first() else { continue };
            let mut artist = Artist {
                canvas: Canvas {
                    width: 640,
                    height: 360,
                    luma: vec![0; 640 * 360],
                    chroma: [0, 1].map(|_| vec![0; 320 * 180]),
                    noise: &noise,
                },
                camera: &camera,
                light: 1.0,
                night,
            };
            artist.body(&body, placed);
            let mut owned = vec![false; 640 * 360];
            for row in 0..360 {
                for column in placed.outline.iter().flat_map(|hull| hull.pixels(row, 640)) {
                    owned[row as usize * 640 + column as usize] = true;
                }
            }
            for (pixel, luma) in artist.canvas.luma.iter().enumerate() {
                // Softened edges reach into the next pixel, and those of slivers into one that has no owner in its row.
                let steps = [0, 1, 639, 640, 641].into_iter();
                let mut around = steps
                    .flat_map(|step| [pixel.checked_sub(step), pixel.checked_add(step)])
                    .flatten();
                let is_near = *luma == 0 || around.any(|near| owned.get(near) == Some(&true));
                assert!(is_near, "{body:?}: painted at {} {}", pixel % 640, pixel / 640);
                assert!(
                    *luma > 0 || !owned[pixel],
                    "{body:?}: not painted at {} {}",
                    pixel % 640,
                    pixel / 640
                );
            }
        }
    }
}
