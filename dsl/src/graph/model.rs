//! `model NAME "path.onnx" ...`

use super::given::{Given, Other};
use super::{Graph, Reader};
use crate::diagnostic::{Diagnostic, code};
use crate::document::Node;
use crate::source::Named;

/// A `model` block.
#[derive(Debug)]
pub struct Model {
    /// Its name.
    pub name: Named,
    /// The file.
    pub path: Named,
    /// Its parameters.
    pub given: Given,
}

impl<'a> Reader<'a> {
    /// Reads a `model` block.
    pub fn read_model(&mut self, node: &Node, graph: &mut Graph<'a>) {
        let catalogue = self.catalogue;
        let name = self.declared_name(node, "a model");
        let given = self.given(
            node,
            &[catalogue.model_params()],
            Other {
                args: 2,
                ..Other::default()
            },
        );
        let path = match node.args.get(1) {
            Some(entry) => match entry.text() {
                Some(text) => Some(Named::new(text.to_owned(), entry.span)),
                None => {
                    let message = format!("a model's path is text, not {}", entry.value.describe());
                    self.report(Diagnostic::error(code::WRONG_TYPE, message).label(entry.span, "should be a path"));
                    None
                }
            },
            None if name.is_some() => {
                self.report(
                    Diagnostic::error(code::MISSING_PARAMETER, "a model needs its file")
                        .label(node.span, "without a path")
                        .help("write `model NAME \"path.onnx\"`"),
                );
                None
            }
            None => None,
        };
        if let Some(name) = name {
            let path = path.unwrap_or_else(|| Named::new(String::new(), node.span));
            graph.models.push(Model { name, path, given });
        }
    }
}
