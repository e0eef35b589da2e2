//! Whether two texts mean the same, and whether a text is KDL at all.

use kdl::{KdlDocument, KdlNode, KdlValue};

use super::convert::refused;
use super::scan::scan;
use crate::diagnostic::Diagnostics;
use crate::source::SourceFile;

/// Whether a file by itself is KDL; what the language has no use for may stand in it.
pub fn well_formed(source: &SourceFile) -> Result<(), Diagnostics> {
    tree(source).map(|_| ())
}

fn tree(source: &SourceFile) -> Result<KdlDocument, Diagnostics> {
    let clean = scan(source)?;
    KdlDocument::parse_v2(&clean).map_err(|error| refused(source, &error))
}

/// Whether both texts have the same nodes with the same names, values and children; what is commented out has none.
pub fn same_meaning(one: &str, other: &str) -> bool {
    let tree = |text: &str| tree(&SourceFile::new("", text).ok()?).ok();
    match (tree(one), tree(other)) {
        (Some(one), Some(other)) => same_documents(Some(&one), Some(&other)),
        _ => false,
    }
}

fn same_documents(one: Option<&KdlDocument>, other: Option<&KdlDocument>) -> bool {
    let (one, other) = (nodes(one), nodes(other));
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_nodes(one, other))
}

fn nodes(document: Option<&KdlDocument>) -> &[KdlNode] {
    document.map_or(&[], |document| document.nodes())
}

fn same_nodes(one: &KdlNode, other: &KdlNode) -> bool {
    let name = |node: &KdlNode| {
        (
            node.name().value().to_owned(),
            node.ty().map(|ty| ty.value().to_owned()),
        )
    };
    let entries = |node: &KdlNode| {
        let entries = node.entries().iter();
        entries
            .map(|entry| {
                let name = entry.name().map(|name| name.value().to_owned());
                (name, entry.ty().map(|ty| ty.value().to_owned()), letters(entry.value()))
            })
            .collect::<Vec<_>>()
    };
    name(one) == name(other) && entries(one) == entries(other) && same_documents(one.children(), other.children())
}

/// A value with its type, so that no two numbers that differ are the same, and what is no number is itself.
fn letters(value: &KdlValue) -> String {
    format!("{value:?}")
}
