//! Convex polygons on the picture. The truth and the renderer read the same ones, by the same rule:
//! a pixel belongs to a polygon that contains its middle.

use std::ops::Range;

/// The most corners of a polygon: a wheel with its thickness has ten.
const CORNERS: usize = 12;

/// A convex polygon in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hull {
    corners: [[f32; 2]; CORNERS],
    count: usize,
    /// Left, top, right, bottom.
    pub bounds: [f32; 4],
}

impl Hull {
    /// The smallest convex polygon around points (Andrew's monotone chain, 1979); none around fewer than three, or
    /// when one of them is missing.
    pub fn around<const N: usize>(points: [Option<[f32; 2]>; N]) -> Option<Hull> {
        let mut sorted = [[0f32; 2]; N];
        for (place, point) in sorted.iter_mut().zip(points) {
            *place = point?;
        }
        sorted.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        let turns =
            |a: [f32; 2], b: [f32; 2], c: [f32; 2]| (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0.0;
        let mut corners = [[0f32; 2]; CORNERS];
        let mut count = 0;
        let mut floor = 2;
        let forth_and_back = sorted.iter().chain(sorted.iter().rev().skip(1)).enumerate();
        for (index, &point) in forth_and_back {
            while count >= floor && !turns(corners[count - 2], corners[count - 1], point) {
                count -= 1;
            }
            if count == CORNERS {
                return None;
            }
            corners[count] = point;
            count += 1;
            if index == N - 1 {
                floor = count + 1;
            }
        }
        // The chain ends where it began.
        count -= 1;
        (count >= 3).then(|| Hull::of(corners, count))
    }

    /// A polygon whose corners are known to be convex and in order; none when one of them is missing.
    pub fn convex<const N: usize>(points: [Option<[f32; 2]>; N]) -> Option<Hull> {
        let mut corners = [[0f32; 2]; CORNERS];
        for (corner, point) in corners.iter_mut().zip(points) {
            *corner = point?;
        }
        Some(Hull::of(corners, N))
    }

    fn of(corners: [[f32; 2]; CORNERS], count: usize) -> Hull {
        let mut bounds = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        for corner in &corners[..count] {
            for axis in [0, 1] {
                bounds[axis] = bounds[axis].min(corner[axis]);
                bounds[axis + 2] = bounds[axis + 2].max(corner[axis]);
            }
        }
        Hull { corners, count, bounds }
    }

    /// The corners.
    pub fn corners(&self) -> &[[f32; 2]] {
        &self.corners[..self.count]
    }

    /// From where to where it reaches on a horizontal line; nowhere if it does not meet it.
    pub fn span(&self, y: f32) -> Option<(f32, f32)> {
        if y < self.bounds[1] || y >= self.bounds[3] {
            return None;
        }
        let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut from = self.corners[self.count - 1];
        for &to in self.corners() {
            if (from[1] <= y) != (to[1] <= y) {
                let x = from[0] + (y - from[1]) * ((to[0] - from[0]) / (to[1] - from[1]));
                left = left.min(x);
                right = right.max(x);
            }
            from = to;
        }
        (left < right).then_some((left, right))
    }

    /// [`Hull::span`] of evenly spaced lines at once; an empty one where it does not reach.
    pub fn spans(&self, top: f32, step: f32, out: &mut [(f32, f32)]) {
        out.fill((f32::INFINITY, f32::NEG_INFINITY));
        let (lines, most) = (1.0 / step, out.len() as f32);
        let line = |y: f32| ceiling(((y - top) * lines).clamp(0.0, most)) as usize;
        let mut from = self.corners[self.count - 1];
        let mut edges = [(0, 0, 0.0, 0.0); CORNERS];
        for (edge, &to) in edges.iter_mut().zip(self.corners()) {
            let slope = (to[0] - from[0]) / (to[1] - from[1]);
            *edge = (
                line(from[1].min(to[1])),
                line(from[1].max(to[1])),
                from[0] + (top - from[1]) * slope,
                slope * step,
            );
            from = to;
        }
        for (first, end, start, slope) in edges.into_iter().take(self.count) {
            for (index, span) in out.iter_mut().enumerate().take(end).skip(first) {
                let x = start + index as f32 * slope;
                *span = (span.0.min(x), span.1.max(x));
            }
        }
    }

    /// The pixels of a row of the picture whose middles it contains.
    pub fn pixels(&self, row: i32, width: i32) -> Range<i32> {
        match self.span(row as f32 + 0.5) {
            Some((left, right)) => middles(left, width)..middles(right, width),
            None => 0..0,
        }
    }
}

/// The smallest whole number that is not less; for numbers of pixels, without a call of the C library.
fn ceiling(x: f32) -> i32 {
    let whole = x as i32;
    whole + i32::from((whole as f32) < x)
}

/// The first pixel whose middle is not left of `x`.
pub(super) fn middles(x: f32, width: i32) -> i32 {
    ceiling((x - 0.5).clamp(0.0, width as f32))
}

/// The rows of a picture that lie between two heights.
pub(super) fn rows(top: f32, bottom: f32, height: i32) -> Range<i32> {
    middles(top, height)..middles(bottom, height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_has_its_pixels() {
        let points = [[1.0, 1.0], [5.0, 1.0], [5.0, 4.0], [1.0, 4.0], [3.0, 2.0], [5.0, 2.0]];
        let hull = Hull::around(points.map(Some)).unwrap();
        assert_eq!(hull.corners().len(), 4);
        assert_eq!(hull.bounds, [1.0, 1.0, 5.0, 4.0]);
        assert_eq!(
            (hull.pixels(0, 9), hull.pixels(1, 9), hull.pixels(3, 4)),
            (0..0, 1..5, 1..4)
        );
        assert_eq!(rows(1.0, 4.0, 3), 1..3);
    }

    #[test]
    fn no_polygon_without_an_area_or_behind_the_camera() {
        assert!(Hull::around([Some([1.0, 1.0]); 5]).is_none());
        assert!(Hull::around([Some([1.0, 1.0]), Some([2.0, 1.0]), None]).is_none());
    }
}
