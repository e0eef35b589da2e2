//! Faults of the text itself: what the language is not written in.

use insta::assert_snapshot;

use crate::findings;

#[test]
fn bare_quantities_and_kdl_1() {
    assert_snapshot!(findings(r#"cameras a {
    synthetic b fps=5s seed=true
    synthetic c scene=0.1,0.2 x 720p 4M
}"#), @r#"
    error[flowrun::unquoted]: `5s` is neither a number nor a bare word
       2 |     synthetic b fps=5s seed=true
         |                     ^^ begins like a number
         = quantities are quoted: "5s"
    error[flowrun::kdl-1]: bare `true` is KDL 1
       2 |     synthetic b fps=5s seed=true
         |                             ^^^^ a keyword of KDL 1
         = in KDL 2 it is written `#true`, and the word itself "true"
    error[flowrun::unquoted]: `0.1,0.2` is neither a number nor a bare word
       3 |     synthetic c scene=0.1,0.2 x 720p 4M
         |                       ^^^^^^^ begins like a number
         = quantities are quoted: "0.1,0.2"
    error[flowrun::unquoted]: `720p` is neither a number nor a bare word
       3 |     synthetic c scene=0.1,0.2 x 720p 4M
         |                                 ^^^^ begins like a number
         = quantities are quoted: "720p"
    error[flowrun::unquoted]: `4M` is neither a number nor a bare word
       3 |     synthetic c scene=0.1,0.2 x 720p 4M
         |                                      ^^ begins like a number
         = quantities are quoted: "4M"
    "#);
}

#[test]
fn bare_words_with_letters_that_need_quotes() {
    assert_snapshot!(findings(r#"write { jsonl out/a.jsonl from=a#b; }"#), @r#"
    error[flowrun::unquoted]: a bare word has no `/`
       1 | write { jsonl out/a.jsonl from=a#b; }
         |               ^^^^^^^^^^^
         = quote it: "out/a.jsonl"
    error[flowrun::unquoted]: a bare word has no `#`
       1 | write { jsonl out/a.jsonl from=a#b; }
         |                                ^^^
         = quote it: "a#b"
    "#);
}

#[test]
fn text_without_end() {
    assert_snapshot!(findings(r#"model a "b.onnx
model c "d.onnx""#), @r#"
    error[flowrun::syntax]: text without its closing quote
       1 | model a "b.onnx
         |         ^ opened here
         = text over several lines stands between """ and """
    "#);
}

#[test]
fn block_without_end() {
    assert_snapshot!(findings(r#"cameras a {
    synthetic b {
}
"#), @r"
    error[flowrun::syntax]: a block without its `}`
       1 | cameras a {
         |           ^ opened here
    ");
}

#[test]
fn block_closed_twice() {
    assert_snapshot!(findings(r#"cameras a { synthetic b; }
}"#), @r"
    error[flowrun::syntax]: `}` closes nothing
       2 | }
         | ^ no block is open
    ");
}

#[test]
fn properties_after_the_block() {
    assert_snapshot!(findings(r#"flow a { track } from=b"#), @r"
    error[flowrun::syntax]: nothing may follow a block on its line
       1 | flow a { track } from=b
         |                  ^^^^ after the block
         = arguments and properties come before the block; a next node after `;` or on a new line
    ");
}

#[test]
fn block_without_a_node() {
    assert_snapshot!(findings(r#"cameras a; { synthetic b; }"#), @r"
    error[flowrun::syntax]: a block without a node before it
       1 | cameras a; { synthetic b; }
         |            ^ opened here
         = the `{` stands on the line of its node, with no `;` between
    ");
}

#[test]
fn property_without_value() {
    assert_snapshot!(findings(r#"flow a from=
"#), @r"
    error[flowrun::syntax]: a value is missing
       1 | flow a from=
         |             ^ expected here
    ");
}

#[test]
fn comment_without_end() {
    assert_snapshot!(findings(r#"cameras a /* b"#), @r"
    error[flowrun::syntax]: a comment without its end
       1 | cameras a /* b
         |           ^^ opened here
         = close it with */
    ");
}

#[test]
fn unknown_escape() {
    assert_snapshot!(findings(r#"model a "b\d.onnx""#), @r#"
    error[flowrun::syntax]: no such escape
       1 | model a "b\d.onnx"
         |           ^^ unknown escape
         = escapes are \n \r \t \\ \" \b \f \s and \u{1F600}; a backslash itself is \\
    "#);
}

#[test]
fn brackets() {
    assert_snapshot!(findings(r#"select n=count(x) m=(u8)5"#), @r"
    error[flowrun::syntax]: a space is missing
       1 | select n=count(x) m=(u8)5
         |               ^ before this
         = text with brackets is quoted
    ");
}

#[test]
fn type_annotation() {
    assert_snapshot!(findings(r#"cameras a { synthetic b seed=(u8)5; }"#), @r#"
    error[flowrun::type-annotation]: a type annotation means nothing here
       1 | cameras a { synthetic b seed=(u8)5; }
         |                                  ^ annotated
         = leave out the brackets before it; quantities carry their unit in quotes, as in "5s"
    "#);
}

#[test]
fn duplicate_property() {
    assert_snapshot!(findings(r#"cameras a { synthetic b seed=5 seed=6; }"#), @r"
    error[flowrun::duplicate-property]: `seed` is given twice
       1 | cameras a { synthetic b seed=5 seed=6; }
         |                                ^^^^ again
       1 | cameras a { synthetic b seed=5 seed=6; }
         |                         ^^^^ first
    ");
}

#[test]
fn number_too_large() {
    assert_snapshot!(findings(r#"cameras a { synthetic b seed=99999999999999999999; }"#), @r"
    error[flowrun::out-of-range]: 99999999999999999999 is beyond the range of whole numbers
       1 | cameras a { synthetic b seed=99999999999999999999; }
         |                              ^^^^^^^^^^^^^^^^^^^^ 64 bits at most
    ");
}

#[test]
fn control_character() {
    assert_snapshot!(findings("cameras \u{7}a"), @r"
    error[flowrun::syntax]: the character U+0007 cannot stand in a graph
       1 | cameras a
         |         ^ here
    ");
}

#[test]
fn too_deep() {
    assert_snapshot!(findings(&"a {".repeat(60)), @r"
    error[flowrun::too-deep]: blocks stand more than 48 deep in one another
       1 | a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {a {
         |                                                                                                                                                   ^ one too deep
    ");
}
