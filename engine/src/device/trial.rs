//! Kernels run once by themselves: what tests and benches compare with the host's own arithmetic.

use std::sync::Arc;

use half::f16;

use super::backend::Device;
use super::fault::{Fault, Result};
use super::findings::{Findings, HeadShape};
use super::kernels::{Choice, Complexity, Kept, Outline, Overlay, Work};
use super::memory::{Buffer, Pinned};
use super::pictures::{Fit, Pictures};
use super::stream::CudaStream;
use super::surface::FramePools;
use crate::frame::Picture;

/// Pictures letterboxed into a tensor `[pictures, 3, height, width]`; fp16 is widened.
///
/// # Errors
/// When a picture is broken, or as the driver tells.
pub fn letterboxed(
    device: &Arc<dyn Device>,
    pictures: &[(&Picture, Fit)],
    size: [u32; 2],
    half: bool,
) -> Result<Vec<f32>> {
    let stream = CudaStream::open(device)?;
    let mut batch = Pictures::new(device, FramePools::new(device, pictures.len()), pictures.len())?;
    batch.clear();
    for (place, (picture, fit)) in pictures.iter().enumerate() {
        batch.place(&stream, place, picture.layout(), picture.memory(), fit)?;
    }
    let numbers = 3 * pictures.len() * size[0] as usize * size[1] as usize;
    let tensor = Buffer::new(device, numbers * bytes(half))?;
    batch.letterbox(&stream, &tensor, half, size, pictures.len())?;
    read(&stream, &tensor, half, numbers)
}

/// What is kept of heads of this shape, one after the other.
///
/// # Errors
/// As the driver tells.
pub fn found(
    device: &Arc<dyn Device>,
    heads: &[f32],
    half: bool,
    shape: HeadShape,
    choices: &[(Choice, Option<&[bool]>)],
) -> Result<Vec<Vec<Kept>>> {
    let stream = CudaStream::open(device)?;
    let most = choices.iter().map(|(choice, _)| choice.max as usize).max().unwrap_or(1);
    let mut findings = Findings::new(device, shape, choices.len(), most)?;
    for (place, (choice, wanted)) in choices.iter().enumerate() {
        findings.choose(place, *choice, *wanted);
    }
    let there = write(&stream, device, heads, half)?;
    findings.find(&stream, &there, half, choices.len())?;
    stream.drain()?;
    Ok((0..choices.len()).map(|place| findings.kept(place).to_vec()).collect())
}

/// An NV12 picture without padding, `width` across, with outlines drawn on it.
///
/// # Errors
/// When the planes are no picture of this width, or as the driver tells.
pub fn overlaid(
    device: &Arc<dyn Device>,
    luma: &mut [u8],
    chroma: &mut [u8],
    width: u32,
    outlines: &[Outline],
) -> Result<()> {
    let height = rows(luma, width)?;
    let chroma_stride = 2 * width.div_ceil(2);
    if chroma.len() != chroma_stride as usize * height.div_ceil(2) as usize {
        return Err(Fault::Unfit("the planes are not of one picture".into()));
    }
    let stream = CudaStream::open(device)?;
    let (luma_there, chroma_there) = (send(&stream, device, luma)?, send(&stream, device, chroma)?);
    let mut packed = Vec::with_capacity(size_of_val(outlines));
    for outline in outlines {
        outline
            .corners
            .iter()
            .for_each(|corner| packed.extend(corner.to_le_bytes()));
        packed.extend(outline.thickness.to_le_bytes());
        packed.extend(outline.colour);
        packed.push(outline.unused);
    }
    let outlines_there = send(&stream, device, &packed)?;
    let work = Work::Overlay(Overlay {
        luma: luma_there.address(),
        chroma: chroma_there.address(),
        luma_stride: width,
        chroma_stride,
        width,
        height,
        outlines: outlines_there.address(),
        count: outlines.len() as u32,
    });
    // SAFETY: the planes are of this size, as was just seen, the outlines so many, and all live until `fetch` has drained.
    unsafe { stream.launch(&work)? };
    fetch(&stream, &luma_there, luma)?;
    fetch(&stream, &chroma_there, chroma)
}

/// The sum of how much neighbours on a plane differ.
///
/// # Errors
/// When it is no plane of this width, or as the driver tells.
pub fn complexity(device: &Arc<dyn Device>, luma: &[u8], width: u32) -> Result<u64> {
    let height = rows(luma, width)?;
    let stream = CudaStream::open(device)?;
    let (there, sum) = (send(&stream, device, luma)?, Buffer::new(device, 8)?);
    stream.clear(&sum)?;
    let work = Work::Complexity(Complexity {
        luma: there.address(),
        stride: width,
        width,
        height,
        sum: sum.address(),
    });
    // SAFETY: the plane is of this size, as was just seen, and both live until `fetch` has drained.
    unsafe { stream.launch(&work)? };
    let mut bytes = [0; 8];
    fetch(&stream, &sum, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn rows(plane: &[u8], width: u32) -> Result<u32> {
    if width == 0 || plane.is_empty() || !plane.len().is_multiple_of(width as usize) {
        return Err(Fault::Unfit(format!(
            "{} bytes are no plane {width} across",
            plane.len()
        )));
    }
    Ok((plane.len() / width as usize) as u32)
}

fn bytes(half: bool) -> usize {
    if half { 2 } else { 4 }
}

fn write(stream: &CudaStream, device: &Arc<dyn Device>, numbers: &[f32], half: bool) -> Result<Buffer> {
    let packed: Vec<u8> = match half {
        true => numbers
            .iter()
            .flat_map(|number| f16::from_f32(*number).to_le_bytes())
            .collect(),
        false => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
    };
    send(stream, device, &packed)
}

fn read(stream: &CudaStream, buffer: &Buffer, half: bool, numbers: usize) -> Result<Vec<f32>> {
    let mut packed = vec![0; numbers * bytes(half)];
    fetch(stream, buffer, &mut packed)?;
    Ok(match half {
        true => packed
            .as_chunks::<2>()
            .0
            .iter()
            .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
            .collect(),
        false => packed
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
    })
}

fn send(stream: &CudaStream, device: &Arc<dyn Device>, bytes: &[u8]) -> Result<Buffer> {
    let (mut here, there) = (Pinned::new(device, bytes.len())?, Buffer::new(device, bytes.len())?);
    here.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    stream.upload(&here, bytes.len(), &there)?;
    stream.drain()?;
    Ok(there)
}

fn fetch(stream: &CudaStream, from: &Buffer, to: &mut [u8]) -> Result<()> {
    let mut here = Pinned::new(from.device(), to.len())?;
    stream.download(from, to.len(), &mut here)?;
    stream.drain()?;
    to.copy_from_slice(&here.bytes()[..to.len()]);
    Ok(())
}

/// Every device that can be tested on: the twin, and the first of NVIDIA's where there is one.
pub fn every_device() -> Vec<Arc<dyn Device>> {
    let mut devices: Vec<Arc<dyn Device>> = vec![super::Twin::new(usize::MAX / 2)];
    match super::Gpu::open(0) {
        Ok(cuda) => devices.push(cuda),
        Err(_) => eprintln!("no CUDA device"),
    }
    devices
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outlines() -> impl Strategy<Value = Vec<Outline>> {
        let outline = (-5i32..45, -5i32..45, -5i32..45, -5i32..45, 0u32..5, any::<[u8; 3]>());
        proptest::collection::vec(outline, 0..6).prop_map(|all| {
            let made = |(x1, y1, x2, y2, thickness, colour)| Outline {
                corners: [x1, y1, x2, y2],
                thickness,
                colour,
                unused: 0,
            };
            all.into_iter().map(made).collect()
        })
    }

    proptest! {
        #[test]
        fn gpu_outlines_are_the_twins(width in 2u32..40, height in 2u32..40, outlines in outlines()) {
            let mut pictures = Vec::new();
            for device in every_device() {
                let mut luma = vec![16; (width * height) as usize];
                let mut chroma = vec![128; (2 * width.div_ceil(2) * height.div_ceil(2)) as usize];
                overlaid(&device, &mut luma, &mut chroma, width, &outlines).unwrap();
                pictures.push((luma, chroma));
            }
            prop_assert!(pictures.iter().all(|picture| *picture == pictures[0]));
        }

        #[test]
        fn gpu_complexity_is_the_sum_of_differences(width in 1u32..70, luma in proptest::collection::vec(any::<u8>(), 1..3000)) {
            let luma = &luma[..luma.len() / width as usize * width as usize];
            prop_assume!(!luma.is_empty());
            let row = |at: usize| at / width as usize;
            let mut wanted = 0;
            for (at, level) in luma.iter().enumerate() {
                let right = luma.get(at + 1).filter(|_| row(at) == row(at + 1));
                for other in right.into_iter().chain(luma.get(at + width as usize)) {
                    wanted += u64::from(level.abs_diff(*other));
                }
            }
            for device in every_device() {
                prop_assert_eq!(complexity(&device, luma, width).unwrap(), wanted);
            }
        }
    }

    #[test]
    fn an_outline_is_hollow() {
        let (mut luma, mut chroma) = (vec![0; 100], vec![0; 50]);
        let outline = Outline {
            corners: [2, 2, 8, 8],
            thickness: 1,
            colour: [200, 1, 2],
            unused: 0,
        };
        let device: Arc<dyn Device> = super::super::Twin::new(1 << 20);
        overlaid(&device, &mut luma, &mut chroma, 10, &[outline]).unwrap();
        assert_eq!((luma[22], luma[88], luma[55], luma[11], luma[99]), (200, 200, 0, 0, 0));
        assert_eq!(luma.iter().filter(|level| **level == 200).count(), 24);
    }
}
