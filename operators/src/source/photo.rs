//! One picture of a file: a JPEG, a PNG, or the first of a video.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::Picture;
use flowrun_engine::operator::Stop;

use super::demux::{Demuxer, Read};
use crate::decode::{Decoded, Decoder, DecoderOptions, Fed, Hardware, PictureMaker};

/// The pictures of a folder, by name.
///
/// # Errors
/// When the folder cannot be read, or holds none.
pub fn photos(folder: &Path) -> Result<Vec<PathBuf>> {
    let about = |cause: String| OperatorError::new(format!("`{}` {cause}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(|error| about(format!("cannot be read: {error}")))?;
    let known = |path: &PathBuf| {
        let extension = path
            .extension()
            .map(|extension| extension.to_string_lossy().to_lowercase());
        extension.is_some_and(|extension| ["jpg", "jpeg", "png", "webp", "bmp"].contains(&&*extension))
    };
    let mut pictures: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(known).collect();
    pictures.sort();
    match pictures.is_empty() {
        true => Err(about("holds no pictures".into()).help("give a folder of JPEG or PNG files")),
        false => Ok(pictures),
    }
}

/// Reads the first picture of a file.
///
/// # Errors
/// When the file cannot be read or decoded, or holds no picture.
pub fn photo(path: &Path) -> Result<Arc<Picture>> {
    let about = |cause: &str| OperatorError::new(format!("`{}` {cause}", path.display()));
    let mut file = Demuxer::open(path, &Stop::default())?;
    let options = DecoderOptions {
        threads: 1,
        keyframes_only: false,
    };
    let mut decoder = Decoder::open(file.parameters(), file.time_base(), options, &Hardware::host())?;
    let mut ended = false;
    loop {
        match decoder.take() {
            Decoded::Picture(frame) => return Ok(Arc::new(PictureMaker::default().picture(frame)?)),
            Decoded::Failed(error) if ended => return Err(about(&format!("cannot be decoded: {error}"))),
            Decoded::Drained => return Err(about("holds no picture")),
            Decoded::Hungry | Decoded::Failed(_) => {}
        }
        let packet = match file.read() {
            Read::Packet(packet) => Some(packet),
            Read::End => None,
            Read::Failed(cause) => return Err(about(&cause)),
        };
        if ended && packet.is_none() {
            return Err(about("holds no picture"));
        }
        ended |= packet.is_none();
        match decoder.feed(packet.as_ref()) {
            Fed::Taken | Fed::Full => {}
            Fed::Damaged(error) => return Err(about(&format!("is damaged: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::reference_data;

    #[test]
    fn a_photo_is_read_and_what_is_none_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.jpg");
        std::fs::write(&text, "no picture").unwrap();
        assert!(photo(&text).is_err());
        assert!(photo(&folder.path().join("absent.jpg")).is_err());
        let Some(data) = reference_data() else { return };
        let size = photo(&data.join("images/bus.jpg")).unwrap().layout().size;
        assert_eq!((size.width, size.height), (810, 1080));
    }
}
