//! flowrun's built-in operators: where a researcher looks first.

pub mod decode;
pub mod source;
#[cfg(test)]
mod testing;
pub mod track;
pub mod truth;
pub mod write;
