//! The parser's tree as our own.

use std::collections::HashMap;

use kdl::{KdlDocument, KdlEntry, KdlError, KdlNode, KdlValue};

use super::{Entry, Literal, Node, Property};
use crate::diagnostic::{Diagnostic, Diagnostics, code};
use crate::source::{Named, SourceFile, Span};

/// Parses a text that [`super::scan`] let pass. `clean` has the bytes of the source, block comments blanked.
pub fn convert(source: &SourceFile, clean: &str) -> Result<Vec<Node>, Diagnostics> {
    let document = KdlDocument::parse_v2(clean).map_err(|error| refused(source, &error))?;
    let mut convert = Convert {
        source,
        errors: Diagnostics::default(),
    };
    let nodes = convert.nodes(&document);
    if convert.errors.is_empty() {
        Ok(nodes)
    } else {
        Err(convert.errors.sorted())
    }
}

/// What the parser itself says.
pub fn refused(source: &SourceFile, error: &KdlError) -> Diagnostics {
    let mut all = Diagnostics::default();
    let length = source.text().len();
    for found in error.diagnostics.iter().take(16) {
        let start = found.span.offset().min(length);
        let span = Span::new(start, (start + found.span.len()).min(length));
        // What the scan leaves to the parser is the inside of text over several lines.
        if source.slice(span).trim_start_matches('#').starts_with("\"\"\"") {
            let message = "the lines of this text are not indented like its closing quotes";
            all.push(Diagnostic::error(code::SYNTAX, message).label(Span::new(start, start + 3), "opened here"));
            continue;
        }
        let message = found.message.clone().unwrap_or_else(|| "this is not KDL".into());
        let label = found.label.clone().unwrap_or_default();
        all.push(
            Diagnostic::error(code::SYNTAX, message)
                .label(span, label)
                .maybe_help(found.help.clone()),
        );
    }
    if all.is_empty() {
        all.push(Diagnostic::error(code::SYNTAX, "this is not KDL").label(Span::default(), ""));
    }
    all.sorted()
}

struct Convert<'a> {
    source: &'a SourceFile,
    errors: Diagnostics,
}

impl Convert<'_> {
    fn nodes(&mut self, document: &KdlDocument) -> Vec<Node> {
        document.nodes().iter().map(|node| self.node(node)).collect()
    }

    fn node(&mut self, node: &KdlNode) -> Node {
        let name = named(node.name());
        if node.ty().is_some() {
            self.annotated(name.span);
        }
        let mut converted = Node {
            span: name.span,
            name,
            args: Vec::new(),
            props: Vec::new(),
            children: Vec::new(),
        };
        let mut seen = HashMap::new();
        for entry in node.entries() {
            let Some(value) = self.entry(entry) else { continue };
            converted.span = converted.span.to(value.span);
            match entry.name().map(named) {
                None => converted.args.push(value),
                Some(name) => self.property(&mut converted, Property { name, entry: value }, &mut seen),
            }
        }
        if let Some(children) = node.children() {
            converted.children = self.nodes(children);
        }
        converted
    }

    fn property(&mut self, node: &mut Node, property: Property, seen: &mut HashMap<String, Span>) {
        let Property { name, .. } = &property;
        match seen.get(&name.value) {
            Some(first) => self.errors.push(
                Diagnostic::error(code::DUPLICATE_PROPERTY, format!("`{}` is given twice", name.value))
                    .label(name.span, "again")
                    .label(*first, "first"),
            ),
            None => {
                seen.insert(name.value.clone(), name.span);
                node.props.push(property);
            }
        }
    }

    fn entry(&mut self, entry: &KdlEntry) -> Option<Entry> {
        let whole = entry.span();
        let end = whole.offset() + whole.len();
        let written = entry.format().map_or(whole.len(), |format| format.value_repr.len());
        let span = Span::new(end.saturating_sub(written), end);
        if entry.ty().is_some() {
            self.annotated(span);
        }
        let value = match entry.value() {
            KdlValue::String(text) => Literal::Text(text.clone()),
            KdlValue::Integer(number) => match i64::try_from(*number) {
                Ok(number) => Literal::Int(number),
                Err(_) => {
                    let message = format!("{number} is beyond the range of whole numbers");
                    self.errors
                        .push(Diagnostic::error(code::OUT_OF_RANGE, message).label(span, "64 bits at most"));
                    return None;
                }
            },
            KdlValue::Float(number) => Literal::Float(*number),
            KdlValue::Bool(flag) => Literal::Bool(*flag),
            KdlValue::Null => Literal::Null,
        };
        let bare = matches!(value, Literal::Text(_)) && !self.source.slice(span).starts_with(['"', '#']);
        Some(Entry { value, span, bare })
    }

    fn annotated(&mut self, span: Span) {
        self.errors.push(
            Diagnostic::error(code::TYPE_ANNOTATION, "a type annotation means nothing here")
                .label(span, "annotated")
                .help("leave out the brackets before it; quantities carry their unit in quotes, as in \"5s\""),
        );
    }
}

fn named(name: &kdl::KdlIdentifier) -> Named {
    let span = name.span();
    Named::new(
        name.value().to_owned(),
        Span::new(span.offset(), span.offset() + span.len()),
    )
}
