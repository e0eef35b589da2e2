//! From metres to pixels: a camera on a mast at the south arm, looking north and down.

use flowrun_engine::rows::Size;

/// Where it hangs, in metres.
const EYE: [f64; 3] = [5.5, -40.0, 15.0];
/// The point of the ground in the middle of the picture.
const TARGET: [f64; 3] = [0.6, -6.5, 0.0];
/// Tangent of half the angle that the picture's height covers.
const HALF_HEIGHT: f64 = 0.30;
/// Nothing nearer than this is drawn.
const NEAR: f64 = 1.0;

/// A pinhole camera.
#[derive(Clone, Debug)]
pub(super) struct Camera {
    right: [f64; 3],
    down: [f64; 3],
    forward: [f64; 3],
    focal: f64,
    middle: [f64; 2],
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}
fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}
fn unit(a: [f64; 3]) -> [f64; 3] {
    let length = dot(a, a).sqrt();
    a.map(|part| part / length)
}

impl Camera {
    pub fn new(size: Size) -> Self {
        let forward = unit([0, 1, 2].map(|axis| TARGET[axis] - EYE[axis]));
        let right = unit(cross(forward, [0.0, 0.0, 1.0]));
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        Camera {
            right,
            down: cross(forward, right),
            forward,
            focal: 0.5 * height / HALF_HEIGHT,
            middle: [0.5 * width, 0.5 * height],
        }
    }

    /// Where a point is on the picture, in pixels; none behind the camera.
    pub fn pixel(&self, point: [f64; 3]) -> Option<[f32; 2]> {
        let ray = [0, 1, 2].map(|axis| point[axis] - EYE[axis]);
        let depth = dot(ray, self.forward);
        let scale = self.focal / depth;
        (depth > NEAR).then(|| {
            [
                (self.middle[0] + scale * dot(ray, self.right)) as f32,
                (self.middle[1] + scale * dot(ray, self.down)) as f32,
            ]
        })
    }

    /// Whether anything within so many metres of a point of the ground may be on the picture.
    pub fn may_see(&self, [x, y]: [f64; 2], reach: f64) -> bool {
        let ray = [x - EYE[0], y - EYE[1], -EYE[2]];
        let depth = dot(ray, self.forward) + reach;
        // Things are up to four metres high.
        let inside = |off: f64, half: f64, more: f64| off.abs() - reach - more < depth * half / self.focal;
        depth > NEAR
            && inside(dot(ray, self.right), self.middle[0], 0.0)
            && inside(dot(ray, self.down), self.middle[1], 4.0)
    }

    /// How far a point of the ground is from the picture's plane; what is drawn later lies nearer.
    pub fn depth(&self, [x, y]: [f64; 2]) -> f64 {
        dot([x - EYE[0], y - EYE[1], -EYE[2]], self.forward)
    }

    /// From the eye, through a point of the picture: a direction, not of unit length.
    pub fn ray(&self, x: f64, y: f64) -> [f64; 3] {
        let (u, v) = ((x - self.middle[0]) / self.focal, (y - self.middle[1]) / self.focal);
        [0, 1, 2].map(|axis| self.forward[axis] + u * self.right[axis] + v * self.down[axis])
    }

    /// Whether a point is on that side of an upright plane from which it is seen: its outward normal looks at the eye.
    pub fn sees(&self, point: [f64; 2], normal: [f64; 2]) -> bool {
        (EYE[0] - point[0]) * normal[0] + (EYE[1] - point[1]) * normal[1] > 0.0
    }

    /// A level direction to the right of the picture.
    pub fn across(&self) -> [f64; 2] {
        [self.right[0], self.right[1]]
    }

    /// Where the eye is.
    pub fn eye(&self) -> [f64; 3] {
        EYE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_in_the_middle_and_near_things_are_low_and_large() {
        let camera = Camera::new(Size {
            width: 640,
            height: 360,
        });
        let middle = camera.pixel(TARGET).unwrap();
        assert!((middle[0] - 320.0).abs() < 0.01 && (middle[1] - 180.0).abs() < 0.01);
        let height = |y: f64| {
            let (foot, head) = (
                camera.pixel([0.0, y, 0.0]).unwrap(),
                camera.pixel([0.0, y, 2.0]).unwrap(),
            );
            (foot[1], foot[1] - head[1])
        };
        let (near, far) = (height(-15.0), height(40.0));
        assert!(near.0 > far.0 && near.1 > 2.0 * far.1);
        assert_eq!(camera.pixel([5.0, -60.0, 0.0]), None);
    }

    #[test]
    fn rays_lead_back_to_pixels() {
        let camera = Camera::new(Size {
            width: 640,
            height: 360,
        });
        let ray = camera.ray(100.0, 300.0);
        let far = EYE[2] / -ray[2];
        let pixel = camera.pixel([0, 1, 2].map(|axis| EYE[axis] + ray[axis] * far)).unwrap();
        assert!((pixel[0] - 100.0).abs() < 0.01 && (pixel[1] - 300.0).abs() < 0.01);
    }
}
