//! One way to lay out a graph's text, so that nobody has to talk about it.
//!
//! Set are: indents of four spaces, a line for each node, one empty line at most, the ends of lines and of the file.
//! Kept are: every comment, every `/-`, numbers and texts as they are written, blocks that stand on one line, lines
//! however long, and columns, that is two spaces or more between the words of a line. Each file is laid out by itself, those that
//! it includes are not.

mod print;
#[cfg(test)]
mod tests;
mod tokens;

use crate::diagnostic::{Diagnostic, Diagnostics, code};
use crate::document;
use crate::source::SourceFile;

/// The text of the source's own file, laid out.
///
/// # Errors
/// Where the text is not KDL; whether it is a graph is not asked.
pub fn format(source: &SourceFile) -> Result<String, Diagnostics> {
    let (own, _) = source.alone(0);
    document::well_formed(&own)?;
    let text = print::print(&tokens::tokens(own.text()));
    // The file is going to be overwritten: better say no than something else.
    if !document::same_meaning(own.text(), &text) {
        let message = format!("`{}` cannot be laid out without changing what it means", own.name());
        return Err(Diagnostic::error(code::SYNTAX, message)
            .help("this is a fault of flowrun; please report it with the file")
            .into());
    }
    Ok(text)
}
