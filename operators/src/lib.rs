//! flowrun's built-in operators.

pub mod detect;
#[cfg(test)]
mod testing;
