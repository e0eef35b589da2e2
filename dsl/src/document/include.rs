//! `include "cameras.kdl"`: the nodes of another file in the place of one.
//!
//! A list of cameras is often made by something else than the graph. Files are read before anything is checked; what may
//! be read is what lies in the graph's own folder.

use std::path::{Component, Path, PathBuf};

use super::{Node, parse_alone};
use crate::diagnostic::{Diagnostic, Diagnostics, code};
use crate::source::{MAX_BYTES, SourceFile, Span};
use crate::system::System;

/// Files inside one another, the graph's own not counted.
const DEEPEST: usize = 8;
/// Files that one graph may include.
const FILES_AT_MOST: usize = 256;

/// Reads the files that a graph includes. Paths are relative to the file that names them; `root` is the graph's folder.
///
/// # Errors
/// All that cannot be included, with the text that it is to be pointed out in.
pub fn include(
    source: SourceFile,
    root: &Path,
    system: &dyn System,
) -> Result<SourceFile, Box<(SourceFile, Diagnostics)>> {
    let mut reading = Reading {
        source,
        root,
        system,
        found: Diagnostics::default(),
        files: 0,
    };
    // The graph's own file has the name by which it was asked for; those it includes are shown beside it.
    let own = Path::new(reading.source.name())
        .file_name()
        .map(PathBuf::from)
        .unwrap_or_default();
    reading.part(0, &mut vec![own]);
    if reading.found.is_empty() {
        Ok(reading.source)
    } else {
        Err(Box::new((reading.source, reading.found.sorted())))
    }
}

/// The nodes of a part, with those of the files it includes in their places.
pub(super) fn nodes(source: &SourceFile, part: usize, errors: &mut Diagnostics) -> Vec<Node> {
    let (alone, start) = source.alone(part);
    let parsed = match parse_alone(&alone) {
        Ok(parsed) => parsed,
        Err(found) => {
            found.into_iter().for_each(|found| errors.push(found.shifted(start)));
            return Vec::new();
        }
    };
    let mut nodes = Vec::with_capacity(parsed.len());
    for node in parsed {
        let node = node.shifted(start);
        match source.included(node.span) {
            Some(part) => nodes.extend(self::nodes(source, part, errors)),
            None => nodes.push(node),
        }
    }
    nodes
}

struct Reading<'a> {
    source: SourceFile,
    root: &'a Path,
    system: &'a dyn System,
    found: Diagnostics,
    files: usize,
}

impl Reading<'_> {
    /// Reads what a part includes; `inside` are the paths of the files it stands in, itself last.
    fn part(&mut self, part: usize, inside: &mut Vec<PathBuf>) {
        let (alone, start) = self.source.alone(part);
        // What is wrong with the text itself is said when it is compiled.
        let Ok(nodes) = parse_alone(&alone) else { return };
        for node in nodes.into_iter().filter(|node| node.name.value == "include") {
            let node = node.shifted(start);
            if let Err(refused) = self.node(&node, inside) {
                self.found.push(refused);
            }
        }
    }

    fn node(&mut self, node: &Node, inside: &mut Vec<PathBuf>) -> Result<(), Diagnostic> {
        let refuse =
            |span: Span, message: String| Diagnostic::error(code::INCLUDE, message).label(span, "cannot be included");
        let usage = "write `include \"cameras.kdl\"`: one file in the graph's folder or below it";
        let ([entry], [], []) = (node.args.as_slice(), node.props.as_slice(), node.children.as_slice()) else {
            return Err(refuse(node.span, "`include` takes one path and nothing else".into()).help(usage));
        };
        let Some(written) = entry.text().filter(|text| !text.is_empty()) else {
            return Err(refuse(
                entry.span,
                format!("`include` takes a path, not {}", entry.value.describe()),
            )
            .help(usage));
        };
        let including = inside.last().and_then(|file| file.parent()).unwrap_or(Path::new(""));
        let path = below(including, Path::new(written))
            .ok_or_else(|| refuse(entry.span, format!("`{written}` lies outside of the graph's folder")).help(usage))?;
        if inside.contains(&path) {
            return Err(refuse(entry.span, format!("`{written}` includes itself")));
        }
        if inside.len() > DEEPEST {
            return Err(refuse(
                entry.span,
                format!("files include each other more than {DEEPEST} deep"),
            ));
        }
        if self.files >= FILES_AT_MOST {
            return Err(refuse(
                entry.span,
                format!("a graph includes at most {FILES_AT_MOST} files"),
            ));
        }
        self.files += 1;
        // One byte more than may be is enough to be refused.
        let bytes = self
            .system
            .read(&self.root.join(&path), MAX_BYTES + 1)
            .map_err(|error| {
                Diagnostic::error(code::MISSING_FILE, format!("`{written}` cannot be read: {error}"))
                    .label(entry.span, "not found")
                    .help("paths are relative to the file that includes")
            })?;
        let name = Path::new(self.source.name())
            .with_file_name(&path)
            .display()
            .to_string();
        let part = self
            .source
            .include(node.span, name, bytes)
            .map_err(|refused| refused.label(entry.span, "included here"))?;
        inside.push(path);
        self.part(part, inside);
        inside.pop();
        Ok(())
    }
}

/// A path from a folder below the graph's, as one from the graph's; none where it leads out of that.
fn below(folder: &Path, path: &Path) -> Option<PathBuf> {
    let mut whole = folder.to_path_buf();
    for component in path.components() {
        match component {
            Component::Normal(name) => whole.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !whole.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!whole.as_os_str().is_empty()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_graphs_folder() {
        let at = |folder: &str, path: &str| below(Path::new(folder), Path::new(path));
        assert_eq!(at("", "cameras.kdl"), Some("cameras.kdl".into()));
        assert_eq!(at("sites/a", "../b/./c.kdl"), Some("sites/b/c.kdl".into()));
        for outside in ["/etc/passwd", "../a.kdl", "a/../../b.kdl", ".", ""] {
            assert_eq!(at("", outside), None, "{outside}");
        }
    }
}
