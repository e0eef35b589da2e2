//! Encoded pictures to decoded ones, by the system's FFmpeg.
//!
//! [`Decoder`] turns packets into libav frames, [`PictureMaker`] turns those into the engine's
//! pictures without copying them, [`Hardware`] says on what that is done, [`probe`] what the system's FFmpeg can do.

mod complaint;
mod decoder;
mod hardware;
mod libav;
mod parameters;
mod picture;
pub mod probe;
mod surface;

pub use complaint::{take_complaint, with_complaint};
pub use decoder::{Decoded, Decoder, DecoderOptions, Fed, MAX_PIXELS, MAX_SIDE};
pub use hardware::{DecoderChoice, Hardware};
pub use libav::init;
pub use parameters::parameters_of;
pub use picture::PictureMaker;
