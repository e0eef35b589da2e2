//! x

pub mod analyse;
#[cfg(test)]
mod testing;
pub mod track;
