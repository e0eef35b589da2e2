//! The `flowrun` binary: the built-in operators and the command line.

use flowrun::prelude::*;

/// Decoders that come and go on many threads fragment the C library's heap: a run of 16 looping cameras grew by 1 MiB a
/// minute with it and does not with this. It serves FFmpeg and ONNX Runtime too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    flowrun::main(Registry::builtin())
}
