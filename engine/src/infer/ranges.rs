//! How far from nought each tensor of a model gets on pictures: what TensorRT must know to compute it in bytes.
//!
//! Every tensor that depends on the picture gets two nodes that tell its least and its greatest number, and those become
//! what the model answers ("MinMax" calibration, as in Nagel et al., A White Paper on Neural Network Quantization, 2021,
//! section 3.1). What is written is the table that ONNX Runtime's own tool writes: for each tensor the larger of both.

use std::collections::HashSet;
use std::path::Path;

use flatbuffers::FlatBufferBuilder;
use half::f16;
use ort::session::Session;

use super::onnx::{
    Field, TENSOR_NAME, VALUE_NAME, fields, graph, inputs_of, node_of, node_with, nodes_of, only, put, text, with_graph,
};
use super::provider::Provider;
use super::runtime::runtime;
use super::session::{ModelOptions, TensorView, build, guarded};
use super::{external, is_quantised};
use crate::errors::{OperatorError, Result};

/// A model that is watched while it looks at pictures.
#[derive(Debug)]
pub struct Ranges {
    session: Session,
    /// Each tensor, and how far from nought it has got; none where it is not of numbers with a point.
    found: Vec<(String, Option<f32>)>,
}

impl Ranges {
    /// Opens a model on the processor, with so many threads.
    ///
    /// # Errors
    /// When ONNX Runtime is missing, the file is no model, has files beside it, or is quantised itself; when it holds
    /// nodes whose answers have no least number.
    pub fn open(model: &Path, threads: usize) -> Result<Self> {
        let about = |cause: String| OperatorError::new(format!("model `{}`: {cause}", model.display()));
        let bytes = external::whole(model)?;
        if is_quantised(model)? {
            return Err(about("it is quantised itself: it needs no table of ranges".into()));
        }
        let (bytes, tensors) = watched(&bytes).ok_or_else(|| about("its graph cannot be watched".into()))?;
        let (runtime, ladder) = (runtime()?, [Provider::Cpu]);
        let options = ModelOptions::new(threads, &ladder);
        let session = guarded(|| build(runtime, &options, Provider::Cpu)?.commit_from_memory(&bytes)).map_err(about)?;
        Ok(Ranges {
            session,
            found: tensors.into_iter().map(|tensor| (tensor, Some(0.0))).collect(),
        })
    }

    /// Looks at an input of shape `dims`.
    ///
    /// # Errors
    /// When it does not fit the model, or a tensor gets endless.
    pub fn add(&mut self, dims: &[usize], input: TensorView<'_>) -> Result<()> {
        let Ranges { session, found } = self;
        let told = guarded(|| {
            let outputs = session.run([input.of_shape(dims)?])?;
            Ok((0..outputs.len())
                .map(|index| {
                    let whole = outputs[index].try_extract_tensor::<f32>().ok();
                    let half = || outputs[index].try_extract_tensor::<f16>().ok();
                    let first = whole.and_then(|(_, numbers)| numbers.first().copied());
                    first.or_else(|| half().and_then(|(_, numbers)| numbers.first().map(|number| number.to_f32())))
                })
                .collect::<Vec<Option<f32>>>())
        });
        let told = told.map_err(|cause| OperatorError::new(format!("inference failed: {cause}")))?;
        for ((tensor, range), ends) in found.iter_mut().zip(told.as_chunks::<2>().0) {
            let [Some(least), Some(greatest)] = *ends else {
                *range = None;
                continue;
            };
            let here = least.abs().max(greatest.abs());
            if !here.is_finite() {
                return Err(OperatorError::new(format!(
                    "tensor `{tensor}` is no number on this picture"
                )));
            }
            *range = range.map(|range| range.max(here));
        }
        Ok(())
    }

    /// Each tensor that was not always nought, and how far from nought it has got.
    pub fn found(&self) -> impl Iterator<Item = (&str, f32)> {
        let found = self.found.iter();
        found.filter_map(|(tensor, range)| Some((tensor.as_str(), range.filter(|range| *range > 0.0)?)))
    }

    /// The table, as ONNX Runtime reads it: a FlatBuffer of pairs of texts.
    pub fn table(&self) -> Vec<u8> {
        // The places of fields in the tables of its schema, `TrtTable { dict: [KeyValue { key, value }] }`.
        const DICT: u16 = 4;
        const KEY: u16 = 4;
        const VALUE: u16 = 6;
        let mut builder = FlatBufferBuilder::new();
        let pairs: Vec<_> = self
            .found()
            .map(|(tensor, range)| {
                let (key, value) = (builder.create_string(tensor), builder.create_string(&range.to_string()));
                let pair = builder.start_table();
                builder.push_slot_always(KEY, key);
                builder.push_slot_always(VALUE, value);
                builder.end_table(pair)
            })
            .collect();
        let dict = builder.create_vector(&pairs);
        let table = builder.start_table();
        builder.push_slot_always(DICT, dict);
        let table = builder.end_table(table);
        builder.finish_minimal(table);
        builder.finished_data().to_vec()
    }
}

/// Nodes whose answers are no numbers of the picture, or have no least one.
const BLIND: [&str; 14] = [
    "Shape",
    "Size",
    "ArgMax",
    "ArgMin",
    "Equal",
    "Less",
    "LessOrEqual",
    "Greater",
    "GreaterOrEqual",
    "And",
    "Or",
    "Not",
    "IsNaN",
    "IsInf",
];

/// The model with other outputs, and the tensors whose least and greatest numbers those are, in turn.
fn watched(model: &[u8]) -> Option<(Vec<u8>, Vec<String>)> {
    let mut tensors = Vec::new();
    let model = with_graph(model, |parts| {
        tensors = of_the_picture(parts)?;
        let mut bytes = Vec::new();
        for part in parts.iter().filter(|part| part.number != graph::OUTPUT) {
            bytes.extend_from_slice(part.whole);
        }
        for (index, tensor) in tensors.iter().enumerate() {
            for (kind, end) in [("ReduceMin", "least"), ("ReduceMax", "greatest")] {
                // No tensor of an exporter's is called like this.
                let name = format!("flowrun.{end}.{index}");
                // One number of all of the tensor.
                let node = node_with(node_of(kind, &[tensor], &name), "keepdims", 0);
                put(&mut bytes, graph::NODE, &node);
                let mut value = Vec::new();
                put(&mut value, VALUE_NAME, name.as_bytes());
                put(&mut bytes, graph::OUTPUT, &value);
            }
        }
        Some(bytes)
    })?;
    Some((model, tensors))
}

/// The input, and every tensor that is made of it.
fn of_the_picture(parts: &[Field<'_>]) -> Option<Vec<String>> {
    let held = parts.iter().filter(|part| part.number == graph::INITIALIZER);
    let held = held.map(|part| text(only(&fields(part.bytes)?, TENSOR_NAME)?));
    let held = held.collect::<Option<HashSet<_>>>()?;
    // Old models name what they hold among their inputs too.
    let mut tensors: Vec<&str> = inputs_of(parts)?
        .into_iter()
        .filter(|name| !held.contains(name))
        .collect();
    let mut known: HashSet<&str> = tensors.iter().copied().collect();
    // Nodes stand behind those that they read from.
    for node in nodes_of(parts)?.iter().filter(|node| !BLIND.contains(&node.kind)) {
        if node.inputs.iter().any(|input| known.contains(input)) {
            let made = node.outputs.iter().copied().filter(|output| !output.is_empty());
            made.for_each(|output| {
                if known.insert(output) {
                    tensors.push(output);
                }
            });
        }
    }
    Some(tensors.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(field: u64, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, field, name.as_bytes());
        bytes
    }

    #[test]
    fn what_depends_on_the_picture_is_watched() {
        let mut inner = Vec::new();
        for (kind, inputs, output) in [
            ("Conv", &["images", "weights"][..], "stem"),
            ("Shape", &["stem"], "shape"),
            ("Gather", &["shape"], "height"),
            ("Mul", &["weights", "height"], "grid"),
            ("Add", &["stem", "grid"], "boxes"),
        ] {
            put(&mut inner, graph::NODE, &node_of(kind, inputs, output));
        }
        put(&mut inner, graph::INITIALIZER, &named(TENSOR_NAME, "weights"));
        for input in ["images", "weights"] {
            put(&mut inner, graph::INPUT, &named(VALUE_NAME, input));
        }
        put(&mut inner, graph::OUTPUT, &named(VALUE_NAME, "boxes"));
        let mut model = Vec::new();
        put(&mut model, super::super::onnx::model::GRAPH, &inner);
        let (model, tensors) = watched(&model).unwrap();
        assert_eq!(tensors, ["images", "stem", "boxes"]);
        let parts = fields(&model).unwrap();
        let graph = fields(parts[0].bytes).unwrap();
        let nodes = nodes_of(&graph).unwrap();
        let last: Vec<_> = nodes[5..].iter().map(|node| (node.kind, node.inputs[0])).collect();
        assert_eq!(last[4..], [("ReduceMin", "boxes"), ("ReduceMax", "boxes")]);
        assert_eq!(graph.iter().filter(|part| part.number == graph::OUTPUT).count(), 6);
        assert_eq!(watched(b"no model at all"), None);
    }
}
