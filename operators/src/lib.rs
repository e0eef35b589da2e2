//! x

#[cfg(test)]
mod testing;
pub mod track;
