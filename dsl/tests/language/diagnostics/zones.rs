//! Faults of zones and their shapes.

use insta::assert_snapshot;

use super::with_cameras;

#[test]
fn zones_of_nobody() {
    assert_snapshot!(with_cameras(r#"zones { polygon a 0 0 1 0 1 1; }
zones camera=a cameras=g { line l 0 0 1 1; }
zones camera=g { line l 0 0 1 1; }
zones cameras=a { line l 0 0 1 1; }
zones camera=c { line l 0 0 1 1; }
zones camera=a"#), @r"
    error[flowrun::missing-parameter]: zones of which camera?
       2 | zones { polygon a 0 0 1 0 1 1; }
         | ^^^^^ without a camera
         = write `zones camera=NAME` or `zones cameras=GROUP`
    error[flowrun::duplicate-property]: zones lie on one camera or on a group, not on both
       3 | zones camera=a cameras=g { line l 0 0 1 1; }
         |                        ^ a group
       3 | zones camera=a cameras=g { line l 0 0 1 1; }
         |              ^ a camera
    error[flowrun::unknown-name]: there is no camera `g`
       4 | zones camera=g { line l 0 0 1 1; }
         |              ^ unknown
         = it is a group: write cameras=g
    error[flowrun::unknown-name]: there is no group of cameras `a`
       5 | zones cameras=a { line l 0 0 1 1; }
         |               ^ unknown
         = it is a camera: write camera=a
    error[flowrun::unknown-name]: there is no camera `c`
       6 | zones camera=c { line l 0 0 1 1; }
         |              ^ unknown
         = cameras here: a, b
    error[flowrun::empty]: `zones` declares none
       7 | zones camera=a
         | ^^^^^ empty
    ");
}

#[test]
fn polygons_that_cross_themselves() {
    assert_snapshot!(with_cameras(r#"zones camera=a { polygon tie 0.1 0.1  0.9 0.9  0.9 0.1  0.1 0.9; }"#), @r"
    error[flowrun::bad-shape]: the polygon `tie` crosses itself: edge 1-2 meets edge 3-4
       2 | zones camera=a { polygon tie 0.1 0.1  0.9 0.9  0.9 0.1  0.1 0.9; }
         |                              ^^^^^^^^^^^^^^^^ edge 1-2
       2 | zones camera=a { polygon tie 0.1 0.1  0.9 0.9  0.9 0.1  0.1 0.9; }
         |                                                ^^^^^^^^^^^^^^^^ edge 3-4
         = name the corners in their order around the polygon
    ");
}

#[test]
fn shapes_that_are_none() {
    assert_snapshot!(with_cameras(r#"zones camera=a {
    polygon two 0.1 0.1 0.2 0.2 0.1 0.1
    polygon flat 0.1 0.1 0.2 0.2 0.3 0.3
    polygon odd 0.1 0.1 0.2
    polygon pixels 10 10 20 10 20 20
    polygon text a b c d e f
    line point 0.5 0.5 0.5 0.5
    line three 0.1 0.1 0.2 0.2 0.3 0.3
    line same 0 0 1 1 forward=x backward=x
    circle c 0.5 0.5
}
zones camera=a units=pixel { line l 0 0 1 1; }"#), @r"
    error[flowrun::bad-shape]: the polygon `two` has 2 distinct corners
       3 |     polygon two 0.1 0.1 0.2 0.2 0.1 0.1
         |                         ^^^^^^^^^^^^^^^ too few
         = a polygon has at least three corners: x y  x y  x y
    error[flowrun::bad-shape]: the polygon `flat` has no area
       4 |     polygon flat 0.1 0.1 0.2 0.2 0.3 0.3
         |                  ^^^^^^^^^^^^^^^^^^^^^^^ all on one line
    error[flowrun::bad-shape]: `odd` ends with half a point
       5 |     polygon odd 0.1 0.1 0.2
         |                         ^^^ an x without its y
    error[flowrun::out-of-range]: 10 is no ratio of the picture
       6 |     polygon pixels 10 10 20 10 20 20
         |                    ^^ not from 0 to 1
         = coordinates are ratios of the picture's width and height; for pixels write units=pixels behind `zones`
    error[flowrun::wrong-type]: a coordinate is a finite number, not text
       7 |     polygon text a b c d e f
         |                  ^ should be a number
         = write the numbers with spaces between: 0.1 0.2
    error[flowrun::bad-shape]: the line `point` begins and ends at one point
       8 |     line point 0.5 0.5 0.5 0.5
         |                ^^^^^^^^^^^^^^^ the same point
    error[flowrun::bad-shape]: the line `three` has 3 points
       9 |     line three 0.1 0.1 0.2 0.2 0.3 0.3
         |                ^^^^^^^^^^^^^^^^^^^^^^^ two are needed
         = write line NAME ax ay  bx by
    error[flowrun::bad-shape]: both directions of the line have one name
      10 |     line same 0 0 1 1 forward=x backward=x
         |                                          ^ the same
      10 |     line same 0 0 1 1 forward=x backward=x
         |                               ^ first
    error[flowrun::unknown-node]: `circle` is no node in `zones`
      11 |     circle c 0.5 0.5
         |     ^^^^^^ unknown here
         = nodes here: polygon, line
    error[flowrun::unknown-choice]: `pixel` is no choice for `units`
      13 | zones camera=a units=pixel { line l 0 0 1 1; }
         |                      ^^^^^ unknown
         = did you mean `pixels`?
    ");
}

#[test]
fn zones_declared_twice() {
    assert_snapshot!(with_cameras(r#"zones camera=a { polygon z 0 0 1 0 1 1; }
zones cameras=g { polygon z 0 0 1 0 1 1; }
zones camera=b { line z 0 0 1 1; }"#), @r"
    error[flowrun::duplicate-name]: the camera `a` already has a zone `z`
       3 | zones cameras=g { polygon z 0 0 1 0 1 1; }
         |                           ^ again
       2 | zones camera=a { polygon z 0 0 1 0 1 1; }
         |                          ^ first
    error[flowrun::duplicate-name]: `z` is already the name of a polygon
       4 | zones camera=b { line z 0 0 1 1; }
         |                       ^ a line of the same name
       2 | zones camera=a { polygon z 0 0 1 0 1 1; }
         |                          ^ first
    error[flowrun::duplicate-name]: the camera `b` already has a zone `z`
       4 | zones camera=b { line z 0 0 1 1; }
         |                       ^ again
       3 | zones cameras=g { polygon z 0 0 1 0 1 1; }
         |                           ^ first
    ");
}

#[test]
fn zones_unknown_to_a_flow() {
    assert_snapshot!(with_cameras(r#"zones camera=c { polygon far 0 0 1 0 1 1; line l 0 0 1 1; }
cameras h { synthetic c; }
flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }"#), @r#"
    error[flowrun::unknown-name]: there is no polygon `near`
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                           ^^^^ unknown
         = polygons here: far
    error[flowrun::wrong-rows]: `visit` reads tracks, but `f.visit` emits visits
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                                 ^^^^^ tracks are needed here
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                               ^^^^^ visits come from here
         = tracks come from f.track
    error[flowrun::unknown-name]: no camera of `f.again` has the polygon `far`
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                                              ^^^ on none of its pictures
         = it lies on c; its cameras are a, b
    error[flowrun::unknown-name]: there is no polygon `l`
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                                                  ^ unknown
         = it is a line
    error[flowrun::unknown-name]: no camera of `f.cross` has the line `l`
       4 | flow f from=g { truth; track; visit zones=near; visit zones="far,l" as=again; cross lines=l from=track; }
         |                                                                                           ^ on none of its pictures
         = it lies on c; its cameras are a, b
    "#);
}

#[test]
fn zones_of_some_cameras() {
    assert_snapshot!(with_cameras(r#"zones camera=a { polygon z 0 0 1 0 1 1; }
flow f from=g { truth; track; visit zones=z; }"#), @r"
    a plan, and
    warning[flowrun::zone-not-everywhere]: the polygon `z` does not lie on every picture
       3 | flow f from=g { truth; track; visit zones=z; }
         |                                           ^ not on b
         = for these cameras `f.visit` never sees it
    ");
}
