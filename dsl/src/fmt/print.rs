//! Pieces of text laid out.

use super::tokens::{Kind, Token};
use crate::document::lexical::is_newline;

/// A block that is open.
#[derive(Clone, Copy)]
struct Block {
    /// Whether it stands on one line.
    flat: bool,
    /// Whether something stands in it already.
    begun: bool,
}

/// What was written last, as far as it decides on the space before what follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing that holds on to what follows.
    Loose,
    /// A name or value, to which `=` belongs.
    Word,
    /// `=`, `(`, `)` or `/-`, which belong to what follows.
    Holding,
}

struct Print<'t> {
    out: String,
    blocks: Vec<Block>,
    /// Whether the line being written is still empty.
    fresh: bool,
    /// Line ends since something was written.
    lines: usize,
    /// Whether a node has begun and not ended.
    in_node: bool,
    /// Whether what comes next, unless it is a comment, begins a line.
    breaking: bool,
    /// Whether a `/-` waits for what it comments out: line ends mean nothing until then.
    slashdash: bool,
    /// Whether the line ends with a comment that takes all that follows.
    commented: bool,
    before: Before,
    /// The `\` since something was written, each with its comment.
    continued: Vec<&'t str>,
    /// Whether the node goes on from the line above.
    hanging: bool,
}

/// The text of these pieces.
pub fn print(tokens: &[Token<'_>]) -> String {
    let flat = flat_blocks(tokens);
    let top = Block {
        flat: false,
        begun: false,
    };
    let mut print = Print {
        out: String::new(),
        blocks: vec![top],
        fresh: true,
        lines: 0,
        in_node: false,
        breaking: false,
        slashdash: false,
        commented: false,
        before: Before::Loose,
        continued: Vec::new(),
        hanging: false,
    };
    for (index, token) in tokens.iter().enumerate() {
        print.token(token, flat[index]);
    }
    print.end_of_line();
    print.out
}

/// For the `{` of each block whether the block stays on its line: no line ends in it.
fn flat_blocks(tokens: &[Token<'_>]) -> Vec<bool> {
    let mut flat = vec![false; tokens.len()];
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut lines = 0;
    for (index, token) in tokens.iter().enumerate() {
        let ends = matches!(token.kind, Kind::Newline | Kind::LineComment | Kind::Continue);
        match token.kind {
            Kind::Open => open.push((index, lines)),
            Kind::Close => {
                if let Some((start, before)) = open.pop() {
                    let empty = tokens[start + 1..index].iter().all(is_nothing);
                    flat[start] = before == lines || empty;
                }
            }
            _ if ends || token.text.contains(is_newline) => lines += 1,
            _ => {}
        }
    }
    flat
}

/// Whether a piece leaves a block empty.
fn is_nothing(token: &Token<'_>) -> bool {
    token.kind == Kind::Newline || (token.kind == Kind::Continue && token.text.is_empty())
}

impl<'t> Print<'t> {
    fn block(&mut self) -> &mut Block {
        self.blocks.last_mut().expect("the file itself is the first block")
    }

    fn token(&mut self, token: &Token<'t>, flat: bool) {
        match token.kind {
            Kind::Newline => self.newline(),
            Kind::Semicolon => self.semicolon(),
            Kind::Continue => self.continued.push(token.text),
            Kind::LineComment | Kind::BlockComment => self.comment(token),
            Kind::Open => self.open(token, flat),
            Kind::Close => self.close(),
            Kind::Word | Kind::Slashdash | Kind::TypeOpen | Kind::TypeClose | Kind::Equals => self.word(token),
        }
    }

    fn newline(&mut self) {
        self.lines += 1;
        if self.slashdash {
            if self.commented {
                self.end_of_line();
                self.hanging = true;
            }
            return;
        }
        self.leave_continued();
        if self.blocks.last().is_some_and(|block| block.flat) {
            return;
        }
        self.end_of_line();
        self.in_node = false;
    }

    /// Ends the line, if something stands on it.
    fn end_of_line(&mut self) {
        self.leave_continued();
        if !self.fresh {
            self.out.push('\n');
        }
        (self.fresh, self.commented, self.breaking, self.hanging) = (true, false, false, false);
        self.before = Before::Loose;
    }

    /// A `\` behind which the node does not go on is none; its comment stays.
    fn leave_continued(&mut self) {
        for comment in std::mem::take(&mut self.continued) {
            if comment.is_empty() {
                continue;
            }
            if self.commented {
                self.out.push('\n');
                self.fresh = true;
            }
            self.start(1, false);
            self.out.push_str(comment);
            self.commented = comment.contains("//");
        }
    }

    fn semicolon(&mut self) {
        self.leave_continued();
        self.in_node = false;
        if self.block().flat {
            self.out.push(';');
            self.before = Before::Loose;
        } else {
            self.breaking = true;
        }
    }

    fn comment(&mut self, token: &Token<'t>) {
        self.start(token.gap.max(1), false);
        self.out.push_str(token.text);
        self.commented = token.kind == Kind::LineComment;
        self.before = Before::Loose;
    }

    fn open(&mut self, token: &Token<'t>, flat: bool) {
        let gap = if self.before == Before::Holding { 0 } else { 1 };
        self.start(gap, true);
        self.out.push_str(token.text);
        self.slashdash = false;
        self.in_node = false;
        self.before = Before::Loose;
        self.breaking = !flat;
        self.blocks.push(Block { flat, begun: false });
        self.lines = 0;
    }

    fn close(&mut self) {
        let Block { flat, begun } = *self.block();
        if !flat {
            self.end_of_line();
        } else {
            self.leave_continued();
            if self.in_node {
                self.out.push(';');
            }
        }
        self.blocks.pop();
        self.lines = 0;
        self.breaking = false;
        if flat {
            if begun {
                self.out.push(' ');
            }
        } else {
            self.indent();
        }
        self.out.push('}');
        self.fresh = false;
        // The node that the block belongs to.
        self.in_node = true;
        self.before = Before::Loose;
    }

    fn word(&mut self, token: &Token<'t>) {
        let glued = match token.kind {
            Kind::Equals => self.before == Before::Word,
            Kind::TypeClose => true,
            _ => self.before == Before::Holding,
        };
        self.start(if glued { 0 } else { token.gap.max(1) }, true);
        self.out.push_str(token.text);
        self.in_node = true;
        self.slashdash = match token.kind {
            Kind::Slashdash => true,
            Kind::Word => false,
            _ => self.slashdash,
        };
        self.before = match token.kind {
            Kind::Word => Before::Word,
            _ => Before::Holding,
        };
    }

    /// Comes to where the next piece is written: behind what stands on the line, or at the start of a new one.
    fn start(&mut self, gap: usize, of_node: bool) {
        if of_node && self.breaking {
            self.end_of_line();
        }
        if self.in_node && !self.continued.is_empty() {
            self.go_on();
        } else {
            self.leave_continued();
            if self.commented {
                self.end_of_line();
            }
        }
        if self.fresh {
            let begun = std::mem::replace(&mut self.block().begun, true);
            if begun && self.lines > 1 && !self.hanging {
                self.out.push('\n');
            }
            self.indent();
        } else {
            let block = self.block();
            let first_of_flat = block.flat && !std::mem::replace(&mut block.begun, true);
            // Columns are those of words in a node, not of the node in its block, nor of what stood on another line.
            let gap = match (first_of_flat || (of_node && !self.in_node), self.lines) {
                (true, _) => 1,
                (false, 0) => gap,
                (false, _) => gap.min(1),
            };
            (0..gap).for_each(|_| self.out.push(' '));
        }
        (self.fresh, self.lines) = (false, 0);
    }

    /// Continues the node on the next line, as it was.
    fn go_on(&mut self) {
        let mut continued = std::mem::take(&mut self.continued);
        // One is enough, and each comment has to keep its own.
        let bare = continued.iter().all(|comment| comment.is_empty());
        continued.retain(|comment| !comment.is_empty());
        if bare {
            continued.push("");
        }
        for comment in continued {
            if self.fresh {
                self.indent();
            } else {
                self.out.push(' ');
            }
            self.out.push('\\');
            if !comment.is_empty() {
                self.out.push(' ');
                self.out.push_str(comment);
            }
            self.out.push('\n');
            (self.fresh, self.hanging, self.commented) = (true, true, false);
        }
        self.lines = 0;
    }

    fn indent(&mut self) {
        let depth = self.blocks.len() - 1 + usize::from(self.hanging);
        (0..depth).for_each(|_| self.out.push_str("    "));
    }
}
