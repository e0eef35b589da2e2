//! The examples run, and the tests within them hold.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../examples/03_embed.rs"]
mod embed;
#[path = "../examples/01_run_a_graph.rs"]
mod run_a_graph;
#[path = "../examples/02_write_an_operator.rs"]
mod write_an_operator;

#[test]
fn a_graph_file_runs_to_its_end() {
    run_a_graph::main().unwrap();
}

#[test]
fn an_operator_of_ones_own_runs_in_a_graph() {
    write_an_operator::main().unwrap();
}

#[test]
fn the_engine_runs_inside_another_program() {
    embed::main().unwrap();
}
