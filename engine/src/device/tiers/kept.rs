//! What a reader of a kept picture holds.

use std::sync::Arc;

use super::super::memory::Pinned;
use super::super::surface::{packed, planes};
use crate::errors::{OperatorError, Result};
use crate::frame::{PictureLayout, PictureMemory};

/// Luma and chroma of what cannot be read.
const GREY: u8 = 128;

/// Bytes that a reader has: the store's own, which stay in place meanwhile, or a copy.
#[derive(Debug)]
pub(super) enum Lent {
    Warm(Arc<Pinned>),
    Cold(Arc<Vec<u8>>),
    Own(Vec<u8>),
}

impl Lent {
    fn bytes(&self) -> &[u8] {
        match self {
            Lent::Warm(memory) => memory.bytes(),
            Lent::Cold(memory) => memory,
            Lent::Own(memory) => memory,
        }
    }
}

/// A picture's memory.
#[derive(Debug)]
pub(super) struct Kept {
    layout: PictureLayout,
    lent: Lent,
    error: Option<OperatorError>,
}

impl Kept {
    pub fn new(layout: PictureLayout, lent: Result<Lent>) -> Self {
        let (lent, error) = match lent {
            Ok(lent) => (lent, None),
            Err(error) => (Lent::Own(vec![GREY; packed(layout).1]), Some(error)),
        };
        Kept { layout, lent, error }
    }
}

impl PictureMemory for Kept {
    fn plane(&self, index: usize) -> &[u8] {
        let [rows, row] = planes(self.layout).0[index];
        &self.lent.bytes()[packed(self.layout).0[index]..][..rows * row]
    }
    fn stride(&self, index: usize) -> usize {
        planes(self.layout).0[index][1]
    }
    fn fetch(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }
}
