//! Points, polygons and directed lines on a picture: x grows to the right, y downward.
//!
//! Every rule here is total and consistent on boundaries, because tracks do stand exactly on them: a polygon owns its
//! edges and corners; a line's points belong to its right side, and its end `a` belongs to it while `b` does not, so
//! that a path through the joint of two lines a-b, b-c passes exactly one of them.

/// A point in pixels: x, y.
pub type Point = [f64; 2];

/// Twice the signed area of the triangle a, b, p: positive where p is to the right of a -> b as seen on the picture,
/// zero where the three are in line.
///
/// ```text
///   a -----> b        travelling from a to b, with y downward,
///       p             p is on the right: turn(a, b, p) > 0
/// ```
pub fn turn(a: Point, b: Point, p: Point) -> f64 {
    (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
}

/// Whether p is to the right of a -> b or in line with it.
pub fn is_right(a: Point, b: Point, p: Point) -> bool {
    turn(a, b, p) >= 0.0
}

/// Whether a polygon holds a point, by the even-odd rule (Hormann and Agathos 2001, "The point in polygon problem for
/// arbitrary polygons", §2); its boundary counts as inside. Fewer than three corners hold nothing.
pub fn contains(corners: &[Point], p: Point) -> bool {
    if corners.len() < 3 {
        return false;
    }
    let mut inside = false;
    let mut from = corners[corners.len() - 1];
    for &to in corners {
        let spans = |axis: usize| from[axis].min(to[axis]) <= p[axis] && p[axis] <= from[axis].max(to[axis]);
        if spans(0) && spans(1) && turn(from, to, p) == 0.0 {
            return true;
        }
        // A ray to the right meets the edge when exactly one end is below it and the meeting point is beyond p.
        if (from[1] > p[1]) != (to[1] > p[1]) {
            let (upper, lower) = if from[1] > to[1] { (to, from) } else { (from, to) };
            // Downward, what is to the left on the picture is to the right of the way.
            inside ^= turn(upper, lower, p) > 0.0;
        }
        from = to;
    }
    inside
}

/// A path's passing of a directed line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passing {
    /// Whether it goes to the right of a -> b.
    pub forward: bool,
    /// Where.
    pub point: Point,
}

/// Whether and where the way from `p` to `q` passes the line from `a` to `b`. A way passes when it begins on one side
/// of the line and ends on the other, and meets it between `a` and `b`. Going back the same way is the opposite
/// passing at the same point, whatever the rounding.
///
/// ```text
///          p                 forward: from the left to the right of a -> b
///          |
///   a -----+-----> b
///          v
///          q
/// ```
pub fn passing(a: Point, b: Point, p: Point, q: Point) -> Option<Passing> {
    let forward = is_right(a, b, q);
    if is_right(a, b, p) == forward {
        return None;
    }
    // Always looked at from left to right, so that both ways give the same numbers.
    let (left, right) = if forward { (p, q) } else { (q, p) };
    if turn(left, right, a) < 0.0 || turn(left, right, b) >= 0.0 {
        return None;
    }
    let (before, after) = (turn(a, b, left), turn(a, b, right));
    // One is below zero and the other is not, so the denominator is not zero.
    let part = before / (before - after);
    let point = [0, 1].map(|axis| left[axis] + part * (right[axis] - left[axis]));
    Some(Passing { forward, point })
}

/// How far p is from the infinite line through a and b; from a, where they are one point.
pub fn distance(a: Point, b: Point, p: Point) -> f64 {
    let length = (b[0] - a[0]).hypot(b[1] - a[1]);
    if length == 0.0 {
        return (p[0] - a[0]).hypot(p[1] - a[1]);
    }
    turn(a, b, p).abs() / length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How often the polygon winds round a point that is not on its boundary: the sum of the angles.
    fn winding(corners: &[Point], p: Point) -> i64 {
        let angle = |corner: Point| (corner[1] - p[1]).atan2(corner[0] - p[0]);
        let around = (0..corners.len()).map(|index| {
            let turned = angle(corners[(index + 1) % corners.len()]) - angle(corners[index]);
            let whole = std::f64::consts::TAU;
            turned - whole * (turned / whole).round()
        });
        (around.sum::<f64>() / std::f64::consts::TAU).round() as i64
    }

    /// Simple polygons with whole coordinates: corners by angle around a middle, at any distance.
    fn polygon() -> impl Strategy<Value = Vec<Point>> {
        prop::collection::vec(10.0..400.0, 3..14).prop_map(|distances: Vec<f64>| {
            let step = std::f64::consts::TAU / distances.len() as f64;
            let corner = |(index, distance): (usize, &f64)| {
                let angle = step * index as f64;
                [
                    (500.0 + distance * angle.cos()).round(),
                    (500.0 + distance * angle.sin()).round(),
                ]
            };
            distances.iter().enumerate().map(corner).collect()
        })
    }

    fn place() -> impl Strategy<Value = Point> {
        [0..1000_i32, 0..1000_i32].prop_map(|[x, y]| [f64::from(x), f64::from(y)])
    }

    fn near() -> impl Strategy<Value = Point> {
        [0..8_i32, 0..8_i32].prop_map(|[x, y]| [f64::from(x), f64::from(y)])
    }

    fn is_on_boundary(corners: &[Point], p: Point) -> bool {
        (0..corners.len()).any(|index| {
            let (a, b) = (corners[index], corners[(index + 1) % corners.len()]);
            let along = (p[0] - a[0]) * (p[0] - b[0]) + (p[1] - a[1]) * (p[1] - b[1]);
            turn(a, b, p) == 0.0 && along <= 0.0
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn even_odd_agrees_with_the_winding_number(corners in polygon(), p in place()) {
            let inside = is_on_boundary(&corners, p) || winding(&corners, p) != 0;
            prop_assert_eq!(contains(&corners, p), inside);
        }

        #[test]
        fn where_a_polygon_begins_and_which_way_it_goes_does_not_matter(corners in polygon(), p in place(), by in 0..14_usize) {
            let mut other = corners.clone();
            other.rotate_left(by % corners.len());
            other.reverse();
            prop_assert_eq!(contains(&other, p), contains(&corners, p));
        }

        #[test]
        fn moving_everything_changes_nothing(corners in polygon(), p in place(), by in place()) {
            let moved = |point: Point| [point[0] + by[0], point[1] + by[1]];
            let polygon: Vec<_> = corners.iter().copied().map(moved).collect();
            prop_assert_eq!(contains(&polygon, moved(p)), contains(&corners, p));
        }

        #[test]
        fn the_way_back_is_the_opposite_passing(a in near(), b in near(), p in near(), q in near()) {
            match (passing(a, b, p, q), passing(a, b, q, p)) {
                (Some(there), Some(back)) => {
                    prop_assert_ne!(there.forward, back.forward);
                    prop_assert_eq!(there.point, back.point);
                }
                (there, back) => prop_assert_eq!(there, back),
            }
        }

        #[test]
        fn moving_the_line_with_the_way_changes_nothing(a in near(), b in near(), p in near(), q in near(), by in place()) {
            let moved = |point: Point| [point[0] + by[0], point[1] + by[1]];
            let there = passing(a, b, p, q).map(|passing| passing.forward);
            let here = passing(moved(a), moved(b), moved(p), moved(q)).map(|passing| passing.forward);
            prop_assert_eq!(there, here);
        }

        /// However a way is cut into steps, vertices on the line included, the net count depends on its ends alone.
        #[test]
        fn steps_on_the_line_neither_double_nor_miss(way in prop::collection::vec(near(), 2..12)) {
            // A line far longer than the way's field.
            let (a, b) = ([-100.0, 4.0], [100.0, 4.0]);
            let net: i32 = way.windows(2).filter_map(|step| passing(a, b, step[0], step[1])).map(|passing| if passing.forward { 1 } else { -1 }).sum();
            let side = |p: Point| i32::from(is_right(a, b, p));
            prop_assert_eq!(net, side(way[way.len() - 1]) - side(way[0]));
        }

        /// A way through the joint of two lines passes exactly one of them.
        #[test]
        fn joined_lines_count_once(p in near(), q in near(), joint in 0..8_i32) {
            let (a, b, c) = ([-100.0, 4.0], [f64::from(joint), 4.0], [100.0, 4.0]);
            let whole = passing(a, c, p, q).is_some();
            let parts = usize::from(passing(a, b, p, q).is_some()) + usize::from(passing(b, c, p, q).is_some());
            prop_assert_eq!(parts, usize::from(whole));
        }
    }

    #[test]
    fn forward_is_to_the_right_of_the_line_as_seen() {
        //   (0,0) a -----> b (10,0)     down the picture is to the right of a -> b
        let (a, b) = ([0.0, 0.0], [10.0, 0.0]);
        let down = passing(a, b, [5.0, -2.0], [5.0, 2.0]).expect("it passes");
        assert_eq!(
            down,
            Passing {
                forward: true,
                point: [5.0, 0.0]
            }
        );
        let up = passing(a, b, [5.0, 2.0], [5.0, -2.0]).expect("it passes");
        assert!(!up.forward);
        assert_eq!(passing(a, b, [12.0, -2.0], [12.0, 2.0]), None, "beyond the end");
        assert!(
            passing(b, a, [5.0, 2.0], [5.0, -2.0]).expect("it passes").forward,
            "the line turned round"
        );
    }

    #[test]
    fn a_polygon_owns_its_boundary() {
        let square = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]];
        for p in [[0.0, 0.0], [4.0, 4.0], [2.0, 0.0], [4.0, 1.0], [0.0, 3.0], [2.0, 4.0]] {
            assert!(contains(&square, p), "{p:?}");
        }
        assert!(!contains(&square, [4.1, 4.0]) && !contains(&square, [-0.1, 0.0]));
        assert!(!contains(&square[..2], [2.0, 0.0]), "two corners are no polygon");
        assert!(!contains(&square, [f64::NAN, 1.0]));
    }

    #[test]
    fn a_line_of_no_length_is_never_passed() {
        assert_eq!(passing([1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [2.0, 2.0]), None);
        assert_eq!(distance([1.0, 1.0], [1.0, 1.0], [4.0, 5.0]), 5.0);
        assert_eq!(distance([0.0, 0.0], [10.0, 0.0], [3.0, -2.0]), 2.0);
    }
}
