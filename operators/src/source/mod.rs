//! Where pictures and rows come from.

pub mod rows;
mod size;
pub mod synthetic;
