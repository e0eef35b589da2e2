//! flowrun's built-in operators.

pub mod source;
#[cfg(test)]
mod testing;
pub mod truth;
pub mod write;
