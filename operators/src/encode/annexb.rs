//! The framing of H.264: start codes (ITU-T H.264, Annex B) to lengths and an `avcC` record (ISO/IEC 14496-15, 5.3).

use bytes::Bytes;

const SEQUENCE_PARAMETERS: u8 = 7;
const PICTURE_PARAMETERS: u8 = 8;
const DELIMITER: u8 = 9;

/// Profiles whose record says more of the samples (14496-15, 5.3.3.1.2).
const HIGH: [u8; 4] = [100, 110, 122, 144];

fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |first| first & 0x1f)
}

/// The NAL units of a byte stream, without their start codes and the zeros around them.
pub(super) fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> = stream
        .windows(3)
        .enumerate()
        .filter(|(_, window)| *window == [0, 0, 1])
        .map(|(at, _)| at)
        .collect();
    let ends = starts.clone().into_iter().skip(1).chain([stream.len()]);
    starts
        .into_iter()
        .zip(ends)
        .map(|(start, end)| {
            let unit = &stream[start + 3..end];
            // What follows the last set bit is no part of the unit.
            let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            &unit[..length]
        })
        .filter(|unit| !unit.is_empty())
}

/// A sample: each unit behind its length; parameter sets stand in the record, and delimiters say nothing.
pub(super) fn sample(stream: &[u8]) -> Bytes {
    let mut sample = Vec::with_capacity(stream.len() + 16);
    for unit in units(stream).filter(|unit| !matches!(kind(unit), SEQUENCE_PARAMETERS | PICTURE_PARAMETERS | DELIMITER))
    {
        sample.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        sample.extend_from_slice(unit);
    }
    sample.into()
}

/// The `avcC` record of a stream of 4:2:0 in 8 bits; none without both parameter sets.
pub(super) fn record(stream: &[u8]) -> Option<Bytes> {
    let sets = |of: u8| units(stream).find(move |unit| kind(unit) == of);
    let (sequence, picture) = (sets(SEQUENCE_PARAMETERS)?, sets(PICTURE_PARAMETERS)?);
    let [profile, compatibility, level] = *sequence.get(1..4)? else {
        return None;
    };
    let mut record = vec![1, profile, compatibility, level, 0xff, 0xe1];
    record.extend_from_slice(&u16::try_from(sequence.len()).ok()?.to_be_bytes());
    record.extend_from_slice(sequence);
    record.push(1);
    record.extend_from_slice(&u16::try_from(picture.len()).ok()?.to_be_bytes());
    record.extend_from_slice(picture);
    if HIGH.contains(&profile) {
        // 4:2:0, 8 bits of luma and chroma, no extensions.
        record.extend_from_slice(&[0xfd, 0xf8, 0xf8, 0]);
    }
    Some(record.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_whatever_their_start_codes() {
        let stream = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 0, 3, 4];
        let found: Vec<_> = units(&stream).collect();
        assert_eq!(found, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 0, 3, 4]]);
        assert_eq!(sample(&stream)[..], [0, 0, 0, 4, 0x65, 0, 3, 4]);
        assert_eq!(
            units(&[]).count() + units(&[0, 0, 1]).count() + units(&[5, 6]).count(),
            0
        );
    }

    #[test]
    fn a_record_has_both_parameter_sets() {
        let high = [0, 0, 1, 0x67, 100, 0, 31, 9, 0, 0, 1, 0x68, 3];
        let whole = [
            1, 100, 0, 31, 0xff, 0xe1, 0, 5, 0x67, 100, 0, 31, 9, 1, 0, 2, 0x68, 3, 0xfd, 0xf8, 0xf8, 0,
        ];
        assert_eq!(record(&high).unwrap()[..], whole);
        assert_eq!(record(&high[..9]), None);
        assert_eq!(record(&[0, 0, 1, 0x67, 66, 0, 0, 1, 0x68, 1]), None);
    }
}
