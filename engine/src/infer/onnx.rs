//! ONNX models in their bytes: as much of protobuf and of a graph as it takes to give a model another ending, or more outputs.
//!
//! What is not understood is carried over as it is. Bytes that are no model give none of this, and do no harm.
//!
//! Field numbers: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

pub mod model {
    pub const GRAPH: u64 = 7;
}
pub mod graph {
    pub const NODE: u64 = 1;
    pub const INITIALIZER: u64 = 5;
    pub const INPUT: u64 = 11;
    pub const OUTPUT: u64 = 12;
}
pub mod node {
    pub const INPUT: u64 = 1;
    pub const OUTPUT: u64 = 2;
    pub const KIND: u64 = 4;
    pub const ATTRIBUTE: u64 = 5;
}
/// An attribute's graphs, whose nodes may read what no input names.
const ATTRIBUTE_GRAPHS: [u64; 2] = [6, 11];
/// The name of a tensor that a model holds, and of a value that it takes or gives.
pub const TENSOR_NAME: u64 = 8;
pub const VALUE_NAME: u64 = 1;
/// An attribute's name, and its value where that is a whole number.
const ATTRIBUTE_NAME: u64 = 1;
const ATTRIBUTE_INT: u64 = 3;
/// An attribute's type, and what it is where that is a whole number.
const ATTRIBUTE_TYPE: u64 = 20;
const TYPE_INT: u64 = 2;

/// What a node reads and makes.
pub struct Node<'a> {
    pub kind: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
}

impl<'a> Node<'a> {
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let parts = fields(bytes)?;
        for attribute in parts.iter().filter(|part| part.number == node::ATTRIBUTE) {
            let inner = fields(attribute.bytes)?;
            if inner.iter().any(|part| ATTRIBUTE_GRAPHS.contains(&part.number)) {
                return None;
            }
        }
        Some(Node {
            kind: text(only(&parts, node::KIND)?)?,
            inputs: texts(&parts, node::INPUT)?,
            outputs: texts(&parts, node::OUTPUT)?,
        })
    }
}

/// The bytes of a node without attributes.
pub fn node_of(kind: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for input in inputs {
        put(&mut bytes, node::INPUT, input.as_bytes());
    }
    put(&mut bytes, node::OUTPUT, output.as_bytes());
    put(&mut bytes, node::KIND, kind.as_bytes());
    bytes
}

/// The node with an attribute more, a whole number.
pub fn node_with(mut node: Vec<u8>, name: &str, number: u64) -> Vec<u8> {
    let mut attribute = Vec::new();
    put(&mut attribute, ATTRIBUTE_NAME, name.as_bytes());
    for (field, number) in [(ATTRIBUTE_INT, number), (ATTRIBUTE_TYPE, TYPE_INT)] {
        put_varint(&mut attribute, field << 3);
        put_varint(&mut attribute, number);
    }
    put(&mut node, node::ATTRIBUTE, &attribute);
    node
}

/// The model with a graph made anew of its own; none where it has not one.
pub fn with_graph(model: &[u8], made: impl FnOnce(&[Field<'_>]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let parts = fields(model)?;
    let graph = made(&fields(only(&parts, model::GRAPH)?)?)?;
    let mut bytes = Vec::with_capacity(model.len());
    for part in &parts {
        match part.number {
            model::GRAPH => put(&mut bytes, model::GRAPH, &graph),
            _ => bytes.extend_from_slice(part.whole),
        }
    }
    Some(bytes)
}

/// The nodes of a graph.
pub fn nodes_of<'a>(graph: &[Field<'a>]) -> Option<Vec<Node<'a>>> {
    let nodes = graph.iter().filter(|part| part.number == graph::NODE);
    nodes.map(|part| Node::of(part.bytes)).collect()
}

/// The names of what a graph takes.
pub fn inputs_of<'a>(graph: &[Field<'a>]) -> Option<Vec<&'a str>> {
    let inputs = graph.iter().filter(|part| part.number == graph::INPUT);
    inputs
        .map(|part| text(only(&fields(part.bytes)?, VALUE_NAME)?))
        .collect()
}

// ---- protobuf --------------------------------------------------------------------------------

/// A field of a message.
pub struct Field<'a> {
    pub number: u64,
    /// What is in it, where it has a length.
    pub bytes: &'a [u8],
    /// All of it, its number included.
    pub whole: &'a [u8],
}

/// The fields of a message; none where the bytes are none.
pub fn fields(message: &[u8]) -> Option<Vec<Field<'_>>> {
    let (mut fields, mut rest) = (Vec::new(), message);
    while !rest.is_empty() {
        let begun = rest;
        let tag = varint(&mut rest)?;
        let length = match tag & 7 {
            0 => {
                varint(&mut rest)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let bytes = rest.get(..length)?;
        rest = &rest[length..];
        fields.push(Field {
            number: tag >> 3,
            bytes,
            whole: &begun[..begun.len() - rest.len()],
        });
    }
    Some(fields)
}

pub fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// What is in the one field of this number.
pub fn only<'a>(fields: &[Field<'a>], number: u64) -> Option<&'a [u8]> {
    let mut found = fields.iter().filter(|field| field.number == number);
    let field = found.next()?;
    found.next().is_none().then_some(field.bytes)
}

pub fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

pub fn texts<'a>(fields: &[Field<'a>], number: u64) -> Option<Vec<&'a str>> {
    let found = fields.iter().filter(|field| field.number == number);
    found.map(|field| text(field.bytes)).collect()
}

pub fn put(into: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(into, number << 3 | 2);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

pub fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}
