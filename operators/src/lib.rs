//! flowrun's built-in operators: where a researcher looks first.

pub mod decode;
pub mod source;
#[cfg(test)]
pub(crate) mod testing;
