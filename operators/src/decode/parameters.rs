//! What a decoder must know of a stream that came without a container.

use engine::errors::{OperatorError, Result};
use engine::packet::{Codec, CodecConfig};
use ff::ffi;
use ffmpeg_next as ff;
use flowrun_engine as engine;

/// The longest decoder configuration that is taken; real ones have a hundred bytes.
const LONGEST_RECORD_BYTES: usize = 1 << 16;

/// libav's form of a codec's configuration. Packets that go with it are length-prefixed, as in ISO/IEC 14496-15.
///
/// # Errors
/// When the configuration is longer than any real one, or memory is out.
pub fn parameters_of(config: &CodecConfig) -> Result<ff::codec::Parameters> {
    let record = &config.record;
    if record.is_empty() || record.len() > LONGEST_RECORD_BYTES {
        return Err(OperatorError::new(format!(
            "a decoder configuration of {} bytes is no real one",
            record.len()
        )));
    }
    let mut parameters = ff::codec::Parameters::new();
    // SAFETY: the parameters were allocated by the line above, which is checked; the copy has the zeroed padding behind
    // it that decoders read into, and belongs to the parameters, which free it.
    unsafe {
        let raw = parameters.as_mut_ptr();
        if raw.is_null() {
            return Err(OperatorError::new("no memory for a stream's parameters"));
        }
        let copy = ffi::av_mallocz(record.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast::<u8>();
        if copy.is_null() {
            return Err(OperatorError::new("no memory for a decoder configuration"));
        }
        std::ptr::copy_nonoverlapping(record.as_ptr(), copy, record.len());
        (*raw).extradata = copy;
        (*raw).extradata_size = i32::try_from(record.len()).expect("the length was checked");
    }
    parameters.set_medium(ff::media::Type::Video);
    parameters.set_id(match config.codec {
        Codec::H264 => ff::codec::Id::H264,
        Codec::H265 => ff::codec::Id::HEVC,
    });
    Ok(parameters)
}
