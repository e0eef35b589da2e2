//! The `flowrun` binary: the built-in operators and the command line.

use flowrun::prelude::*;

fn main() -> std::process::ExitCode {
    flowrun::main(Registry::builtin())
}
