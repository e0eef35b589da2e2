//! The NAL units of an access unit: which of them travel on.

use bytes::Bytes;
use flowrun_engine::packet::Codec;

/// Bytes of the length before each NAL unit of a packet.
pub(super) const LENGTH_BYTES: usize = 4;

/// Whether a NAL unit is part of the picture's data: parameter sets travel in the codec's configuration, and
/// delimiters and filler say nothing. Types are those of table 7-1 of ITU-T H.264 and of H.265.
fn travels(codec: Codec, first: u8) -> bool {
    match codec {
        // Parameter sets (7, 8, 13, 15), delimiter (9), filler (12).
        Codec::H264 => !matches!(first & 0x1f, 7 | 8 | 9 | 12 | 13 | 15),
        // Parameter sets (32 to 34), delimiter (35), filler (38).
        Codec::H265 => !matches!((first >> 1) & 0x3f, 32..=35 | 38),
    }
}

/// Whether an access unit of H.264, of NAL units behind lengths of so many bytes, holds a slice of an IDR picture.
pub(super) fn has_idr(data: &[u8], length_bytes: usize) -> bool {
    let mut rest = data;
    while rest.len() > length_bytes {
        let (length, units) = rest.split_at(length_bytes);
        let length = length.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
        if units[0] & 0x1f == 5 {
            return true;
        }
        rest = units.get(length..).unwrap_or_default();
    }
    false
}

/// An access unit of NAL units behind lengths of so many bytes, as one with lengths of four and without those that do
/// not travel; empty when none does.
///
/// # Errors
/// When the lengths do not add up.
pub(super) fn access_unit(codec: Codec, data: Bytes, length_bytes: usize) -> Result<Bytes, String> {
    let mut kept: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let length = data
            .get(at..at + length_bytes)
            .ok_or("an access unit ends within a length")?;
        let length = length.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
        let start = at + length_bytes;
        let unit = data
            .get(start..start + length)
            .ok_or("an access unit ends within a NAL unit")?;
        if unit.first().is_some_and(|first| travels(codec, *first)) {
            kept.push((start, start + length));
        }
        at = start + length;
    }
    let whole: usize = kept.iter().map(|(start, end)| end - start + LENGTH_BYTES).sum();
    if whole == data.len() && length_bytes == LENGTH_BYTES {
        return Ok(data);
    }
    let mut written = Vec::with_capacity(whole);
    for (start, end) in kept {
        let length = u32::try_from(end - start).map_err(|_| "a NAL unit is longer than 4 GiB")?;
        written.extend(length.to_be_bytes());
        written.extend(&data[start..end]);
    }
    Ok(written.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(nals: &[&[u8]]) -> Vec<u8> {
        let prefixed = |nal: &&[u8]| [&(nal.len() as u32).to_be_bytes()[..], nal].concat();
        nals.iter().flat_map(prefixed).collect()
    }

    fn four(codec: Codec, data: Vec<u8>) -> Result<Bytes, String> {
        access_unit(codec, data.into(), LENGTH_BYTES)
    }

    #[test]
    fn short_lengths_become_four_bytes() {
        let data = Bytes::from_static(&[0, 2, 0x65, 7, 0, 1, 0x09, 0, 2, 0x41, 8]);
        assert_eq!(
            access_unit(Codec::H264, data, 2).unwrap(),
            unit(&[&[0x65, 7], &[0x41, 8]])
        );
    }

    #[test]
    fn idr_pictures_are_found_behind_other_units() {
        let (note, idr, other): (&[u8], &[u8], &[u8]) = (&[6, 5, 1, 0], &[0x65, 0x88], &[0x41, 5]);
        assert!(has_idr(&unit(&[note, idr]), LENGTH_BYTES));
        assert!(!has_idr(&unit(&[note, other]), LENGTH_BYTES));
        assert!(has_idr(&[0, 1, 9, 0, 2, 0x65, 1], 2));
        for broken in [&[][..], &[0, 0, 0, 9], &[0xff, 0xff, 0xff, 0xff, 1, 0x65]] {
            assert!(!has_idr(broken, LENGTH_BYTES));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_refused_or_sound(data in proptest::collection::vec(0u8..80, 0..200), length_bytes in 1usize..=4) {
            if let Ok(unit) = access_unit(Codec::H265, data.into(), length_bytes) {
                prop_assert_eq!(access_unit(Codec::H265, unit.clone(), LENGTH_BYTES).unwrap(), unit);
            }
        }
    }

    #[test]
    fn parameter_sets_and_delimiters_are_left_out() {
        let (delimiter, sps, pps): (&[u8], &[u8], &[u8]) = (&[9, 0xf0], &[0x67, 1], &[0x68, 2]);
        let (note, slice): (&[u8], &[u8]) = (&[6, 5, 1, 0], &[0x65, 0x88, 0x84]);
        let given = unit(&[delimiter, sps, pps, note, slice]);
        assert_eq!(four(Codec::H264, given).unwrap(), unit(&[note, slice]));
        let split = unit(&[note, sps, slice]);
        assert_eq!(four(Codec::H264, split).unwrap(), unit(&[note, slice]));
        let (delimiter, vps, slice): (&[u8], &[u8], &[u8]) = (&[0x46, 1, 0x50], &[0x40, 1, 9], &[0x26, 1, 0xaf]);
        let given = unit(&[delimiter, vps, slice]);
        assert_eq!(four(Codec::H265, given).unwrap(), unit(&[slice]));
        assert!(four(Codec::H264, unit(&[&[9, 0xf0]])).unwrap().is_empty());
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() {
        for broken in [vec![0, 0, 0], vec![0, 0, 0, 9, 1], vec![0xff; 8], vec![0, 0, 0, 1]] {
            assert!(four(Codec::H264, broken).is_err());
        }
    }
}
