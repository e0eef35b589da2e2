//! The table of ranges that TensorRT needs to compute a model in bytes, made by showing the model pictures.

use std::path::{Path, PathBuf};

use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::infer::{Model, ModelOptions, Provider, Ranges};

use super::cores;
use super::input::{check_task, input_of};
use super::lane::DetectLane;
use crate::source::photo::photo;

/// A table of ranges.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// What to write to a file; ONNX Runtime wants its name to end in `.flatbuffers`.
    pub table: Vec<u8>,
    /// Tensors that it has a range for.
    pub tensors: usize,
}

/// Shows a model these pictures, as `detect` would, and notes how far from nought each of its tensors gets. The processor
/// computes; what computes later has the model's tensors by the same names.
///
/// # Errors
/// When the model is none for detection, cannot be watched (see [`Ranges::open`]), or a picture cannot be read.
pub fn calibrate(path: &Path, pictures: &[PathBuf]) -> Result<Calibration> {
    let about = |error: OperatorError| error.about(format_args!("model `{}`", path.display()));
    let model = Model::open(path, &ModelOptions::new(cores(), &[Provider::Cpu]))?;
    check_task(&model).map_err(about)?;
    let input = input_of(&model, None).map_err(about)?;
    drop(model);
    let mut ranges = Ranges::open(path, cores())?;
    let mut lane = DetectLane::new(&input, None, 0);
    let batch = input.batch.most();
    // A model of a fixed batch sees pictures again where there are too few to fill it.
    let shown = pictures.len().next_multiple_of(batch);
    for (place, picture) in pictures.iter().cycle().take(shown).enumerate() {
        lane.place(place, &*photo(picture)?, &input)?;
        if lane.places.len() == batch {
            ranges.add(&input.dims(batch), lane.view(batch * input.picture_len()))?;
            lane.places.clear();
        }
    }
    Ok(Calibration {
        table: ranges.table(),
        tensors: ranges.found().count(),
    })
}

#[cfg(test)]
mod tests {
    use flowrun_engine::infer::runtime;

    use super::super::tests::fixtures;
    use super::*;

    /// `NAME value` of a table, by the bytes of a FlatBuffer.
    fn read(table: &[u8]) -> Vec<(String, f32)> {
        let long = |at: usize| u32::from_le_bytes(*table[at..].first_chunk().unwrap()) as usize;
        let field = |at: usize, slot: usize| {
            // Signed: the places of a table's fields may stand behind it.
            let places = at.wrapping_add_signed(-(long(at) as u32 as i32) as isize);
            at + usize::from(u16::from_le_bytes(
                *table[places + 4 + 2 * slot..].first_chunk().unwrap(),
            ))
        };
        let follow = |at: usize| at + long(at);
        let text = |at: usize| String::from_utf8(table[at + 4..][..long(at)].to_vec()).unwrap();
        let dict = follow(field(follow(0), 0));
        let pair = |index: usize| follow(dict + 4 + 4 * index);
        let of = |pair: usize, slot| text(follow(field(pair, slot)));
        (0..long(dict))
            .map(|index| (of(pair(index), 0), of(pair(index), 1).parse().unwrap()))
            .collect()
    }

    fn white(folder: &Path) -> Vec<PathBuf> {
        // A bitmap of 8 x 8 pixels of 24 bits.
        let path = folder.join("white.bmp");
        let mut bytes = b"BM".to_vec();
        for number in [54 + 192_u32, 0, 54, 40, 8, 8, 1 | 24 << 16, 0, 192, 0, 0, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([255; 192]);
        std::fs::write(&path, bytes).unwrap();
        vec![path]
    }

    #[test]
    fn tensors_are_told_how_far_from_nought_they_get() {
        if runtime().is_err() {
            return eprintln!("skipped: no ONNX Runtime");
        }
        let folder = tempfile::tempdir().unwrap();
        let pictures = white(folder.path());
        for name in ["dynamic.onnx", "fixed.onnx", "fixed_of_four.onnx", "half.onnx"] {
            let model = fixtures().join(name);
            let made = calibrate(&model, &pictures).unwrap();
            let ranges = read(&made.table);
            assert_eq!(ranges.len(), made.tensors, "{name}");
            let of = |tensor: &str| ranges.iter().find(|(name, _)| name == tensor).map(|(_, range)| *range);
            assert_eq!(of("images"), Some(1.0), "{name}: white is 1");
            let (mut opened, input) = {
                let model = Model::open(&model, &ModelOptions::new(1, &[Provider::Cpu])).unwrap();
                let input = input_of(&model, None).unwrap();
                (model, input)
            };
            let mut lane = DetectLane::new(&input, None, 0);
            for place in 0..input.batch.most() {
                lane.place(place, &photo(&pictures[0]).unwrap(), &input).unwrap();
            }
            let answer = input.run(&mut opened, &lane, input.batch.most()).unwrap();
            let mut wide = Vec::new();
            let furthest = answer
                .floats(&mut wide)
                .unwrap()
                .iter()
                .fold(0.0_f32, |most, number| most.max(number.abs()));
            let output = &opened.outputs()[0].name;
            assert_eq!(of(output), Some(furthest), "{name} {output}");
        }
    }

    #[test]
    fn what_cannot_be_watched_is_said() {
        if runtime().is_err() {
            return eprintln!("skipped: no ONNX Runtime");
        }
        let folder = tempfile::tempdir().unwrap();
        let absent = calibrate(&folder.path().join("absent.onnx"), &white(folder.path()));
        assert!(absent.unwrap_err().cause.contains("absent.onnx"));
        let missing = calibrate(&fixtures().join("dynamic.onnx"), &[folder.path().join("none.png")]);
        assert!(missing.unwrap_err().cause.contains("none.png"));
    }
}
