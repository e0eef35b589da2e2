//! What the system's FFmpeg can do, for `flowrun doctor`.

use std::ffi::CStr;

use ff::ffi;
use ffmpeg_next as ff;
use serde::Serialize;

/// Decoders that cameras and recordings need, the preferred of each codec first.
const DECODERS: [&str; 14] = [
    "h264",
    "hevc",
    "libdav1d",
    "av1",
    "vp9",
    "vp8",
    "mpeg4",
    "mjpeg",
    "h264_cuvid",
    "hevc_cuvid",
    "av1_cuvid",
    "h264_qsv",
    "hevc_qsv",
    "h264_v4l2m2m",
];

/// Encoders that published video needs.
const ENCODERS: [&str; 12] = [
    "libx264",
    "libx265",
    "libopenh264",
    "libsvtav1",
    "mjpeg",
    "h264_nvenc",
    "hevc_nvenc",
    "av1_nvenc",
    "h264_vaapi",
    "h264_qsv",
    "h264_v4l2m2m",
    "libvpx-vp9",
];

/// The system's FFmpeg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Libraries {
    /// Its release, as the distribution names it.
    pub release: String,
    /// Its licence: with x264 it is the GPL, and so is a binary that uses it.
    pub licence: String,
    /// The libraries with the versions that were loaded.
    pub versions: Vec<Library>,
    /// Decoders of interest.
    pub decoders: Vec<Codec>,
    /// Encoders of interest.
    pub encoders: Vec<Codec>,
    /// Kinds of hardware it was built for; whether the hardware is there is another question.
    pub hardware: Vec<String>,
}

/// One of FFmpeg's libraries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Its name.
    pub name: &'static str,
    /// Major, minor and micro version.
    pub version: String,
}

/// A decoder or encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Codec {
    /// Its name.
    pub name: &'static str,
    /// Whether this FFmpeg has it.
    pub available: bool,
}

/// Asks the loaded libraries. Opens no device.
pub fn libraries() -> Libraries {
    super::init();
    // SAFETY: these return numbers and constant texts.
    let (release, licence, versions) = unsafe {
        let versions = [
            ("libavutil", ffi::avutil_version()),
            ("libavcodec", ffi::avcodec_version()),
            ("libavformat", ffi::avformat_version()),
            ("libswscale", ffi::swscale_version()),
        ];
        (text(ffi::av_version_info()), text(ffi::avcodec_license()), versions)
    };
    Libraries {
        release,
        licence,
        versions: versions
            .into_iter()
            .map(|(name, packed)| Library {
                name,
                version: format!("{}.{}.{}", packed >> 16, packed >> 8 & 0xff, packed & 0xff),
            })
            .collect(),
        decoders: DECODERS
            .map(|name| Codec {
                name,
                available: ff::decoder::find_by_name(name).is_some(),
            })
            .into(),
        encoders: ENCODERS
            .map(|name| Codec {
                name,
                available: ff::encoder::find_by_name(name).is_some(),
            })
            .into(),
        hardware: hardware(),
    }
}

fn hardware() -> Vec<String> {
    let none = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_NONE;
    let after = |kind: &ffi::AVHWDeviceType| {
        // SAFETY: walks a constant table; any value of the type may be asked for its successor.
        Some(unsafe { ffi::av_hwdevice_iterate_types(*kind) }).filter(|kind| *kind != none)
    };
    std::iter::successors(after(&none), after)
        // SAFETY: kinds that the iteration gives have names.
        .map(|kind| text(unsafe { ffi::av_hwdevice_get_type_name(kind) }))
        .collect()
}

fn text(constant: *const std::ffi::c_char) -> String {
    if constant.is_null() {
        return String::new();
    }
    // SAFETY: only constant texts of the libraries come here.
    unsafe { CStr::from_ptr(constant) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_loaded_ffmpeg_is_described() {
        let libraries = super::libraries();
        assert!(!libraries.release.is_empty() && !libraries.licence.is_empty());
        assert!(
            libraries
                .versions
                .iter()
                .all(|library| !library.version.starts_with("0."))
        );
        assert!(libraries.decoders.iter().any(|codec| codec.available));
        assert!(serde_json::to_string(&libraries).is_ok());
    }
}
