//! The boxes of CMAF: a header that says how to decode, and chunks of samples (ISO/IEC 14496-12, 14496-15, 23000-19).

use bytes::Bytes;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::packet::{Codec, CodecConfig};
use mp4_atom::{
    Atom, Avc1, Avcc, Dinf, Dref, DrefEntry, Encode, FourCC, Ftyp, Hdlr, Hvc1, Hvcc, Mdhd, Mdia, Mfhd, Minf, Moof,
    Moov, Mvex, Mvhd, Stbl, Stco, Stsd, Styp, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun, TrunEntry, Url, Visual, Vmhd,
};

use super::cmaf::{Sample, TIMESCALE};

const TRACK: u32 = 1;
const BRANDS: [FourCC; 3] = [FourCC::new(b"iso6"), FourCC::new(b"cmfc"), FourCC::new(b"mp41")];

/// Flags of a sample that depends on no other, and of one that does and is no place to begin (14496-12, 8.8.3.1).
const SYNC: u32 = 0x0200_0000;
const DEPENDENT: u32 = 0x0101_0000;

fn unreadable(codec: &str, error: &dyn std::fmt::Display) -> OperatorError {
    OperatorError::new(format!("the camera's {codec} parameter sets cannot be read: {error}"))
        .help("encode the pictures anew: `encode h264 copy=never`")
}

/// The header: everything a decoder needs before the first chunk.
///
/// # Errors
/// When the description of the codec cannot be read.
pub fn init(config: &CodecConfig) -> Result<Bytes> {
    let (width, height) = (config.size.width as u16, config.size.height as u16);
    let visual = Visual {
        width,
        height,
        ..Visual::default()
    };
    let mut record = &config.record[..];
    let entry = match config.codec {
        Codec::H264 => mp4_atom::Codec::from(Avc1 {
            visual,
            avcc: Avcc::decode_body(&mut record).map_err(|error| unreadable("H.264", &error))?,
            ..Avc1::default()
        }),
        Codec::H265 => mp4_atom::Codec::from(Hvc1 {
            visual,
            hvcc: Hvcc::decode_body(&mut record).map_err(|error| unreadable("H.265", &error))?,
            ..Hvc1::default()
        }),
    };
    let sample_table = Stbl {
        stsd: Stsd { codecs: vec![entry] },
        stco: Some(Stco::default()),
        ..Stbl::default()
    };
    let media = Mdia {
        mdhd: Mdhd {
            timescale: TIMESCALE,
            language: "und".into(),
            ..Mdhd::default()
        },
        hdlr: Hdlr {
            handler: FourCC::new(b"vide"),
            name: "video".into(),
        },
        minf: Minf {
            vmhd: Some(Vmhd::default()),
            dinf: Dinf {
                dref: Dref {
                    entries: vec![DrefEntry::Url(Url::default())],
                },
            },
            stbl: sample_table,
            ..Minf::default()
        },
    };
    let movie = Moov {
        mvhd: Mvhd {
            timescale: TIMESCALE,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: TRACK + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![Trex {
                track_id: TRACK,
                default_sample_description_index: 1,
                ..Trex::default()
            }],
        }),
        trak: vec![Trak {
            tkhd: Tkhd {
                track_id: TRACK,
                enabled: true,
                in_movie: true,
                width: width.into(),
                height: height.into(),
                ..Tkhd::default()
            },
            mdia: media,
            ..Trak::default()
        }],
        ..Moov::default()
    };
    let kind = Ftyp {
        major_brand: BRANDS[0],
        minor_version: 0,
        compatible_brands: BRANDS.into(),
    };
    let mut bytes = Vec::new();
    kind.encode(&mut bytes)
        .and_then(|()| movie.encode(&mut bytes))
        .map_err(|error| unreadable("video", &error))?;
    Ok(bytes.into())
}

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the start of a segment, which says so.
    First,
    /// Behind others.
    Later,
}

/// A chunk: one fragment with these samples. Numbers of chunks only grow.
pub fn chunk(number: u32, place: Place, samples: &[Sample]) -> Bytes {
    let reordered = samples.iter().any(|sample| sample.offset != 0);
    let entry = |sample: &Sample| TrunEntry {
        duration: Some(sample.duration),
        size: Some(u32::try_from(sample.data.len()).unwrap_or(u32::MAX)),
        flags: Some(if sample.keyframe { SYNC } else { DEPENDENT }),
        cts: reordered.then_some(i64::from(sample.offset)),
    };
    let fragment = |data_offset: i32| Moof {
        mfhd: Mfhd {
            sequence_number: number,
        },
        traf: vec![Traf {
            tfhd: Tfhd {
                track_id: TRACK,
                default_base_is_moof: true,
                ..Tfhd::default()
            },
            tfdt: Some(Tfdt {
                base_media_decode_time: samples.first().map_or(0, |sample| sample.decode),
            }),
            trun: vec![Trun {
                data_offset: Some(data_offset),
                samples: samples.iter().map(entry).collect::<Vec<_>>().into(),
            }],
            ..Traf::default()
        }],
    };
    let payload: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let mut bytes = Vec::with_capacity(payload + 256);
    if place == Place::First {
        let kind = Styp {
            major_brand: BRANDS[0],
            minor_version: 0,
            compatible_brands: BRANDS.into(),
        };
        kind.encode(&mut bytes).expect("a list of brands fits a box");
    }
    let mut header = Vec::new();
    fragment(0).encode(&mut header).expect("a few samples fit a box");
    // Samples begin behind the header of the media data box; the size does not depend on the number.
    let offset = i32::try_from(header.len() + 8).expect("a few samples fit a box");
    fragment(offset).encode(&mut bytes).expect("a few samples fit a box");
    bytes.extend_from_slice(
        &u32::try_from(payload + 8)
            .expect("a chunk is cut far below 4 GiB")
            .to_be_bytes(),
    );
    bytes.extend_from_slice(b"mdat");
    samples.iter().for_each(|sample| bytes.extend_from_slice(&sample.data));
    bytes.into()
}

/// The codec as RFC 6381 and MSE call it: `avc1.64001f`, `hvc1.1.6.L93.B0`.
pub fn codec_string(config: &CodecConfig) -> String {
    match (config.codec, &config.record[..]) {
        (Codec::H264, [_, profile, compatibility, level, ..]) => {
            format!("avc1.{profile:02x}{compatibility:02x}{level:02x}")
        }
        (Codec::H264, _) => "avc1".into(),
        (Codec::H265, record) => hevc_string(record).unwrap_or_else(|| "hvc1".into()),
    }
}

/// ISO/IEC 14496-15, E.3.
fn hevc_string(mut record: &[u8]) -> Option<String> {
    let hvcc = Hvcc::decode_body(&mut record).ok()?;
    let space = ["", "A", "B", "C"].get(usize::from(hvcc.general_profile_space))?;
    let compatibility = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let mut text = format!(
        "hvc1.{space}{}.{compatibility:X}.{tier}{}",
        hvcc.general_profile_idc, hvcc.general_level_idc
    );
    let flags = hvcc.general_constraint_indicator_flags;
    let length = flags.iter().rposition(|flag| *flag != 0).map_or(0, |last| last + 1);
    flags[..length]
        .iter()
        .for_each(|flag| text.push_str(&format!(".{flag:X}")));
    Some(text)
}
