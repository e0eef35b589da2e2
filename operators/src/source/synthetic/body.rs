//! What moves: its kind, its measures and where it stands.

/// Kinds of moving things, called as in COCO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Person,
    /// With its rider: the two are one object.
    Bicycle,
    Car,
    /// With its rider.
    Motorcycle,
    Bus,
    Truck,
}

/// All kinds, in the order of COCO.
pub(super) const KINDS: [Kind; 6] = [
    Kind::Person,
    Kind::Bicycle,
    Kind::Car,
    Kind::Motorcycle,
    Kind::Bus,
    Kind::Truck,
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Person => "person",
            Kind::Bicycle => "bicycle",
            Kind::Car => "car",
            Kind::Motorcycle => "motorcycle",
            Kind::Bus => "bus",
            Kind::Truck => "truck",
        }
    }
    /// Metres a second when nothing is in the way.
    pub fn speed(self) -> f64 {
        match self {
            Kind::Person => 1.35,
            Kind::Bicycle => 5.0,
            Kind::Car | Kind::Motorcycle => 12.5,
            Kind::Bus | Kind::Truck => 10.5,
        }
    }
    /// Metres a second squared.
    pub fn acceleration(self) -> f64 {
        match self {
            Kind::Person | Kind::Bicycle => 1.0,
            Kind::Car => 1.8,
            Kind::Motorcycle => 2.4,
            Kind::Bus | Kind::Truck => 1.1,
        }
    }
    /// Metres, different for each look.
    pub fn length(self, look: u64) -> f64 {
        let vary = 0.92 + 0.16 * (look >> 48) as f64 / 65_536.0;
        vary * match self {
            Kind::Person => 0.5,
            Kind::Bicycle => 1.75,
            Kind::Car => 4.4,
            Kind::Motorcycle => 2.1,
            Kind::Bus => 11.0,
            Kind::Truck => 7.8,
        }
    }
}

/// A moving thing at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    pub id: u64,
    pub kind: Kind,
    /// Random bits that decide colours and measures.
    pub look: u64,
    /// Its middle, in metres.
    pub position: [f64; 2],
    /// A unit vector.
    pub heading: [f64; 2],
    /// Metres gone so far: where legs and wheels are.
    pub travelled: f64,
    pub braking: bool,
}
