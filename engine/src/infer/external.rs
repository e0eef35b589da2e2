//! Looks at a model file before ONNX Runtime does: is it a model, and which other files does it read?
//!
//! An ONNX model may keep weights in files of their own, named by a path inside the model. A model
//! that somebody was handed must not read files elsewhere on the machine, so every such path has to
//! stay in the model's folder. The protobuf is walked with seeks: nothing but names is ever in memory.
//!
//! Field numbers: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Component, Path, PathBuf};

use crate::errors::{OperatorError, Result};

/// Models nest a handful of graphs (loop bodies); deeper is an attack on the stack.
const DEEPEST: usize = 48;
/// No path is longer on Linux.
const LONGEST_NAME: u64 = 4096;

/// Checks that a file is an ONNX model and that it reads no file outside its folder.
///
/// # Errors
/// When it cannot be read, is no model or a truncated one, or names a file that is elsewhere or missing.
pub(super) fn check(model: &Path) -> Result<()> {
    let shown = model.display();
    let locations = read(model)?.locations;
    let folder = model
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    for location in locations {
        inside(folder, &location).map_err(|fault| {
            OperatorError::new(format!("model `{shown}` keeps weights in `{location}`, {fault}"))
                .help("put the weights into the model's own folder, or export it with the weights inside")
        })?;
    }
    Ok(())
}

/// Whether a model says itself how it is to be computed in bytes: it has nodes that quantise.
///
/// # Errors
/// When it cannot be read, or is no model.
pub fn is_quantised(model: &Path) -> Result<bool> {
    Ok(read(model)?.quantises)
}

/// The bytes of a model that is all in its file.
///
/// # Errors
/// When it cannot be read, is no model, or has files beside it.
pub(super) fn whole(model: &Path) -> Result<Vec<u8>> {
    let shown = model.display();
    if !read(model)?.locations.is_empty() {
        let cause = format!("model `{shown}` has files beside it");
        return Err(OperatorError::new(cause).help("export it as one file"));
    }
    let about = |error| OperatorError::new(format!("model `{shown}` cannot be read: {error}"));
    std::fs::read(model).map_err(about)
}

fn read(model: &Path) -> Result<Contents> {
    let shown = model.display();
    let file =
        File::open(model).map_err(|error| OperatorError::new(format!("model `{shown}` cannot be read: {error}")))?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(OperatorError::new(format!("model `{shown}` is no file")));
    }
    Reader::new(BufReader::new(file), about.len())
        .contents()
        .map_err(|fault| {
            OperatorError::new(format!("`{shown}` is no ONNX model: {fault}"))
                .help("export the model again, as in `yolo export format=onnx`, or copy it again if it was cut short")
        })
}

/// What is of interest in a model.
#[derive(Default)]
struct Contents {
    /// Every distinct file that its tensors lie in.
    locations: Vec<String>,
    /// Whether it has nodes that quantise.
    quantises: bool,
}

/// Whether `location` is a file below `folder`, links followed.
fn inside(folder: &Path, location: &str) -> Result<(), &'static str> {
    let relative = Path::new(location);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(plain) {
        return Err("which is outside its folder");
    }
    let real = |path: PathBuf| path.canonicalize().map_err(|_| "which is not there");
    if !real(folder.join(relative))?.starts_with(real(folder.to_path_buf())?) {
        return Err("which links to a file outside its folder");
    }
    Ok(())
}

/// Which message of onnx.proto is being read: only those on the way to a tensor matter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    TrainingInfo,
    Function,
    Graph,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
    ExternalData,
}

impl Message {
    /// The message in a length-delimited field, where a tensor may be inside.
    fn of_field(self, field: u64) -> Option<Message> {
        match (self, field) {
            (Message::Model, 7) | (Message::TrainingInfo, 1 | 2) | (Message::Attribute, 6 | 11) => Some(Message::Graph),
            (Message::Model, 20) => Some(Message::TrainingInfo),
            (Message::Model, 25) => Some(Message::Function),
            (Message::Graph, 1) | (Message::Function, 7) => Some(Message::Node),
            (Message::Node, 5) | (Message::Function, 11) => Some(Message::Attribute),
            (Message::Graph, 15) | (Message::Attribute, 22 | 23) => Some(Message::SparseTensor),
            (Message::Graph, 5) | (Message::Attribute, 5 | 10) | (Message::SparseTensor, 1 | 2) => {
                Some(Message::Tensor)
            }
            (Message::Tensor, 13) => Some(Message::ExternalData),
            _ => None,
        }
    }
}

/// Why bytes are no model.
#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Text(&'static str),
}
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Text("it ends too early"),
            _ => Fault::Io(error),
        }
    }
}
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Io(error) => write!(f, "{error}"),
            Fault::Text(text) => f.write_str(text),
        }
    }
}

struct Reader<R> {
    from: R,
    at: u64,
    end: u64,
    graphs: usize,
    found: Contents,
}

impl<R: Read + Seek> Reader<R> {
    fn new(from: R, end: u64) -> Self {
        Reader {
            from,
            at: 0,
            end,
            graphs: 0,
            found: Contents::default(),
        }
    }

    fn contents(mut self) -> Result<Contents, Fault> {
        self.message(Message::Model, self.end, 0)?;
        if self.graphs == 0 {
            return Err(Fault::Text("it holds no graph"));
        }
        Ok(self.found)
    }

    fn message(&mut self, message: Message, end: u64, depth: usize) -> Result<(), Fault> {
        if depth > DEEPEST {
            return Err(Fault::Text("its graphs are nested too deep"));
        }
        let (mut key, mut value) = (String::new(), String::new());
        while self.at < end {
            let tag = self.varint()?;
            let field = tag >> 3;
            if field == 0 {
                return Err(Fault::Text("its bytes are no protobuf"));
            }
            match tag & 7 {
                0 => drop(self.varint()?),
                1 => self.skip(8, end)?,
                5 => self.skip(4, end)?,
                2 => {
                    let length = self.varint()?;
                    if length > end.saturating_sub(self.at) {
                        return Err(Fault::Text("it ends too early"));
                    }
                    match (message, field) {
                        (Message::ExternalData, 1) => key = self.text(length)?,
                        (Message::ExternalData, 2) => value = self.text(length)?,
                        // The name of what the node computes: no name that matters is longer.
                        (Message::Node, 4) if length <= 32 => {
                            let mut name = [0; 32];
                            let name = &mut name[..length as usize];
                            self.from.read_exact(name)?;
                            self.at += length;
                            self.found.quantises |= *name == *b"QuantizeLinear" || *name == *b"DequantizeLinear";
                        }
                        _ => match message.of_field(field) {
                            Some(inner) => {
                                self.graphs += usize::from((message, inner) == (Message::Model, Message::Graph));
                                self.message(inner, self.at + length, depth + 1)?;
                            }
                            None => self.skip(length, end)?,
                        },
                    }
                }
                _ => return Err(Fault::Text("its bytes are no protobuf")),
            }
        }
        if self.at != end {
            return Err(Fault::Text("its bytes are no protobuf"));
        }
        // The last key and value of an entry count, as protobuf has it for repeated scalars. Whether the tensor
        // then says that its data is external does not matter: a path that leads out has no business there.
        if key == "location" && !self.found.locations.contains(&value) {
            self.found.locations.push(value);
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.from.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Text("its bytes are no protobuf"))
    }

    fn text(&mut self, length: u64) -> Result<String, Fault> {
        if length > LONGEST_NAME {
            return Err(Fault::Text("a path in it is longer than any path can be"));
        }
        let mut bytes = vec![0; length as usize];
        self.from.read_exact(&mut bytes)?;
        self.at += length;
        String::from_utf8(bytes).map_err(|_| Fault::Text("a path in it is no text"))
    }

    fn skip(&mut self, length: u64, end: u64) -> Result<(), Fault> {
        if length > end.saturating_sub(self.at) {
            return Err(Fault::Text("it ends too early"));
        }
        let offset = i64::try_from(length).map_err(|_| Fault::Text("it ends too early"))?;
        self.from.seek_relative(offset)?;
        self.at += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![(number << 3 | 2) as u8];
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(bytes);
        out
    }
    fn tensor(location: &str) -> Vec<u8> {
        field(13, &[field(1, b"location"), field(2, location.as_bytes())].concat())
    }
    fn in_initializer(tensor: Vec<u8>) -> Vec<u8> {
        [vec![0x08, 8], field(7, &field(5, &tensor))].concat()
    }
    fn in_constant_of_loop(tensor: Vec<u8>) -> Vec<u8> {
        let body = field(1, &field(5, &field(5, &tensor)));
        field(7, &field(1, &field(5, &field(6, &body))))
    }
    fn checked(bytes: &[u8]) -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.onnx"), bytes).unwrap();
        std::fs::write(folder.path().join("weights.bin"), "w").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link.bin")).unwrap();
        check(&folder.path().join("m.onnx"))
    }

    #[test]
    fn weights_stay_in_the_models_folder() {
        for place in [in_initializer, in_constant_of_loop] {
            checked(&place(tensor("weights.bin"))).unwrap();
            checked(&place(tensor("./weights.bin"))).unwrap();
            for escape in [
                "/etc/passwd",
                "../weights.bin",
                "a/../../x",
                "link.bin",
                "absent.bin",
                "",
            ] {
                let error = checked(&place(tensor(escape))).unwrap_err();
                assert!(error.cause.contains("keeps weights in"), "{escape}: {error}");
            }
        }
    }

    #[test]
    fn nodes_that_quantise_are_seen_wherever_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let quantised = |bytes: Vec<u8>| {
            std::fs::write(&path, bytes).unwrap();
            is_quantised(&path).unwrap()
        };
        let node = |kind: &[u8]| field(1, &field(4, kind));
        let in_loop = |node: &[u8]| field(7, &field(1, &field(5, &field(6, node))));
        assert!(quantised(field(7, &node(b"QuantizeLinear"))));
        assert!(quantised(field(
            7,
            &[node(b"Conv"), node(b"DequantizeLinear")].concat()
        )));
        assert!(quantised(in_loop(&node(b"QuantizeLinear"))));
        assert!(!quantised(field(7, &node(b"Conv"))));
        assert!(!quantised(field(7, &node(&[b'x'; 3000]))), "no name is so long");
        let named = [field(3, b"QuantizeLinear"), field(4, b"Conv")].concat();
        assert!(
            !quantised(field(7, &field(1, &named))),
            "what a node is called says nothing"
        );
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let model = in_initializer(tensor("weights.bin"));
        for length in 0..model.len() {
            assert!(checked(&model[..length]).is_err(), "cut to {length}");
        }
        assert!(checked(b"GIF89a").is_err());
        assert!(check(Path::new("/")).is_err());
        let mut deep = field(7, &[]);
        for _ in 0..DEEPEST {
            deep = field(7, &field(1, &field(5, &field(6, &deep))));
        }
        assert!(checked(&deep).is_ok(), "unknown fields of a graph are skipped");
        let mut nested = Vec::new();
        for _ in 0..DEEPEST {
            nested = field(1, &field(5, &field(6, &nested)));
        }
        assert!(checked(&field(7, &nested)).unwrap_err().cause.contains("too deep"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reader::new(io::Cursor::new(&bytes), bytes.len() as u64).contents();
        }
        #[test]
        fn a_damaged_model_is_read_without_harm(at in 0usize..40, byte in any::<u8>()) {
            let mut bytes = in_constant_of_loop(tensor("weights.bin"));
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Reader::new(io::Cursor::new(&bytes), bytes.len() as u64).contents();
        }
    }
}
