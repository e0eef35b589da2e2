//! KDL text as a small tree of our own, with a span on everything.
//!
//! The only place that knows the `kdl` crate. [`scan`] goes over the text first: it finds every fault
//! of structure at once, with hints for the mistakes that people make, and keeps from the parser
//! what would overflow its stack or take it exponential time.

mod convert;
mod include;
pub(crate) mod lexical;
mod same;
mod scan;

use crate::diagnostic::Diagnostics;
use crate::source::{Named, SourceFile, Span};

/// What a graph's text may hold as a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Text, quoted or bare.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// `#true` or `#false`.
    Bool(bool),
    /// `#null`.
    Null,
}

impl Literal {
    /// How messages call it.
    pub fn describe(&self) -> &'static str {
        match self {
            Literal::Text(_) => "text",
            Literal::Int(_) => "a whole number",
            Literal::Float(_) => "a number",
            Literal::Bool(_) => "a flag",
            Literal::Null => "#null",
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Literal,
    /// Where, quotes included.
    pub span: Span,
    /// Whether it is text without quotes.
    pub bare: bool,
}

impl Entry {
    /// The text, if it is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Literal::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A property.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: Named,
    /// Its value.
    pub entry: Entry,
}

/// A node with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: Named,
    /// Arguments in order.
    pub args: Vec<Entry>,
    /// Properties in order; no name occurs twice.
    pub props: Vec<Property>,
    /// Child nodes in order.
    pub children: Vec<Node>,
    /// From the name to the end of the last argument or property.
    pub span: Span,
}

impl Node {
    /// The same node, its places so many bytes further on.
    fn shifted(mut self, by: usize) -> Node {
        let shift = |span: &mut Span| *span = span.shifted(by);
        shift(&mut self.name.span);
        shift(&mut self.span);
        self.args.iter_mut().for_each(|entry| shift(&mut entry.span));
        for property in &mut self.props {
            shift(&mut property.name.span);
            shift(&mut property.entry.span);
        }
        self.children = self.children.into_iter().map(|child| child.shifted(by)).collect();
        self
    }

    /// The property of this name.
    pub fn prop(&self, name: &str) -> Option<&Property> {
        self.props.iter().find(|property| property.name.value == name)
    }
}

pub use include::include;
pub(crate) use same::{same_meaning, well_formed};

/// Reads a graph's text, with the nodes of the files that it includes in the places of `include`.
///
/// # Errors
/// All faults of the texts at once.
pub fn parse(source: &SourceFile) -> Result<Vec<Node>, Diagnostics> {
    let mut errors = Diagnostics::default();
    let nodes = include::nodes(source, 0, &mut errors);
    if errors.is_empty() {
        Ok(nodes)
    } else {
        Err(errors.sorted())
    }
}

/// Reads one file by itself.
fn parse_alone(source: &SourceFile) -> Result<Vec<Node>, Diagnostics> {
    let clean = scan::scan(source)?;
    convert::convert(source, &clean)
}
