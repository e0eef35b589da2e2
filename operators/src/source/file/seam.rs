//! Where a looped recording begins again without an end.
//!
//! libav opens a device's H.264 decoder anew whenever it was flushed, which takes as long as a hundred pictures do and
//! holds up every other decoder of the device. A recording that begins with an IDR picture needs no flush: whatever came
//! before it is output first, and nothing behind it refers to that (ITU-T H.264, 7.4.1.2.4 and C.4.4).

use ffmpeg_next as ff;

use super::super::nal::has_idr;

/// More pictures than a decoder holds back (ITU-T H.264, A.3.1: 16), and then some.
const HELD_BACK_AT_MOST: usize = 32;

/// The next pass, whose packets are being fed, while pictures of this one still come out.
pub(super) struct Seam {
    /// When the next pass's first picture is shown.
    first: i64,
    /// What was fed of the next pass.
    fed: Vec<ff::Packet>,
}

impl Seam {
    /// Before the first packet of the next pass; none where the decoder would not tell the passes apart.
    pub fn at(packet: &ff::Packet, length_bytes: usize) -> Option<Self> {
        let is_start = packet.is_key() && has_idr(packet.data().unwrap_or_default(), length_bytes);
        let first = packet.pts().filter(|_| is_start)?;
        Some(Seam { first, fed: Vec::new() })
    }

    /// How many pictures a pass must have given, for the next one's first to be known by its time.
    pub const PICTURES_AT_LEAST: u64 = 2 * HELD_BACK_AT_MOST as u64;

    pub fn feed(&mut self, packet: &ff::Packet) {
        self.fed.push(packet.clone());
    }

    /// Whether a picture that comes out belongs to the next pass.
    pub fn is_crossed_by(&self, picture: &ff::frame::Video) -> bool {
        let is_first = picture.is_key() && picture.timestamp() == Some(self.first);
        // Where the first was too damaged to come out.
        is_first || self.fed.len() > HELD_BACK_AT_MOST
    }

    /// The packets that were fed of the next pass.
    pub fn into_fed(self) -> Vec<ff::Packet> {
        self.fed
    }
}
