//! A detection model without its last steps.
//!
//! Models of YOLOv8 and later end by making, for each anchor, a box out of a distribution for each of its sides (the
//! "general distribution" of Li et al., Generalized Focal Loss, 2020) and a score out of a logit for each class. Of 8,400
//! anchors a handful is wanted, and those steps are a tenth of the time of YOLO11n on a processor. Here they are taken
//! off, and what joins the model's three grids of anchors in rows of all of them with them: TensorRT spends a twentieth of
//! its time there on turning numbers around. The model then answers `[batch, numbers]`, for each picture one grid after the
//! other, of each the distributions and then the logits, each in rows over the anchors of the grid. Whoever reads it decodes
//! what is sure enough. What is not known by its shape as such an ending is left alone.

use std::collections::{HashMap, HashSet};

use super::onnx::{
    Field, Node, TENSOR_NAME, VALUE_NAME, fields, graph, inputs_of, node_of, node_with, nodes_of, only, put, text,
    with_graph,
};

/// The model with an ending that joins the distributions and the logits of its grids; none where the ending is not known.
pub(super) fn take_off(model: &[u8]) -> Option<Vec<u8>> {
    with_graph(model, rebuilt)
}

/// What the other ending gives. Its name is its own, so that no calibration table has ranges for it that are another's.
const UNDECODED: &str = "undecoded";
/// A value's type, the tensor in it, and the type of that one's elements.
const VALUE_TYPE: u64 = 2;
const TYPE_TENSOR: u64 = 1;
const TENSOR_ELEMENT: u64 = 1;

/// The nodes of a graph, by what they make.
struct Makers<'a, 'n>(HashMap<&'a str, &'n Node<'a>>);

impl<'a, 'n> Makers<'a, 'n> {
    /// What makes a value, if it is of this kind.
    fn of(&self, value: &str, kind: &str) -> Option<&'n Node<'a>> {
        self.0.get(value).copied().filter(|node| node.kind == kind)
    }

    /// The values that `wanted` come from, themselves included; nodes of the kind `border` are not gone behind.
    fn behind(&self, wanted: &[&'a str], border: Option<&str>) -> HashSet<&'a str> {
        let (mut seen, mut left) = (HashSet::new(), wanted.to_vec());
        while let Some(value) = left.pop() {
            let node = self.0.get(value).filter(|node| Some(node.kind) != border);
            if seen.insert(value)
                && let Some(node) = node
            {
                left.extend(&node.inputs);
            }
        }
        seen
    }

    /// The distributions that boxes are made of.
    fn distributions(&self, boxes: &[&'a str]) -> Option<&'a str> {
        // A shape may be that of a picture's features, with all of the model behind it.
        let values = self.behind(boxes, Some("Shape"));
        let mut softmaxes = values.iter().filter_map(|value| self.of(value, "Softmax"));
        // Where there are several, the last one is behind no other.
        let softmax = softmaxes.find(|softmax| {
            let inner = self.behind(&softmax.inputs, None);
            values
                .iter()
                .filter_map(|value| self.of(value, "Softmax"))
                .all(|other| other.outputs == softmax.outputs || inner.contains(other.outputs[0]))
        })?;
        let transpose = self.of(softmax.inputs.first()?, "Transpose")?;
        let reshape = self.of(transpose.inputs.first()?, "Reshape")?;
        reshape.inputs.first().copied()
    }

    /// What these two were joined of, grid by grid.
    fn grids(&self, distributions: &'a str, logits: &'a str) -> Option<Vec<&'a str>> {
        if let (Some(distributions), Some(logits)) = (self.of(distributions, "Concat"), self.of(logits, "Concat")) {
            let pairs = distributions.inputs.iter().zip(&logits.inputs);
            let is_paired = distributions.inputs.len() == logits.inputs.len();
            return is_paired.then(|| pairs.flat_map(|(sides, classes)| [*sides, *classes]).collect());
        }
        // Older exports join all, and then part the distributions from the logits.
        let split = self.of(distributions, "Split")?;
        let is_of_both = split.outputs == [distributions, logits];
        let joined = self.of(split.inputs.first()?, "Concat")?;
        is_of_both.then(|| joined.inputs.clone())
    }
}

/// The graph with another ending.
fn rebuilt(parts: &[Field<'_>]) -> Option<Vec<u8>> {
    let nodes = nodes_of(parts)?;
    let output = only(parts, graph::OUTPUT)?;
    let output_name = text(only(&fields(output)?, VALUE_NAME)?)?;
    let makers = nodes
        .iter()
        .flat_map(|node| node.outputs.iter().map(move |output| (*output, node)));
    let makers = Makers(makers.collect());
    if makers.0.keys().any(|name| name.starts_with(UNDECODED)) {
        return None;
    }

    let last = makers.of(output_name, "Concat")?;
    let (scores, boxes) = last.inputs.split_last()?;
    let logits = makers.of(scores, "Sigmoid")?.inputs.first()?;
    let distributions = makers.distributions(boxes)?;
    let grids = makers.grids(distributions, logits)?;
    let wanted = makers.behind(&grids, None);

    let inputs = inputs_of(parts)?;
    let mut bytes = Vec::new();
    let mut left = nodes.iter();
    for part in parts {
        let stays = match part.number {
            graph::NODE => {
                let node = left.next()?;
                if node.outputs == last.outputs {
                    join(&grids, &mut bytes);
                    false
                } else {
                    node.outputs.iter().any(|output| wanted.contains(output))
                }
            }
            graph::INITIALIZER => {
                let name = text(only(&fields(part.bytes)?, TENSOR_NAME)?)?;
                wanted.contains(name) || inputs.contains(&name)
            }
            graph::OUTPUT => {
                put(&mut bytes, graph::OUTPUT, &undecoded_value(output)?);
                false
            }
            _ => true,
        };
        if stays {
            bytes.extend_from_slice(part.whole);
        }
    }
    Some(bytes)
}

/// The nodes of the other ending: each value in one row for each picture, and those rows one behind the other.
fn join(values: &[&str], bytes: &mut Vec<u8>) {
    let names: Vec<String> = (0..values.len()).map(|index| format!("{UNDECODED}.{index}")).collect();
    for (value, name) in values.iter().zip(&names) {
        put(bytes, graph::NODE, &node_of("Flatten", &[value], name));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let last = node_with(node_of("Concat", &names, UNDECODED), "axis", 1);
    put(bytes, graph::NODE, &last);
}

/// The output's type without its shape, which is another now, as is its name.
fn undecoded_value(value: &[u8]) -> Option<Vec<u8>> {
    let parts = fields(value)?;
    let tensor = fields(only(&fields(only(&parts, VALUE_TYPE)?)?, TYPE_TENSOR)?)?;
    let element = tensor.iter().find(|part| part.number == TENSOR_ELEMENT)?;
    let (mut kind, mut bytes) = (Vec::new(), Vec::new());
    put(&mut kind, TYPE_TENSOR, element.whole);
    put(&mut bytes, VALUE_NAME, UNDECODED.as_bytes());
    put(&mut bytes, VALUE_TYPE, &kind);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::onnx::{model, node, put_varint};
    use super::*;

    /// A graph of nodes `kind inputs -> output`, with one output.
    fn model_of(nodes: &[(&str, &[&str], &str)], output: &str) -> Vec<u8> {
        let mut graph = Vec::new();
        for (kind, inputs, output) in nodes {
            put(&mut graph, graph::NODE, &node_of(kind, inputs, output));
        }
        let (mut tensor, mut kind, mut value) = (Vec::new(), Vec::new(), Vec::new());
        put_varint(&mut tensor, TENSOR_ELEMENT << 3);
        put_varint(&mut tensor, 1);
        put(&mut tensor, 2, b"a shape");
        put(&mut kind, TYPE_TENSOR, &tensor);
        put(&mut value, VALUE_NAME, output.as_bytes());
        put(&mut value, VALUE_TYPE, &kind);
        put(&mut graph, graph::OUTPUT, &value);
        let mut model = Vec::new();
        put(&mut model, 2, b"a producer");
        put(&mut model, model::GRAPH, &graph);
        model
    }

    /// The nodes of a model, as they were written.
    fn written(model: &[u8]) -> Vec<String> {
        let parts = fields(model).unwrap();
        let graph = fields(only(&parts, model::GRAPH).unwrap()).unwrap();
        let nodes = nodes_of(&graph).unwrap();
        nodes
            .iter()
            .map(|node| format!("{} {} -> {}", node.kind, node.inputs.join(" "), node.outputs.join(" ")))
            .collect()
    }

    /// As Ultralytics writes it, with a model before it that has a softmax of its own.
    const ENDING: [(&str, &[&str], &str); 17] = [
        ("Conv", &["images"], "stem"),
        ("Softmax", &["stem"], "attention"),
        ("Conv", &["attention"], "body"),
        ("Conv", &["body"], "fine sides"),
        ("Conv", &["body"], "coarse sides"),
        ("Conv", &["body"], "fine classes"),
        ("Conv", &["body"], "coarse classes"),
        ("Concat", &["fine sides", "coarse sides"], "distributions"),
        ("Shape", &["body"], "grid"),
        ("Reshape", &["distributions", "four"], "sides"),
        ("Transpose", &["sides"], "bins"),
        ("Softmax", &["bins"], "shares"),
        ("Conv", &["shares"], "distances"),
        ("Add", &["distances", "grid"], "boxes"),
        ("Concat", &["fine classes", "coarse classes"], "logits"),
        ("Sigmoid", &["logits"], "scores"),
        ("Concat", &["boxes", "scores"], "output0"),
    ];

    #[test]
    fn what_makes_boxes_and_scores_is_taken_off() {
        let model = take_off(&model_of(&ENDING, "output0")).unwrap();
        assert_eq!(
            written(&model),
            [
                "Conv images -> stem",
                "Softmax stem -> attention",
                "Conv attention -> body",
                "Conv body -> fine sides",
                "Conv body -> coarse sides",
                "Conv body -> fine classes",
                "Conv body -> coarse classes",
                "Flatten fine sides -> undecoded.0",
                "Flatten fine classes -> undecoded.1",
                "Flatten coarse sides -> undecoded.2",
                "Flatten coarse classes -> undecoded.3",
                "Concat undecoded.0 undecoded.1 undecoded.2 undecoded.3 -> undecoded",
            ]
        );
        assert!(model.starts_with(b"\x12\x0aa producer"), "the rest stays");
        assert!(!model.windows(7).any(|bytes| bytes == b"a shape"));
        assert_eq!(take_off(&model), None, "there is nothing more to take off");
        let mut apart = ENDING;
        apart[16].1 = &["boxes", "distances", "scores"];
        assert_eq!(
            take_off(&model_of(&apart, "output0")),
            Some(model),
            "boxes in two parts"
        );
    }

    #[test]
    fn another_ending_is_left_alone() {
        for (node, kind) in [
            (16, "Add"),
            (15, "Tanh"),
            (14, "Add"),
            (11, "Sigmoid"),
            (10, "Reshape"),
            (9, "Flatten"),
            (7, "Add"),
        ] {
            let mut nodes = ENDING;
            nodes[node].0 = kind;
            let left = take_off(&model_of(&nodes, "output0"));
            assert_eq!(left, None, "{kind} for {}", ENDING[node].0);
        }
        assert_eq!(take_off(&model_of(&ENDING, "scores")), None);
        let mut named = ENDING;
        named[2].2 = "undecoded.7";
        assert_eq!(take_off(&model_of(&named, "output0")), None, "the name is taken");
        let mut unlike = ENDING;
        unlike[14].1 = &["fine classes"];
        let left = take_off(&model_of(&unlike, "output0"));
        assert_eq!(left, None, "not as many grids of distributions as of logits");
    }

    #[test]
    fn grids_that_were_joined_and_parted_again_stay_as_they_were_before() {
        let mut old = ENDING;
        old[7] = ("Concat", &["fine sides", "coarse sides"], "all");
        old[14] = ("Split", &["all", "sizes"], "logits");
        // A node of two outputs.
        let parted = |outputs: [&str; 2]| {
            let mut split = node_of("Split", &["all", "sizes"], outputs[0]);
            put(&mut split, node::OUTPUT, outputs[1].as_bytes());
            let model = model_of(&old, "output0");
            let one = node_of("Split", &["all", "sizes"], "logits");
            replaced(&model, &one, &split)
        };
        let model = take_off(&parted(["distributions", "logits"])).unwrap();
        assert_eq!(
            written(&model)[5..],
            [
                "Flatten fine sides -> undecoded.0",
                "Flatten coarse sides -> undecoded.1",
                "Concat undecoded.0 undecoded.1 -> undecoded",
            ]
        );
        assert_eq!(
            take_off(&parted(["logits", "distributions"])),
            None,
            "the other way round"
        );
    }

    /// The model with another node for one of its own.
    fn replaced(model: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
        let made = |parts: &[Field<'_>]| {
            let mut bytes = Vec::new();
            for part in parts {
                put(
                    &mut bytes,
                    part.number,
                    if part.bytes == old { new } else { part.bytes },
                );
            }
            Some(bytes)
        };
        with_graph(model, made).unwrap()
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_model_are_left_alone(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            take_off(&bytes);
        }

        #[test]
        fn a_damaged_model_does_no_harm(at in any::<prop::sample::Index>(), byte: u8) {
            let mut model = model_of(&ENDING, "output0");
            let at = at.index(model.len());
            model[at] = byte;
            take_off(&model);
        }
    }
}
