//! What parameters an operator has: their types, ranges, defaults, and how each may change.
//!
//! `#[derive(Params)]` writes the schema from a struct; the language checks a graph against the
//! schema and hands the operator [`ParamValues`] that are complete and in range, so an operator
//! never sees a value that its own declaration forbids.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::value::{self, Value};

pub use flowrun_derive::{Choice, Params};

/// A struct of parameters. Implemented by `#[derive(Params)]`.
pub trait Params: Sized + Clone + Send + Sync + 'static {
    /// The declaration.
    fn schema() -> ParamsSchema;
    /// Builds the struct from checked values.
    ///
    /// # Errors
    /// Names the parameter that is missing or of another type, which only happens for values that
    /// were not checked against [`Params::schema`].
    fn from_values(values: &ParamValues) -> Result<Self, ParamError>;
}

impl Params for () {
    fn schema() -> ParamsSchema {
        ParamsSchema::default()
    }
    fn from_values(_: &ParamValues) -> Result<Self, ParamError> {
        Ok(())
    }
}

/// Checked values by parameter name; optional ones that were not given are absent.
pub type ParamValues = BTreeMap<String, Value>;

/// A value that does not fit its parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    /// The parameter's name.
    pub param: String,
    /// What is wrong.
    pub cause: String,
}

impl std::fmt::Display for ParamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "parameter `{}`: {}", self.param, self.cause)
    }
}
impl std::error::Error for ParamError {}

/// All parameters of one operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ParamsSchema {
    /// The doc comment of the struct: what the operator does.
    pub doc: String,
    /// In the order of declaration; positional ones take the node's arguments in this order.
    pub params: Vec<ParamSpec>,
}

impl ParamsSchema {
    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&ParamSpec> {
        self.params.iter().find(|param| param.name == name)
    }
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParamSpec {
    /// As written in a graph: kebab case.
    pub name: String,
    /// The doc comment of the field.
    pub doc: String,
    /// The type.
    #[serde(rename = "type")]
    pub ty: ParamType,
    /// What happens when a running graph's value is edited.
    pub change: Change,
    /// What holds when nothing is given; a parameter that is neither optional nor has a default is required.
    pub default: Option<Value>,
    /// Whether it may be absent altogether.
    pub optional: bool,
    /// Whether it takes the node's arguments rather than a property.
    pub positional: bool,
    /// The smallest number allowed; of durations in seconds, of rates and sizes in bits a second and bytes.
    pub min: Option<f64>,
    /// The largest number allowed, measured likewise.
    pub max: Option<f64>,
}

/// How a parameter reacts to an edit of a running graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// In place, from the next frame on.
    Live,
    /// The node is rebuilt and its state handed over.
    Kept,
    /// The node starts from nothing.
    Reset,
}

/// What a parameter holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParamType {
    /// `#true` or `#false`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Any text.
    Text,
    /// One of these words.
    Choice(Vec<String>),
    /// `"800ms"`.
    Duration,
    /// `"4M"`.
    Bitrate,
    /// `"64MiB"`.
    Bytes,
    /// A file or folder, relative to the graph file.
    Path,
    /// Text with `{field}` places.
    Template,
    /// `"rtsp://10.0.0.11/main"`, without user name and password.
    Url,
    /// `env.NAME`.
    Secret,
    /// The name of something declared elsewhere in the graph.
    Ref(RefKind),
    /// Several, written as arguments of a child node or as one comma-separated text.
    List(Box<ParamType>),
}

/// What a name may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefKind {
    /// A polygon of a `zones` block.
    Zone,
    /// A directed line of a `zones` block.
    Line,
    /// Either: anything of a `zones` block.
    Shape,
    /// A `model`.
    Model,
    /// A camera.
    Camera,
}

/// What a [`Ref`] may point at.
pub trait Referent: Send + Sync + 'static {
    /// The kind of name.
    const KIND: RefKind;
}

macro_rules! referents {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {}
        impl Referent for $name { const KIND: RefKind = RefKind::$name; }
    )* };
}
referents! {
    /// Marks a reference to a polygon.
    Zone
    /// Marks a reference to a directed line.
    Line
    /// Marks a reference to a polygon or a directed line.
    Shape
    /// Marks a reference to a model.
    Model
    /// Marks a reference to a camera.
    Camera
}

/// The checked name of something declared elsewhere in the graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ref<T> {
    name: String,
    of: PhantomData<fn() -> T>,
}

impl<T> Ref<T> {
    /// A reference by name; for tests and for graphs built in code.
    pub fn new(name: impl Into<String>) -> Self {
        Ref {
            name: name.into(),
            of: PhantomData,
        }
    }
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Text with `{field}` places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub String);

/// A URL without user name and password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url(pub String);

/// The name of the environment variable that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(pub String);

/// Bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(pub u64);

/// A count of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A field type of a parameter struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter",
    note = "use a number, text, Duration, Bitrate, Bytes, PathBuf, Ref<..>, Vec or Option of one of these, or derive Choice for an enum"
)]
pub trait ParamValue: Sized {
    /// How the language reads it.
    fn param_type() -> ParamType;
    /// Whether it may be absent.
    const OPTIONAL: bool = false;
    /// Takes it from a checked value; none when it was not given.
    ///
    /// # Errors
    /// What the value should have been.
    fn from_value(value: Option<&Value>) -> Result<Self, String>;
}

/// Reads a default as the graph's author would write it.
///
/// # Errors
/// What the text should have been.
pub fn parse_text(ty: &ParamType, text: &str) -> Result<Value, String> {
    let number = |what: &str| format!("`{text}` is no {what}");
    Ok(match ty {
        ParamType::Bool => match text {
            "true" | "#true" => Value::Bool(true),
            "false" | "#false" => Value::Bool(false),
            _ => return Err(format!("`{text}` is neither #true nor #false")),
        },
        ParamType::Int => Value::Int(text.parse().map_err(|_| number("whole number"))?),
        ParamType::Float => Value::Float(text.parse().map_err(|_| number("number"))?),
        ParamType::Text | ParamType::Path | ParamType::Template | ParamType::Ref(_) => Value::Text(text.into()),
        ParamType::Url => match user_info(text) {
            None if text.contains("://") => Value::Text(text.into()),
            None => return Err("a URL is written as in \"rtsp://10.0.0.11/main\"".into()),
            Some(_) => return Err("a URL must hold no user name and no password".into()),
        },
        ParamType::Choice(choices) if choices.iter().any(|choice| choice == text) => Value::Text(text.into()),
        ParamType::Choice(choices) => return Err(format!("`{text}` is none of {}", choices.join(", "))),
        ParamType::Duration => Value::Duration(value::parse_duration(text)?),
        ParamType::Bitrate => Value::Bitrate(value::parse_bitrate(text)?),
        ParamType::Bytes => Value::Bytes(value::parse_bytes(text)?),
        ParamType::Secret => match text.strip_prefix("env.") {
            Some(name) if !name.is_empty() => Value::Secret(name.into()),
            _ => return Err("a secret is written env.NAME, the name of an environment variable".into()),
        },
        ParamType::List(_) if text.trim().is_empty() => Value::List(Vec::new()),
        ParamType::List(item) => {
            let parts = text.split(',').map(str::trim);
            let values = parts.map(|part| match part {
                "" => Err(format!("`{text}` has nothing between two commas")),
                part => parse_text(item, part),
            });
            Value::List(values.collect::<Result<_, _>>()?)
        }
    })
}

/// The bytes of a URL in which its user name and password stand (RFC 3986, section 3.2.1).
pub fn user_info(url: &str) -> Option<std::ops::Range<usize>> {
    let start = url.find("://")? + 3;
    let rest = &url[start..];
    let authority = rest.find(['/', '?', '#', '\\']).map_or(rest, |end| &rest[..end]);
    // A password may hold what should have been escaped in it: what then seems to be the port is no number.
    let no_port = || {
        let (_, port) = authority.rsplit_once(':').filter(|_| !authority.starts_with('['))?;
        (!port.chars().all(|digit| digit.is_ascii_digit())).then(|| rest.rfind('@'))?
    };
    let end = authority.rfind('@').or_else(no_port)?;
    Some(start..start + end)
}

fn given(value: Option<&Value>) -> Result<&Value, String> {
    value.ok_or_else(|| "is required".to_owned())
}

fn unfit(value: &Value, wanted: &str) -> String {
    format!("`{value}` is no {wanted}")
}

macro_rules! whole_numbers {
    ($($ty:ty)*) => { $(
        impl ParamValue for $ty {
            fn param_type() -> ParamType { ParamType::Int }
            fn from_value(value: Option<&Value>) -> Result<Self, String> {
                match given(value)? {
                    Value::Int(number) => <$ty>::try_from(*number).map_err(|_| format!("{number} is out of range")),
                    other => Err(unfit(other, "whole number")),
                }
            }
        }
    )* };
}
whole_numbers!(i32 i64 u16 u32 u64 usize);

macro_rules! plain {
    ($($ty:ty, $param:expr, $pattern:pat => $result:expr, $wanted:literal;)*) => { $(
        impl ParamValue for $ty {
            fn param_type() -> ParamType { $param }
            fn from_value(value: Option<&Value>) -> Result<Self, String> {
                match given(value)? { $pattern => Ok($result), other => Err(unfit(other, $wanted)) }
            }
        }
    )* };
}
plain! {
    bool, ParamType::Bool, Value::Bool(flag) => *flag, "flag";
    String, ParamType::Text, Value::Text(text) => text.clone(), "text";
    PathBuf, ParamType::Path, Value::Text(text) => PathBuf::from(text), "path";
    Template, ParamType::Template, Value::Text(text) => Template(text.clone()), "template";
    Url, ParamType::Url, Value::Text(text) => Url(text.clone()), "URL";
    Duration, ParamType::Duration, Value::Duration(span) => *span, "duration";
    Bitrate, ParamType::Bitrate, Value::Bitrate(rate) => Bitrate(*rate), "bitrate";
    Bytes, ParamType::Bytes, Value::Bytes(count) => Bytes(*count), "size";
    Secret, ParamType::Secret, Value::Secret(name) => Secret(name.clone()), "secret";
}

macro_rules! numbers {
    ($($ty:ty)*) => { $(
        impl ParamValue for $ty {
            fn param_type() -> ParamType { ParamType::Float }
            fn from_value(value: Option<&Value>) -> Result<Self, String> {
                match given(value)? {
                    Value::Float(number) => Ok(*number as $ty),
                    Value::Int(number) => Ok(*number as $ty),
                    other => Err(unfit(other, "number")),
                }
            }
        }
    )* };
}
numbers!(f32 f64);

impl<T: Referent> ParamValue for Ref<T> {
    fn param_type() -> ParamType {
        ParamType::Ref(T::KIND)
    }
    fn from_value(value: Option<&Value>) -> Result<Self, String> {
        match given(value)? {
            Value::Text(name) => Ok(Ref::new(name.clone())),
            other => Err(unfit(other, "name")),
        }
    }
}

impl<T: ParamValue> ParamValue for Vec<T> {
    fn param_type() -> ParamType {
        ParamType::List(Box::new(T::param_type()))
    }
    fn from_value(value: Option<&Value>) -> Result<Self, String> {
        match given(value)? {
            Value::List(values) => values.iter().map(|value| T::from_value(Some(value))).collect(),
            single => Ok(vec![T::from_value(Some(single))?]),
        }
    }
}

impl<T: ParamValue> ParamValue for Option<T> {
    fn param_type() -> ParamType {
        T::param_type()
    }
    const OPTIONAL: bool = true;
    fn from_value(value: Option<&Value>) -> Result<Self, String> {
        value.map(|value| T::from_value(Some(value))).transpose()
    }
}
