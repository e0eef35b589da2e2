//! Kernels: each a `.cu` file that a device's own compiler takes, and the same in Rust, which the twin runs.
//!
//! A kernel and its reference do the same operations in the same order, and the compiler may contract none of them, so
//! that they agree to the bit where all is done in fp32. [`Work`] names a kernel with its arguments as addresses; what is
//! safe to call is built on it in [`super::Pictures`] and [`super::Findings`].

mod complexity;
mod detections;
mod letterbox;
mod overlay;

pub use complexity::Complexity;
pub use detections::{BINS, BoxForm, Choice, Kept, Proposal, Propose, Suppress, anchors_of};
pub use letterbox::{Letterbox, Placed, format_number};
pub use overlay::{Outline, Overlay};

/// All kernels, one module.
pub const SOURCE: &str = concat!(
    include_str!("letterbox.cu"),
    include_str!("detections.cu"),
    include_str!("pictures.cu")
);

/// The kernels in [`SOURCE`], by name, in the order of [`Work::index`].
pub const NAMES: [&str; 9] = [
    "letterbox_f32",
    "letterbox_f16",
    "propose_f32",
    "propose_f16",
    "decode_f32",
    "decode_f16",
    "suppress",
    "overlay",
    "complexity",
];

/// A kernel with its arguments.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Pictures into a tensor.
    Letterbox(Letterbox),
    /// What a head proposes.
    Propose(Propose),
    /// What of it is kept.
    Suppress(Suppress),
    /// Outlines on a picture.
    Overlay(Overlay),
    /// How much there is to see.
    Complexity(Complexity),
}

/// How a kernel is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
}

/// Arguments as the driver reads them: each in the low bytes of a word. A kernel that takes fewer leaves the last ones unread.
pub type Arguments = ([u64; 9], usize);

impl Work {
    /// Which of [`NAMES`] it is.
    pub fn index(&self) -> usize {
        match self {
            Work::Letterbox(work) => usize::from(work.half),
            Work::Propose(work) => 2 + 2 * usize::from(work.boxes != BoxForm::Decoded) + usize::from(work.half),
            Work::Suppress(_) => 6,
            Work::Overlay(_) => 7,
            Work::Complexity(_) => 8,
        }
    }

    /// Blocks and threads.
    pub fn shape(&self) -> Shape {
        match self {
            Work::Letterbox(work) => work.shape(),
            Work::Propose(work) => work.shape(),
            Work::Suppress(work) => work.shape(),
            Work::Overlay(work) => work.shape(),
            Work::Complexity(work) => work.shape(),
        }
    }

    /// Arguments in the kernel's order.
    pub fn arguments(&self) -> Arguments {
        let mut words = [0; 9];
        let count = match self {
            Work::Letterbox(work) => fill(&mut words, &work.arguments()),
            Work::Propose(work) => fill(&mut words, &work.arguments()),
            Work::Suppress(work) => fill(&mut words, &work.arguments()),
            Work::Overlay(work) => fill(&mut words, &work.arguments()),
            Work::Complexity(work) => fill(&mut words, &work.arguments()),
        };
        (words, count)
    }

    /// Does on the host what the kernel does on a device.
    ///
    /// # Safety
    /// Every address is one of the host's, and holds what the kernel reads and writes there.
    pub unsafe fn on_host(&self) {
        // SAFETY: as the caller promises.
        unsafe {
            match self {
                Work::Letterbox(work) => work.on_host(),
                Work::Propose(work) => work.on_host(),
                Work::Suppress(work) => work.on_host(),
                Work::Overlay(work) => work.on_host(),
                Work::Complexity(work) => work.on_host(),
            }
        }
    }
}

fn fill(words: &mut [u64; 9], arguments: &[u64]) -> usize {
    words[..arguments.len()].copy_from_slice(arguments);
    arguments.len()
}

/// A slice at an address of the host.
///
/// # Safety
/// The address holds so many `T`, aligned, that nobody writes meanwhile.
unsafe fn host<'a, T>(address: u64, count: usize) -> &'a [T] {
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(address as usize as *const T, count) }
}

/// A slice at an address of the host.
///
/// # Safety
/// The address holds so many `T`, aligned, that nobody else uses meanwhile.
unsafe fn host_mut<'a, T>(address: u64, count: usize) -> &'a mut [T] {
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts_mut(address as usize as *mut T, count) }
}

#[cfg(test)]
mod tests {
    use super::super::result::compile;
    use super::super::sys;
    use super::*;

    #[test]
    fn kernels_compile_and_have_their_names() {
        if !sys::has_compiler() {
            eprintln!("skipped: no NVRTC");
            return;
        }
        for architecture in ["compute_75", "compute_90"] {
            let ptx = compile(SOURCE, architecture).unwrap();
            for name in NAMES {
                assert!(ptx.contains(&format!(".entry {name}(")), "{name} for {architecture}");
            }
            assert!(!ptx.contains("fma.rn.f32"), "products and sums are apart");
        }
    }

    #[test]
    fn a_kernel_that_does_not_compile_says_why() {
        if !sys::has_compiler() {
            eprintln!("skipped: no NVRTC");
            return;
        }
        let fault = compile("__global__ void broken( {", "compute_90").unwrap_err();
        assert!(fault.to_string().contains("does not compile"), "{fault}");
    }
}
