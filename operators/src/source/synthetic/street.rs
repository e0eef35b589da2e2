//! What stands in the street: signals, lamps, a tree and a bus stop. They hide what passes behind them.

use std::sync::Arc;

use super::camera::Camera;
use super::figure::{head, strip};
use super::hull::Hull;
use super::paint::Colour;
use super::roads::{ARMS, KERB, STOP_LINE, right_of};

const STEEL: Colour = [0.36, 0.38, 0.40];
const DARK: Colour = [0.08, 0.09, 0.10];

/// How a part of a fixture is painted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Surface {
    /// By what light there is, and how rough.
    Matt(Colour, i32),
    /// A street lamp: shines at night.
    StreetLamp,
    /// The lamp of a signal: the arm, and which of red, yellow and green from above.
    Signal(usize, usize),
}

/// Something that stands still.
#[derive(Clone, Debug)]
pub(super) struct Fixture {
    pub depth: f64,
    pub outline: Arc<[Hull]>,
    /// One a part of the outline.
    pub surfaces: Vec<Surface>,
}

/// Where street lamps stand: they light the ground around them.
pub(super) const STREET_LAMPS: [[f64; 2]; 6] = [
    [11.2, -15.0],
    [-11.2, 15.0],
    [-25.0, 8.2],
    [25.0, 8.2],
    [8.2, 38.0],
    [-8.2, 62.0],
];

/// Where the tree stands, and how far its crown reaches.
pub(super) const TREE: ([f64; 2], f64) = ([-13.2, -12.6], 2.6);

struct Parts<'a> {
    camera: &'a Camera,
    place: [f64; 2],
    outline: Vec<Hull>,
    surfaces: Vec<Surface>,
}

impl Parts<'_> {
    fn add(&mut self, hull: Option<Hull>, surface: Surface) {
        if let Some(hull) = hull {
            self.outline.push(hull);
            self.surfaces.push(surface);
        }
    }
    /// An upright strip, moved sideways by so much.
    fn post(&mut self, side: f64, heights: [f64; 2], half_width: f64, surface: Surface) {
        let [x, y] = self.place;
        let [across_x, across_y] = self.camera.across();
        let foot = [x + across_x * side, y + across_y * side];
        let hull = strip(
            self.camera,
            [foot[0], foot[1], heights[0]],
            [foot[0], foot[1], heights[1]],
            [half_width; 2],
        );
        self.add(hull, surface);
    }
    fn ball(&mut self, side: f64, height: f64, radius: f64, surface: Surface) {
        let [x, y] = self.place;
        let [across_x, across_y] = self.camera.across();
        let hull = head(self.camera, [x + across_x * side, y + across_y * side, height], radius);
        self.add(hull, surface);
    }
    fn done(self) -> Fixture {
        Fixture {
            depth: self.camera.depth(self.place),
            outline: self.outline.into(),
            surfaces: self.surfaces,
        }
    }
}

/// All fixtures as this camera sees them.
pub(super) fn fixtures(camera: &Camera) -> Vec<Fixture> {
    let begin = |place: [f64; 2]| Parts {
        camera,
        place,
        outline: Vec::new(),
        surfaces: Vec::new(),
    };
    let mut all = Vec::new();
    for (arm, out) in ARMS.iter().enumerate() {
        // Right of the lane that ends here, as those who wait see it.
        let side = right_of([-out[0], -out[1]]);
        let place = [0, 1].map(|axis| out[axis] * (STOP_LINE - 0.6) + side[axis] * (KERB + 0.9));
        let mut parts = begin(place);
        parts.post(0.0, [0.0, 3.0], 0.07, Surface::Matt(STEEL, 6));
        parts.post(0.0, [2.5, 3.7], 0.22, Surface::Matt(DARK, 4));
        for (lamp, height) in [3.48, 3.1, 2.72].into_iter().enumerate() {
            parts.ball(0.0, height, 0.15, Surface::Signal(arm, lamp));
        }
        all.push(parts.done());
    }
    for place in STREET_LAMPS {
        let mut parts = begin(place);
        parts.post(0.0, [0.0, 6.6], 0.09, Surface::Matt(STEEL, 6));
        parts.post(-0.45 * place[0].signum(), [6.5, 6.72], 0.5, Surface::Matt(STEEL, 6));
        parts.post(-0.75 * place[0].signum(), [6.36, 6.54], 0.24, Surface::StreetLamp);
        all.push(parts.done());
    }
    let mut tree = begin(TREE.0);
    tree.post(0.0, [0.0, 2.6], 0.22, Surface::Matt([0.30, 0.22, 0.15], 30));
    let leaves = [
        (-1.1, 3.0, 1.25, [0.15, 0.27, 0.11]),
        (1.1, 3.1, 1.35, [0.17, 0.30, 0.12]),
        (0.0, 3.7, 1.7, [0.20, 0.35, 0.13]),
        (-0.5, 4.4, 1.15, [0.26, 0.42, 0.17]),
        (0.7, 4.2, 0.9, [0.23, 0.39, 0.15]),
    ];
    for (side, height, radius, colour) in leaves {
        tree.ball(side, height, radius, Surface::Matt(colour, 60));
    }
    all.push(tree.done());
    let mut stop = begin([-19.0, -8.4]);
    for side in [-2.2, 2.2] {
        stop.post(side, [0.0, 2.4], 0.06, Surface::Matt(STEEL, 4));
    }
    stop.post(-1.3, [0.35, 2.0], 0.75, Surface::Matt([0.62, 0.24, 0.20], 8));
    stop.post(0.0, [2.35, 2.65], 2.5, Surface::Matt([0.22, 0.30, 0.34], 6));
    all.push(stop.done());
    all
}
