//! Plans as pictures: everything is on them, and nothing on top of anything else.

use flowrun_dsl::plan::draw;

use crate::{JUNCTION, compile};

fn drawn(text: &str) -> String {
    draw(&compile(text).unwrap().plan)
}

/// The values of an attribute, in the order of the text.
fn values<'a>(svg: &'a str, tag: &str, attribute: &str) -> Vec<&'a str> {
    let tags = svg.split('<').filter(|piece| piece.starts_with(tag));
    let key = format!(" {attribute}=\"");
    tags.filter_map(|piece| piece.split_once(&key)?.1.split('"').next())
        .collect()
}

#[test]
fn every_node_and_edge_is_there() {
    let svg = drawn(JUNCTION);
    assert_eq!(
        values(&svg, "g", "data-name"),
        [
            "junction",
            "vehicles.detect",
            "vehicles.tracks",
            "vehicles.visits",
            "vehicles.crossings",
            "waiting",
            "write.jsonl",
            "write.jsonl.2"
        ]
    );
    let edges: Vec<_> = values(&svg, "g", "data-from")
        .into_iter()
        .zip(values(&svg, "g", "data-to"))
        .collect();
    assert_eq!(
        edges,
        [
            ("junction", "vehicles.detect"),
            ("vehicles.detect", "vehicles.tracks"),
            ("vehicles.tracks", "vehicles.visits"),
            ("vehicles.tracks", "vehicles.crossings"),
            ("vehicles.visits", "waiting"),
            ("vehicles.crossings", "write.jsonl"),
        ]
    );
}

#[test]
fn boxes_lie_apart_and_inside() {
    // Seven flows that all read the same cameras, one of them through many steps, make edges over several layers.
    let mut text = String::from("cameras road { synthetic a scene=junction seed=1; }\n");
    for flow in 0..7 {
        text += &format!("flow f{flow} from=road {{ detect yolo as=d; track as=t; visit zones=z as=v; }}\n");
    }
    text += "model yolo \"m.onnx\"\nzones camera=a { polygon z 0 0  1 0  1 1; }\n";
    text += "write { jsonl \"a\" from=f0.d; jsonl \"b\" from=f3.v; jsonl \"c\" from=f6.t; }";
    let svg = drawn(&text);
    let number = |attribute| -> Vec<f64> {
        values(&svg, "rect", attribute)
            .iter()
            .map(|text| text.parse().unwrap())
            .collect()
    };
    let (x, y, width, height) = (number("x"), number("y"), number("width"), number("height"));
    assert_eq!(x.len(), 1 + 7 * 3 + 3);
    let view: Vec<f64> = values(&svg, "svg", "viewBox")[0]
        .split(' ')
        .map(|text| text.parse().unwrap())
        .collect();
    for a in 0..x.len() {
        assert!(x[a] >= 0.0 && y[a] >= 0.0 && x[a] + width[a] <= view[2] && y[a] + height[a] <= view[3]);
        for b in 0..a {
            let apart = x[a] + width[a] <= x[b]
                || x[b] + width[b] <= x[a]
                || y[a] + height[a] <= y[b]
                || y[b] + height[b] <= y[a];
            assert!(apart, "boxes {a} and {b} overlap");
        }
    }
}
