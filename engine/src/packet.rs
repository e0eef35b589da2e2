//! Encoded pictures on their way through the graph.
//!
//! Two ways lead here: an encoder's output, and the packets a camera sent, which ride on the frames that were decoded
//! from them ([`Frame::packets`](crate::frame::Frame)) so that what nobody draws on need not be encoded again.

use std::sync::Arc;

use bytes::Bytes;

use crate::rows::Size;

/// How pictures are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
}

/// What a decoder must know before the first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecConfig {
    /// The codec.
    pub codec: Codec,
    /// Width and height of the pictures.
    pub size: Size,
    /// The body of an `avcC` or `hvcC` box (ISO/IEC 14496-15): parameter sets, and that lengths take four bytes.
    pub record: Bytes,
}

/// One encoded picture (an access unit).
#[derive(Clone, Debug)]
pub struct Packet {
    /// What decodes it; the same pointer until it changes, and then a keyframe comes first.
    pub config: Arc<CodecConfig>,
    /// NAL units, each behind its length in four bytes, big-endian; no parameter sets, no delimiters.
    pub data: Bytes,
    /// When the picture was taken, in nanoseconds: event time on an edge of its own; while it rides on a frame, after
    /// (or, negative, before) that frame.
    pub presented: i64,
    /// When it must be decoded, on the same scale: never after `presented`, and increasing from packet to packet.
    pub decoded: i64,
    /// Whether decoding can begin here.
    pub keyframe: bool,
    /// Counts the packets of one encoder or one camera session: a gap means that some were lost, and what follows
    /// cannot be decoded before the next keyframe. Consecutive across frames.
    pub sequence: u64,
}
