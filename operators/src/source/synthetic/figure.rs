//! The outlines of things: a few convex solids each, projected.
//!
//! Outlines decide boxes, visibility and which pixels belong to what. Everything that is painted on
//! them (doors, windows, lamps) lies inside.

use super::body::{Body, Kind};
use super::camera::Camera;
use super::hull::Hull;

/// A box standing on or over the ground that may taper upwards; all in metres.
#[derive(Clone, Copy, Debug)]
pub(super) struct Solid {
    /// From rear to front, relative to the body's middle.
    pub along: [f64; 2],
    /// The same at its top.
    pub along_top: [f64; 2],
    /// Half its width at the bottom and at the top.
    pub half_width: [f64; 2],
    /// Heights of bottom and top.
    pub height: [f64; 2],
}

impl Solid {
    fn upright(along: [f64; 2], half_width: f64, height: [f64; 2]) -> Self {
        Solid {
            along,
            along_top: along,
            half_width: [half_width; 2],
            height,
        }
    }
    /// Its corners in the world: bottom then top, each rear left, rear right, front right, front left.
    pub fn corners(&self, body: &Body) -> [[f64; 3]; 8] {
        let place = |along: f64, side: f64, z: f64| at(body, along, side, z);
        let ring = |along: [f64; 2], half: f64, z: f64| {
            [
                place(along[0], -half, z),
                place(along[0], half, z),
                place(along[1], half, z),
                place(along[1], -half, z),
            ]
        };
        let bottom = ring(self.along, self.half_width[0], self.height[0]);
        let top = ring(self.along_top, self.half_width[1], self.height[1]);
        std::array::from_fn(|index| if index < 4 { bottom[index] } else { top[index - 4] })
    }
    fn hull(&self, body: &Body, camera: &Camera) -> Option<Hull> {
        Hull::around(self.corners(body).map(|corner| camera.pixel(corner)))
    }
}

/// A point of a body: so far before its middle, to its right, and over the ground.
pub(super) fn at(body: &Body, along: f64, side: f64, z: f64) -> [f64; 3] {
    let [x, y] = body.heading;
    [
        body.position[0] + x * along + y * side,
        body.position[1] + y * along - x * side,
        z,
    ]
}

/// A number from 0 to 1 out of a body's looks.
pub(super) fn trait_of(body: &Body, which: u32) -> f64 {
    ((body.look >> (which * 8)) & 255) as f64 / 255.0
}

/// The solids of a vehicle on four or more wheels: what stands on the ground first.
pub(super) fn solids(body: &Body) -> [Option<Solid>; 2] {
    let half = 0.5 * body.kind.length(body.look);
    match body.kind {
        Kind::Car => {
            // From hatchbacks to estates and vans.
            let tall = 0.55 + 0.35 * trait_of(body, 0) * trait_of(body, 0);
            let rear = if trait_of(body, 1) < 0.55 { -0.95 } else { -0.55 };
            let cabin = Solid {
                along: [half * rear, half * 0.42],
                along_top: [half * (rear + 0.16), half * 0.12],
                half_width: [0.84, 0.66],
                height: [0.86, 0.86 + tall],
            };
            [Some(Solid::upright([-half, half], 0.89, [0.0, 0.88])), Some(cabin)]
        }
        Kind::Bus => [Some(Solid::upright([-half, half], 1.26, [0.0, 3.05])), None],
        Kind::Truck => {
            let cab = half - 2.1;
            [
                Some(Solid::upright([-half, cab], 1.24, [0.0, 3.1 + 0.4 * trait_of(body, 0)])),
                Some(Solid::upright([cab + 0.1, half], 1.16, [0.0, 2.5])),
            ]
        }
        Kind::Person | Kind::Bicycle | Kind::Motorcycle => [None, None],
    }
}

/// An upright disc with some thickness: a wheel.
fn wheel(body: &Body, camera: &Camera, along: f64, radius: f64, half_width: f64) -> Option<Hull> {
    // Flat below, so that the wheel stands on the ground.
    const RIM: [[f64; 2]; 8] = [
        [1.0, 0.41],
        [0.41, 1.0],
        [-0.41, 1.0],
        [-1.0, 0.41],
        [-1.0, -0.41],
        [-0.41, -1.0],
        [0.41, -1.0],
        [1.0, -0.41],
    ];
    let rim = |index: usize| {
        let [x, z] = RIM[index % 8];
        let side = if index < 8 { -half_width } else { half_width };
        camera.pixel(at(body, along + radius * x, side, radius + radius * z))
    };
    Hull::around::<16>(std::array::from_fn(rim))
}

/// An upright quadrangle that faces the camera: between two points of the world, so wide at each.
pub(super) fn strip(camera: &Camera, from: [f64; 3], to: [f64; 3], half_widths: [f64; 2]) -> Option<Hull> {
    let [x, y] = camera.across();
    let beside = |[a, b, c]: [f64; 3], by: f64| camera.pixel([a + x * by, b + y * by, c]);
    Hull::convex([
        beside(from, -half_widths[0]),
        beside(from, half_widths[0]),
        beside(to, half_widths[1]),
        beside(to, -half_widths[1]),
    ])
}

/// A head: a ball.
pub(super) fn head(camera: &Camera, [a, b, c]: [f64; 3], radius: f64) -> Option<Hull> {
    let [x, y] = camera.across();
    let rim = [
        [1.0, 0.4],
        [0.4, 1.0],
        [-0.4, 1.0],
        [-1.0, 0.4],
        [-1.0, -0.4],
        [-0.4, -1.0],
        [0.4, -1.0],
        [1.0, -0.4],
    ];
    Hull::convex(rim.map(|[u, v]: [f64; 2]| camera.pixel([a + x * u * radius, b + y * u * radius, c + v * radius])))
}

/// Parts in the order in which they are painted; for people and two-wheelers: legs or wheels, frame, torso, head.
pub(super) fn outline(body: &Body, camera: &Camera) -> Vec<Hull> {
    let parts: [Option<Hull>; 6] = match body.kind {
        Kind::Person => person(body, camera),
        Kind::Bicycle | Kind::Motorcycle => two_wheeler(body, camera),
        _ => {
            let hulls = solids(body).map(|solid| solid.and_then(|solid| solid.hull(body, camera)));
            [hulls[0], hulls[1], None, None, None, None]
        }
    };
    parts.into_iter().flatten().collect()
}

fn person(body: &Body, camera: &Camera) -> [Option<Hull>; 6] {
    let tall = 0.9 + 0.2 * trait_of(body, 0);
    // Legs swing once every 1.5 m; standing people have them side by side.
    let phase = body.travelled / 1.5;
    let swing = if body.braking {
        0.1
    } else {
        ((phase - phase.floor()) * 4.0 - 2.0).abs() - 1.0
    };
    let reach = 0.34 * swing * tall;
    let hip = at(body, 0.0, 0.0, 0.86 * tall);
    let neck = at(body, 0.03, 0.0, 1.47 * tall);
    [
        strip(
            camera,
            at(body, -reach, -0.09, 0.0),
            at(body, 0.0, -0.07, 0.88 * tall),
            [0.085, 0.11],
        ),
        strip(
            camera,
            at(body, reach, 0.09, 0.0),
            at(body, 0.0, 0.07, 0.88 * tall),
            [0.085, 0.11],
        ),
        strip(camera, hip, neck, [0.19, 0.25]),
        head(camera, at(body, 0.04, 0.0, 1.61 * tall), 0.135 * tall),
        None,
        None,
    ]
}

fn two_wheeler(body: &Body, camera: &Camera) -> [Option<Hull>; 6] {
    let half = 0.5 * body.kind.length(body.look);
    let (radius, thickness, frame_width) = match body.kind {
        Kind::Motorcycle => (0.33, 0.09, 0.2),
        _ => (0.34, 0.035, 0.05),
    };
    let axle = half - radius;
    let frame = Solid {
        along: [-axle * 0.9, axle * 0.75],
        along_top: [-axle * 0.55, axle * 0.6],
        half_width: [frame_width, frame_width],
        height: [0.32, 0.86],
    };
    let leg = strip(
        camera,
        at(body, 0.12, 0.12, 0.3),
        at(body, -0.12, 0.08, 0.95),
        [0.1, 0.14],
    );
    let torso = strip(
        camera,
        at(body, -0.18, 0.0, 0.82),
        at(body, 0.12, 0.0, 1.45),
        [0.2, 0.25],
    );
    [
        wheel(body, camera, -axle, radius, thickness),
        wheel(body, camera, axle, radius, thickness),
        frame.hull(body, camera),
        leg,
        torso,
        head(camera, at(body, 0.2, 0.0, 1.58), 0.15),
    ]
}
