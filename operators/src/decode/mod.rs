//! Encoded pictures to decoded ones, by the system's FFmpeg.
//!
//! [`Decoder`] turns packets into libav frames, [`PictureMaker`] turns those into the engine's
//! pictures without copying them, [`probe`] says what the system's FFmpeg can do.

mod complaint;
mod decoder;
mod libav;
mod parameters;
mod picture;
pub mod probe;

pub use complaint::{take_complaint, with_complaint};
pub use decoder::{Decoded, Decoder, DecoderOptions, Fed, MAX_PIXELS, MAX_SIDE};
pub use libav::init;
pub use parameters::parameters_of;
pub use picture::PictureMaker;
