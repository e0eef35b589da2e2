//! ONNX Runtime, found at run time: no other module but the doctor's names `ort`.
//!
//! `runtime` finds and loads the library, `external` looks at a model file before the library
//! does, `session` opens a model on the first provider of a ladder that takes it.

mod external;
mod runtime;
mod session;

pub use runtime::{Runtime, runtime};
pub use session::{AUTO, Element, Model, ModelOptions, OutputTensor, Provider, TensorSpec, TensorView};
