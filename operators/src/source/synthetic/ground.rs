//! What never moves: roads, markings, pavements, grass and houses, by day and by night.
//!
//! Every pixel is traced back to the ground or a house, four times, so that lines stay clean far away. That takes a
//! core a quarter of a second at 640x360, once a camera and when somebody first looks at a picture: who waits for that
//! picture has all cores for it.

use std::thread;

use flowrun_engine::rows::Size;

use super::camera::Camera;
use super::paint::{Colour, yuv};
use super::random::{cloud, grain};
use super::roads::{CROSSWALK, KERB, LANE, PAVEMENT_EDGE, STOP_LINE};
use super::street::{STREET_LAMPS, TREE};

/// Planes of a picture.
#[derive(Debug, PartialEq)]
pub(super) struct Planes {
    pub luma: Vec<u8>,
    pub chroma: [Vec<u8>; 2],
}

/// A house: west, east, south, north, height, colour.
const HOUSES: [([f64; 5], Colour); 4] = [
    ([-40.0, -13.5, 14.0, 38.0, 9.0], [0.58, 0.44, 0.36]),
    ([14.0, 42.0, 15.0, 36.0, 7.5], [0.66, 0.62, 0.54]),
    ([-36.0, -13.5, 43.0, 90.0, 8.0], [0.50, 0.50, 0.54]),
    ([13.5, 40.0, 41.0, 95.0, 10.0], [0.55, 0.40, 0.34]),
];

/// Rows of planes that lie together.
struct Band<'p> {
    luma: &'p mut [u8],
    chroma: [&'p mut [u8]; 2],
}

impl Planes {
    fn new(width: usize, height: usize) -> Self {
        Planes {
            luma: vec![0; width * height],
            chroma: [0, 1].map(|_| vec![0; width / 2 * (height / 2)]),
        }
    }

    /// Cuts them into bands of so many rows, an even number.
    fn bands(&mut self, width: usize, rows: usize) -> impl Iterator<Item = Band<'_>> {
        let [u, v] = self
            .chroma
            .each_mut()
            .map(|plane| plane.chunks_mut(width / 2 * (rows / 2)));
        let chroma = u.zip(v);
        self.luma
            .chunks_mut(width * rows)
            .zip(chroma)
            .map(|(luma, (u, v))| Band { luma, chroma: [u, v] })
    }
}

/// The same picture by day and by night.
pub(super) fn backgrounds(camera: &Camera, size: Size, seed: u64) -> [Planes; 2] {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let rows = (size.height as usize / 2).div_ceil(threads).max(1) * 2;
    banded(camera, size, seed, rows)
}

/// In bands of so many rows, a thread each.
fn banded(camera: &Camera, size: Size, seed: u64, rows: usize) -> [Planes; 2] {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut planes = [0, 1].map(|_| Planes::new(width, height));
    let [day, night] = &mut planes;
    thread::scope(|scope| {
        for (index, (day, night)) in day.bands(width, rows).zip(night.bands(width, rows)).enumerate() {
            scope.spawn(move || fill(camera, width, index * rows, [day, night], seed));
        }
    });
    planes
}

/// Fills a band that begins at a row.
fn fill(camera: &Camera, width: usize, first: usize, mut bands: [Band<'_>; 2], seed: u64) {
    // Sums of the chroma of two rows, four pixels each.
    let mut sums = [0, 1].map(|_| vec![[0f32; 2]; width / 2]);
    for row in 0..bands[0].luma.len() / width {
        for column in 0..width {
            let mut both = [[0f32; 3]; 2];
            for [dx, dy] in [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]] {
                let seen = look(camera, column as f64 + dx, (first + row) as f64 + dy, seed);
                for (sum, colour) in both.iter_mut().zip(seen) {
                    for (part, value) in sum.iter_mut().zip(colour) {
                        *part += 0.25 * value.clamp(0.0, 1.0);
                    }
                }
            }
            for (time, colour) in both.into_iter().enumerate() {
                let [luma, u, v] = yuv(colour);
                bands[time].luma[row * width + column] = luma as u8;
                let sum = &mut sums[time][column / 2];
                sum[0] += 0.25 * u;
                sum[1] += 0.25 * v;
            }
        }
        if row % 2 == 1 {
            for (band, sums) in bands.iter_mut().zip(&mut sums) {
                for (column, sum) in sums.iter_mut().enumerate() {
                    let place = row / 2 * (width / 2) + column;
                    band.chroma[0][place] = sum[0] as u8;
                    band.chroma[1][place] = sum[1] as u8;
                    *sum = [0.0; 2];
                }
            }
        }
    }
}

/// The colours of a point of the picture, by day and by night.
fn look(camera: &Camera, x: f64, y: f64, seed: u64) -> [Colour; 2] {
    let (eye, ray) = (camera.eye(), camera.ray(x, y));
    let mut nearest = if ray[2] < 0.0 { eye[2] / -ray[2] } else { f64::INFINITY };
    let mut seen = None;
    for (index, house) in HOUSES.iter().enumerate() {
        if let Some((far, axis)) = hit(&house.0, eye, ray)
            && far < nearest
        {
            nearest = far;
            seen = Some((index, axis));
        }
    }
    if nearest > 400.0 {
        return [[0.70, 0.77, 0.84], [0.03, 0.04, 0.07]];
    }
    let point = [0, 1, 2].map(|axis| eye[axis] + ray[axis] * nearest);
    match seen {
        Some((index, axis)) => house(index, axis, point, seed),
        None => {
            let day = surface(point[0], point[1], seed);
            let shadow = day_light(point[0], point[1]);
            let night = lamp_light(point[0], point[1]);
            [scaled(day, shadow), [0, 1, 2].map(|part| day[part] * night[part])]
        }
    }
}

fn scaled(colour: Colour, by: f64) -> Colour {
    colour.map(|part| part * by as f32)
}

/// Where a ray meets a house: how far, and on which axis it is stopped (Kay, Kajiya: "Ray tracing complex scenes", 1986: slabs).
fn hit([west, east, south, north, height]: &[f64; 5], eye: [f64; 3], ray: [f64; 3]) -> Option<(f64, usize)> {
    let slabs = [[*west, *east], [*south, *north], [0.0, *height]];
    let (mut enter, mut leave, mut axis) = (0.0, f64::INFINITY, 0);
    for (index, [low, high]) in slabs.into_iter().enumerate() {
        let (a, b) = ((low - eye[index]) / ray[index], (high - eye[index]) / ray[index]);
        let (near, far) = (a.min(b), a.max(b));
        if near > enter {
            (enter, axis) = (near, index);
        }
        leave = leave.min(far);
    }
    (enter < leave && enter > 0.0).then_some((enter, axis))
}

fn house(index: usize, axis: usize, [x, y, z]: [f64; 3], seed: u64) -> [Colour; 2] {
    let colour = HOUSES[index].1;
    let salt = seed ^ (index as u64 + 77);
    if axis == 2 {
        let roof = 0.36 + 0.05 * cloud(x, y, 1.5, salt) as f32;
        return [[roof, roof * 0.97, roof * 0.95], scaled([roof, roof, roof * 1.2], 0.10)];
    }
    let level = if axis == 0 { y } else { x };
    let (column, storey) = ((level / 2.4).floor(), (z / 2.9).floor());
    let (u, v) = (level / 2.4 - column, z / 2.9 - storey);
    let is_window = (0.22..0.78).contains(&u) && (0.30..0.78).contains(&v);
    let chance = grain(column as i64, storey as i64, salt);
    if is_window {
        let frame = !(0.27..0.73).contains(&u) || !(0.34..0.74).contains(&v);
        if frame {
            return [[0.82, 0.81, 0.78], [0.10, 0.10, 0.10]];
        }
        let day = 0.20 + 0.10 * chance as f32 + 0.18 * v as f32;
        let night = if chance > 0.35 {
            [0.86, 0.68, 0.36]
        } else {
            [0.03, 0.04, 0.06]
        };
        return [[day, day * 1.1, day * 1.25], night];
    }
    let brick = 1.0 + 0.07 * cloud(level, z, 0.35, salt) + 0.05 * cloud(level, z, 3.0, salt);
    let sun = if axis == 0 { 0.92 } else { 0.74 };
    [scaled(colour, brick * sun), scaled(colour, 0.10 * brick)]
}

/// The ground in plain light.
fn surface(x: f64, y: f64, seed: u64) -> Colour {
    let (ax, ay) = (x.abs(), y.abs());
    // Kerbs are round at the corners of the junction.
    let round = 3.0;
    let corner = [KERB + round - ax, KERB + round - ay];
    let cut = corner[0] > 0.0
        && corner[1] > 0.0
        && corner[0] < round
        && corner[1] < round
        && corner[0] * corner[0] + corner[1] * corner[1] > round * round;
    if ax < KERB || ay < KERB || cut {
        return road(x, y, seed);
    }
    let edge = ax.min(ay);
    if edge < PAVEMENT_EDGE {
        if edge < KERB + 0.22 {
            return [0.62, 0.61, 0.59];
        }
        let tile = (x / 0.9 - (x / 0.9).floor()).min(y / 0.9 - (y / 0.9).floor());
        let joint = if tile < 0.06 { 0.90 } else { 1.0 };
        let each = 0.025 * grain((x / 0.9).floor() as i64, (y / 0.9).floor() as i64, seed);
        let dirt = 0.03 * cloud(x, y, 2.7, seed ^ 5);
        return scaled([0.53, 0.51, 0.48], joint * (1.0 + each + dirt));
    }
    let blades = 0.16 * cloud(x, y, 0.22, seed ^ 6) + 0.12 * cloud(x, y, 1.9, seed ^ 7);
    let dry = (0.5 + 0.5 * cloud(x, y, 7.0, seed ^ 8)) as f32;
    scaled([0.27 + 0.09 * dry, 0.38 + 0.02 * dry, 0.18], 1.0 + blades)
}

fn road(x: f64, y: f64, seed: u64) -> Colour {
    let grit =
        0.05 * cloud(x, y, 0.13, seed ^ 1) + 0.04 * cloud(x, y, 0.9, seed ^ 2) + 0.05 * cloud(x, y, 6.0, seed ^ 3);
    // Patches of a repair, and tracks that tyres have polished.
    let patch = if cloud(x, y, 5.0, seed ^ 4) > 0.62 { -0.09 } else { 0.0 };
    let (along, side) = if x.abs() < KERB && y.abs() >= KERB {
        (y, x)
    } else {
        (x, y)
    };
    let lane = side.abs() / LANE - (side.abs() / LANE).floor();
    let rut = if (lane - 0.5).abs() > 0.18 && (lane - 0.5).abs() < 0.34 {
        -0.04
    } else {
        0.0
    };
    let asphalt = scaled([0.315, 0.32, 0.33], 1.0 + grit + patch + rut);
    let wear = 0.86 + 0.14 * cloud(x, y, 0.4, seed ^ 9);
    let paint = scaled([0.86, 0.86, 0.84], wear);
    let out = along.abs();
    if x.abs() < KERB && y.abs() < KERB {
        return asphalt;
    }
    let zebra = (CROSSWALK[0]..CROSSWALK[1]).contains(&out) && side.abs() < 6.6;
    if zebra && (side + 100.0) % 1.3 < 0.65 {
        return paint;
    }
    if out < STOP_LINE - 0.2 {
        return asphalt;
    }
    // Traffic towards the junction keeps to the right: west of the middle on the north arm, and so on round.
    let inbound = match (x.abs() < KERB, along > 0.0) {
        (true, north) => (side < 0.0) == north,
        (false, east) => (side > 0.0) == east,
    };
    if inbound && out < STOP_LINE + 0.35 && side.abs() < 6.5 {
        return paint;
    }
    if out < STOP_LINE + 0.35 {
        return asphalt;
    }
    let near = |at: f64, half: f64| (side.abs() - at).abs() < half;
    let dashed = (out + 1.5) % 6.0 < 2.6 || (inbound && out < STOP_LINE + 14.0);
    if near(0.16, 0.07) || near(6.62, 0.06) || (near(LANE, 0.07) && dashed) {
        return paint;
    }
    asphalt
}

/// What the sun leaves: less in the shadows of the tree and the houses.
fn day_light(x: f64, y: f64) -> f64 {
    let ([tree_x, tree_y], reach) = TREE;
    let (dx, dy) = (x - tree_x - 2.4, y - tree_y - 1.5);
    let leaves = reach + 0.7 * cloud(x, y, 0.7, 11);
    if dx * dx / 1.6 + dy * dy < leaves * leaves * 0.7 {
        return 0.62;
    }
    let shaded = |[west, east, south, north, height]: [f64; 5]| {
        let reach = 0.42 * height;
        x > west && x < east + reach && y > south - 0.1 && y < north + reach * 0.6
    };
    if HOUSES.iter().any(|(house, _)| shaded(*house)) {
        0.64
    } else {
        1.0
    }
}

/// What street lamps give.
fn lamp_light(x: f64, y: f64) -> Colour {
    let light = STREET_LAMPS.iter().fold(0.0, |sum, lamp| {
        let (dx, dy) = (x - lamp[0], y - lamp[1]);
        sum + 1.0 / (1.0 + (dx * dx + dy * dy) / 26.0)
    });
    let light = light as f32;
    [0.10 + 0.60 * light, 0.11 + 0.50 * light, 0.16 + 0.32 * light]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ground_is_the_same_on_any_number_of_threads() {
        let size = Size { width: 96, height: 54 };
        let camera = Camera::new(size);
        let whole = banded(&camera, size, 7, 54);
        assert_ne!(whole[0], whole[1], "day and night");
        assert_ne!(whole, banded(&camera, size, 8, 54), "another seed");
        for rows in [2, 10, 52, 64] {
            assert_eq!(whole, banded(&camera, size, 7, rows), "{rows} rows");
        }
    }
}
