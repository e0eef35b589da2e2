//! A detection head's answer, thinned out on the device: only what is kept comes to the host.

use std::mem::size_of;
use std::sync::Arc;

use super::backend::Device;
use super::fault::{Fault, Result};
use super::kernels::{BoxForm, Choice, Kept, Proposal, Propose, Suppress, Work};
use super::memory::{Buffer, Pinned};
use super::stream::CudaStream;

/// The shape of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// How it tells boxes and scores.
    pub boxes: BoxForm,
    /// Classes that it tells apart.
    pub classes: usize,
    /// Boxes that it proposes at most.
    pub anchors: usize,
}

impl HeadShape {
    /// Numbers for each anchor.
    pub fn rows(self) -> usize {
        self.boxes.rows() + self.classes
    }

    /// What a model answers for a picture: rows over all anchors, or as many numbers in one row where each grid has rows of
    /// its own.
    pub fn dims(self) -> Vec<usize> {
        match self.boxes {
            BoxForm::Decoded => vec![self.rows(), self.anchors],
            BoxForm::Undecoded(_) => vec![self.rows() * self.anchors],
        }
    }
}

/// What is kept of the pictures of one batch.
#[derive(Debug)]
pub struct Findings {
    shape: HeadShape,
    places: usize,
    most: usize,
    /// A [`Choice`] a place, then a byte for each place and class.
    choices: Pinned,
    choices_there: Buffer,
    proposals: Buffer,
    counts: Buffer,
    /// A count a place, then `most` [`Kept`] for each.
    kept: Buffer,
    kept_here: Pinned,
}

impl Findings {
    /// Room for so many pictures, of which at most `most` boxes each are kept.
    ///
    /// # Errors
    /// When the device has no memory for it.
    pub fn new(device: &Arc<dyn Device>, shape: HeadShape, places: usize, most: usize) -> Result<Self> {
        let numbers = places.checked_mul(shape.anchors).filter(|all| *all < 1 << 28);
        let numbers = numbers.ok_or(Fault::OutOfMemory(usize::MAX))?;
        let choices = places * (size_of::<Choice>() + shape.classes);
        let kept = counts_bytes(places) + places * most * size_of::<Kept>();
        Ok(Findings {
            shape,
            places,
            most,
            choices: Pinned::new(device, choices)?,
            choices_there: Buffer::new(device, choices)?,
            proposals: Buffer::new(device, numbers * size_of::<Proposal>())?,
            counts: Buffer::new(device, places * size_of::<u32>())?,
            kept: Buffer::new(device, kept)?,
            kept_here: Pinned::new(device, kept)?,
        })
    }

    /// What is to be kept of a place; `wanted` says of each class whether it is, none wants all. The stream was drained.
    pub(crate) fn choose(&mut self, place: usize, choice: Choice, wanted: Option<&[bool]>) {
        if place >= self.places {
            return;
        }
        let (choices, masks) = self.choices.bytes_mut().split_at_mut(self.places * size_of::<Choice>());
        // SAFETY: the first part holds `places` of them, and `place` is one.
        unsafe {
            choices[place * size_of::<Choice>()..]
                .as_mut_ptr()
                .cast::<Choice>()
                .write(choice)
        };
        let mask = &mut masks[place * self.shape.classes..][..self.shape.classes];
        for (class, byte) in mask.iter_mut().enumerate() {
            *byte = u8::from(wanted.is_none_or(|wanted| wanted.get(class).is_some_and(|wanted| *wanted)));
        }
    }

    /// Reads the first `places` of a head's answer and sends what is kept to the host.
    ///
    /// # Errors
    /// When the answer is too short, or as the driver tells.
    pub(crate) fn find(&mut self, stream: &CudaStream, head: &Buffer, half: bool, places: usize) -> Result<()> {
        let HeadShape {
            boxes,
            classes,
            anchors,
        } = self.shape;
        let needed = places * self.shape.rows() * anchors * if half { 2 } else { 4 };
        if places > self.places || needed > head.bytes() {
            return Err(Fault::Other(format!(
                "the head's answer is too short for {places} pictures"
            )));
        }
        stream.upload(&self.choices, self.choices.bytes().len(), &self.choices_there)?;
        stream.clear(&self.counts)?;
        let choices = self.choices_there.address();
        let (proposals, counts) = (self.proposals.address(), self.counts.address());
        let places_there = places as u32;
        let propose = Work::Propose(Propose {
            head: head.address(),
            half,
            boxes,
            choices,
            wanted: choices + (self.places * size_of::<Choice>()) as u64,
            proposals,
            counts,
            classes: classes as u32,
            anchors: anchors as u32,
            places: places_there,
        });
        let suppress = Work::Suppress(Suppress {
            choices,
            proposals,
            counts,
            kept: self.kept.address() + counts_bytes(self.places) as u64,
            kept_counts: self.kept.address(),
            anchors: anchors as u32,
            most: self.most as u32,
            places: places_there,
        });
        // SAFETY: all buffers were made for `self.places` pictures of this shape, the head is long enough, and the caller
        // keeps it and this until the stream was drained.
        unsafe {
            stream.launch(&propose)?;
            stream.launch(&suppress)?;
        }
        let bytes = counts_bytes(self.places) + places * self.most * size_of::<Kept>();
        stream.download(&self.kept, bytes, &mut self.kept_here)
    }

    /// What was kept of a place, the surest first. The stream has been drained.
    pub(crate) fn kept(&self, place: usize) -> &[Kept] {
        if place >= self.places {
            return &[];
        }
        let bytes = self.kept_here.bytes();
        let count = bytes[place * size_of::<u32>()..]
            .first_chunk()
            .map_or(0, |count| u32::from_le_bytes(*count));
        let start = counts_bytes(self.places) + place * self.most * size_of::<Kept>();
        let count = (count as usize).min(self.most);
        // SAFETY: `most` of them lie there for each place; any bytes are some, and the start is aligned as pinned memory is.
        unsafe { std::slice::from_raw_parts(bytes[start..].as_ptr().cast::<Kept>(), count) }
    }
}

/// Bytes of the counts, such that what follows is aligned.
fn counts_bytes(places: usize) -> usize {
    (places * size_of::<u32>()).next_multiple_of(16)
}
