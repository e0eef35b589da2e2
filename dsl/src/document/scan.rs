//! The pass over the text before the parser.
//!
//! The parser recovers from some faults by calling itself, so a hundred thousand stray brackets, or
//! stars in a comment, overflow its stack; each block commented out by `/-` inside another doubles its
//! time; and of several bad values it reports the first. This walk is a loop with an explicit stack:
//! it checks the structure, names every bad word, and hands on a text of equal length in which all
//! that is commented out is blank. What passes is parsed without recovery.

use super::lexical::{Place, check_word, end_of_quoted, end_of_raw, is_banned, is_newline, is_space, syntax};
use crate::diagnostic::{Diagnostic, Diagnostics, code};
use crate::source::{SourceFile, Span};

/// The language itself needs five.
const MAX_DEPTH: usize = 48;
/// After so many the rest are consequences.
const MAX_ERRORS: usize = 64;

/// What may come next in the node being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// A node, or the end of the block.
    Name,
    /// An argument, property, block or the end of the node.
    Entry,
    /// The value of a property or of a type annotation.
    Value,
    /// The end of the node: its block is closed.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Word,
    Text,
    Equals,
    Open,
    Close,
    ParenOpen,
    ParenClose,
    Slashdash,
    Terminator,
    EndOfFile,
}

struct Block {
    opened: Span,
    /// Where the `/-` that comments it out stands.
    commented: Option<usize>,
    /// The same of the node that it belongs to.
    node_commented: Option<usize>,
    /// Whether it stands behind the block that counts.
    after_block: bool,
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    clean: Vec<u8>,
    errors: Diagnostics,
}

/// Checks the structure; gives the text with blanks for what is commented out.
pub fn scan(source: &SourceFile) -> Result<String, Diagnostics> {
    let text = source.text();
    let mut scan = Scan {
        text,
        at: 0,
        clean: text.as_bytes().to_vec(),
        errors: Diagnostics::default(),
    };
    let content = text.strip_prefix('\u{feff}').map_or(0, |_| 3);
    if let Some((at, letter)) = text
        .char_indices()
        .skip_while(|(at, _)| *at < content)
        .find(|(_, letter)| is_banned(*letter))
    {
        let span = Span::new(at, at + letter.len_utf8());
        let message = format!("the character U+{:04X} cannot stand in a graph", u32::from(letter));
        return Err(syntax(span, message, "here").into());
    }
    scan.at = content;
    if let Err(fatal) = scan.walk() {
        scan.errors.push(fatal);
    }
    if scan.errors.is_empty() {
        return Ok(String::from_utf8(scan.clean).expect("blanks replace whole characters"));
    }
    Err(scan.errors.sorted())
}

impl Scan<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Skips spaces, block comments and escaped line ends; says whether there were any.
    fn skip_space(&mut self) -> Result<bool, Diagnostic> {
        let start = self.at;
        loop {
            match self.peek() {
                Some(letter) if is_space(letter) => self.at += letter.len_utf8(),
                Some('/') if self.rest().starts_with("/*") => self.skip_comment()?,
                Some('\\') if self.skip_escaped_line()? => {}
                _ => return Ok(self.at > start),
            }
        }
    }

    fn skip_comment(&mut self) -> Result<(), Diagnostic> {
        let (start, mut open) = (self.at, 0usize);
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() {
            match &bytes[self.at..] {
                [b'/', b'*', ..] => (open, self.at) = (open + 1, self.at + 2),
                [b'*', b'/', ..] => (open, self.at) = (open - 1, self.at + 2),
                _ => self.at += 1,
            }
            if open == 0 {
                self.clean[start..self.at].fill(b' ');
                return Ok(());
            }
        }
        Err(syntax(Span::new(start, start + 2), "a comment without its end", "opened here").help("close it with */"))
    }

    /// A backslash with nothing behind it but spaces and comments continues the node on the next line.
    fn skip_escaped_line(&mut self) -> Result<bool, Diagnostic> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(letter) if is_space(letter) => self.at += letter.len_utf8(),
                Some('/') if self.rest().starts_with("/*") => self.skip_comment()?,
                Some('/') if self.rest().starts_with("//") => self.skip_line(),
                Some(letter) if is_newline(letter) => {
                    self.at += if self.rest().starts_with("\r\n") {
                        2
                    } else {
                        letter.len_utf8()
                    };
                    return Ok(true);
                }
                None => return Ok(true),
                Some(_) => {
                    self.at = start;
                    return Ok(false);
                }
            }
        }
    }

    /// Blanks all from a `/-` to here.
    fn blank(&mut self, from: Option<usize>, to: usize) {
        if let Some(from) = from {
            self.clean[from..to].fill(b' ');
        }
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find(is_newline).unwrap_or(self.rest().len());
    }

    fn token(&mut self) -> Result<(Token, Span), Diagnostic> {
        if self.rest().starts_with("//") {
            self.skip_line();
        }
        let start = self.at;
        let Some(letter) = self.peek() else {
            return Ok((Token::EndOfFile, Span::new(start, start)));
        };
        let single = match letter {
            '=' => Some(Token::Equals),
            '{' => Some(Token::Open),
            '}' => Some(Token::Close),
            '(' => Some(Token::ParenOpen),
            ')' => Some(Token::ParenClose),
            ';' => Some(Token::Terminator),
            newline if is_newline(newline) => Some(Token::Terminator),
            _ => None,
        };
        let token = if let Some(token) = single {
            self.at += letter.len_utf8();
            token
        } else if self.rest().starts_with("/-") {
            self.at += 2;
            Token::Slashdash
        } else if letter == '"' {
            self.at = end_of_quoted(self.text, start)?;
            Token::Text
        } else if let Some(end) = end_of_raw(self.text, start) {
            self.at = end?;
            Token::Text
        } else {
            self.skip_word();
            Token::Word
        };
        Ok((token, Span::new(start, self.at)))
    }

    fn skip_word(&mut self) {
        let rest = self.rest();
        let ends = |at: usize, letter: char| {
            is_space(letter)
                || is_newline(letter)
                || matches!(letter, '=' | '{' | '}' | '(' | ')' | ';' | '"')
                || (letter == '/' && (rest[at..].starts_with("//") || rest[at..].starts_with("/*")))
        };
        let length = rest
            .char_indices()
            .find(|(at, letter)| *at > 0 && ends(*at, *letter))
            .map_or(rest.len(), |(at, _)| at);
        self.at += length;
    }

    /// `(name)`; the opening bracket is read.
    fn annotation(&mut self, open: Span) -> Result<(), Diagnostic> {
        self.skip_space()?;
        let (token, span) = self.token()?;
        match token {
            Token::Word => self.report(check_word(&self.text[span.start..span.end], span, Place::Name)),
            Token::Text => {}
            _ => {
                return Err(syntax(open, "brackets hold the name of a type", "opened here")
                    .help("text with brackets is quoted"));
            }
        }
        self.skip_space()?;
        match self.token()? {
            (Token::ParenClose, _) => Ok(()),
            (_, span) => Err(syntax(span, "`)` is missing", "expected here")
                .label(open, "opened here")
                .help("text with brackets is quoted")),
        }
    }

    fn report(&mut self, found: Option<Diagnostic>) {
        if let Some(found) = found {
            self.errors.push(found);
        }
    }

    /// The structure of nodes and blocks. Faults of single words are collected; a fault of structure ends the walk.
    fn walk(&mut self) -> Result<(), Diagnostic> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut expect = Expect::Name;
        // Whether the word before may be the name of a property, and whether the node has its block.
        let (mut may_equal, mut has_block) = (false, false);
        // The `/-` that waits for what it comments out; those of the node and of the entry being read.
        let (mut commenting, mut commented, mut entry_commented) = (None::<Span>, None::<usize>, None::<usize>);
        let mut after_annotation = false;
        loop {
            let spaced = self.skip_space()?;
            let (token, span) = self.token()?;
            let annotated = std::mem::take(&mut after_annotation);
            if annotated && !matches!(token, Token::Word | Token::Text) {
                return Err(syntax(
                    span,
                    "a type annotation stands before a name or value",
                    "expected here",
                ));
            }
            let glued = !spaced && !annotated && commenting.is_none();
            if token != Token::Equals && expect != Expect::Value {
                entry_commented = None;
            }
            if self.errors.len() >= MAX_ERRORS {
                return Ok(());
            }
            match (expect, token) {
                // A line end between `/-` and what it comments out means nothing.
                (Expect::Name | Expect::Entry | Expect::End, Token::Terminator) if commenting.is_some() => {
                    if self.text[span.start..].starts_with(';') {
                        return Err(syntax(span, "`/-` comments out nothing", "ends here"));
                    }
                }
                (_, Token::Close | Token::EndOfFile) if commenting.is_some() => {
                    return Err(syntax(
                        commenting.expect("checked by the guard"),
                        "`/-` comments out nothing",
                        "here",
                    ));
                }
                (Expect::Name, Token::Terminator) if self.text[span.start..].starts_with(';') => {
                    self.report(Some(syntax(span, "`;` ends no node", "nothing before this")));
                }
                (Expect::Name | Expect::Entry | Expect::End, Token::Terminator) => {
                    let semicolon = self.text[span.start..].starts_with(';');
                    self.blank(commented.take(), if semicolon { span.end } else { span.start });
                    (expect, may_equal, has_block) = (Expect::Name, false, false);
                }
                (Expect::Name | Expect::Entry | Expect::End, Token::Close) => {
                    let Some(block) = blocks.pop() else {
                        return Err(syntax(span, "`}` closes nothing", "no block is open"));
                    };
                    self.blank(commented, span.start);
                    self.blank(block.commented, span.end);
                    // After a commented-out block the node may still have a real one.
                    (expect, may_equal, commented, has_block) = (
                        Expect::End,
                        false,
                        block.node_commented,
                        block.after_block || block.commented.is_none(),
                    );
                }
                (Expect::Name | Expect::Entry | Expect::End, Token::EndOfFile) => {
                    return match blocks.last() {
                        Some(block) => Err(syntax(block.opened, "a block without its `}`", "opened here")),
                        None => {
                            self.blank(commented, span.start);
                            Ok(())
                        }
                    };
                }
                (Expect::Value, Token::Terminator | Token::Close | Token::EndOfFile | Token::Open) => {
                    return Err(syntax(span, "a value is missing", "expected here"));
                }
                (Expect::Name | Expect::Entry | Expect::End, Token::Slashdash) => {
                    if commenting.is_some() {
                        return Err(syntax(span, "commented out twice", "here"));
                    }
                    (commenting, may_equal) = (Some(span), false);
                }
                (Expect::Name, Token::Word | Token::Text) => {
                    if token == Token::Word {
                        self.report(check_word(&self.text[span.start..span.end], span, Place::Name));
                    }
                    (expect, may_equal, has_block) = (Expect::Entry, false, false);
                    commented = commenting.take().map(|span| span.start);
                }
                (Expect::Entry | Expect::Value, Token::Word | Token::Text) => {
                    if glued && expect == Expect::Entry {
                        return Err(syntax(span, "a space is missing", "before this")
                            .help("a value ends where a space, `=`, `;` or a block begins"));
                    }
                    if token == Token::Word && !(expect == Expect::Entry && self.is_property_name()) {
                        self.report(check_word(&self.text[span.start..span.end], span, Place::Value));
                    } else if token == Token::Word {
                        self.report(check_word(&self.text[span.start..span.end], span, Place::Name));
                    }
                    if let Some(slashdash) = commenting.take() {
                        entry_commented = Some(slashdash.start);
                    }
                    self.blank(entry_commented, span.end);
                    (may_equal, expect) = (expect == Expect::Entry, Expect::Entry);
                }
                (Expect::Entry, Token::Equals) if may_equal => (expect, may_equal) = (Expect::Value, false),
                (_, Token::Equals) => {
                    return Err(syntax(span, "`=` without a property's name before it", "here"));
                }
                (Expect::Name | Expect::Entry | Expect::Value, Token::ParenOpen) => {
                    if glued && expect == Expect::Entry {
                        return Err(
                            syntax(span, "a space is missing", "before this").help("text with brackets is quoted")
                        );
                    }
                    self.annotation(span)?;
                    after_annotation = true;
                    if expect == Expect::Entry {
                        (expect, may_equal) = (Expect::Value, false);
                    }
                }
                // A block that is commented out may follow the one that counts.
                (Expect::Entry | Expect::End, Token::Open)
                    if expect == Expect::Entry || !has_block || commenting.is_some() =>
                {
                    let commented_from = commenting.take().map(|span| span.start);
                    blocks.push(Block {
                        opened: span,
                        commented: commented_from,
                        node_commented: commented,
                        after_block: has_block,
                    });
                    if blocks.len() > MAX_DEPTH {
                        return Err(Diagnostic::error(
                            code::TOO_DEEP,
                            format!("blocks stand more than {MAX_DEPTH} deep in one another"),
                        )
                        .label(span, "one too deep"));
                    }
                    (expect, may_equal, commented, has_block) = (Expect::Name, false, None, false);
                }
                (Expect::Name, Token::Open) => {
                    return Err(syntax(span, "a block without a node before it", "opened here")
                        .help("the `{` stands on the line of its node, with no `;` between"));
                }
                (Expect::End, _) => {
                    return Err(
                        syntax(span, "nothing may follow a block on its line", "after the block").help(
                            "arguments and properties come before the block; a next node after `;` or on a new line",
                        ),
                    );
                }
                (_, Token::ParenClose) => {
                    return Err(syntax(span, "`)` closes nothing", "here").help("text with brackets is quoted"));
                }
                (Expect::Value, Token::Slashdash) => return Err(syntax(span, "a value is missing", "expected here")),
                (_, Token::Open) => return Err(syntax(span, "a block cannot stand here", "here")),
            }
        }
    }

    /// Whether `=` follows.
    fn is_property_name(&self) -> bool {
        self.rest().trim_start_matches(is_space).starts_with('=')
    }
}
