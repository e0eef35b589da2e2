//! Graphs that compile, and what becomes of them.

use insta::assert_snapshot;

use crate::{JUNCTION, compile, explained, findings};

#[test]
fn the_junction() {
    assert_snapshot!(findings(JUNCTION), @"");
    assert_snapshot!(explained(JUNCTION), @"");
}
