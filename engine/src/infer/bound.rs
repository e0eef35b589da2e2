//! A model whose input and output lie in a device's memory, bound once for each size of batch.
//!
//! `ort`'s own `bind_input` copies a borrowed tensor through a session of its own and waits for itself for ever
//! (2.0.0-rc.15), so both ends are bound by the C interface.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::sync::Arc;

use half::f16;
use ort::AsPointer;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::value::{Shape, TensorRefMut};

use super::provider::Provider;
use super::runner::{Binding, EndValue, Opened, PLAIN_RUNS, Runner};
use super::runtime::{is_since, runtime};
use super::session::{Element, Model, TensorSpec, guarded};
use crate::device::{Buffer, Device, Fault};
use crate::errors::{OperatorError, Result};

/// A model bound to buffers of its own: opened once for all sizes, or once for each.
pub struct Bound {
    // Before the buffers that its bindings name: fields are dropped in this order.
    runner: Runner,
    ends: [TensorSpec; 2],
    provider: Provider,
    input: Buffer,
    output: Buffer,
}

/// One end of a model.
struct End<'a> {
    name: &'a str,
    element: Element,
    buffer: &'a Buffer,
    shape: Vec<i64>,
}

impl Bound {
    /// Binds models for sizes of batches each. `input` and `output` are the shapes of one picture's. Models that record
    /// their runs are run on a thread of their own.
    ///
    /// # Errors
    /// When there is no memory, or ONNX Runtime refuses.
    pub fn new(
        models: Vec<(Model, Vec<usize>)>,
        device: &Arc<dyn Device>,
        input: &[usize],
        output: &[usize],
    ) -> Result<Self> {
        let (first, _) = models.first().ok_or("no model to bind")?;
        let ends = [first.input().clone(), first.outputs()[0].clone()];
        let (provider, recorded) = (first.provider(), first.is_recorded());
        let most = models.iter().flat_map(|(_, sizes)| sizes).copied().max().unwrap_or(1);
        let buffer = |spec: &TensorSpec, shape: &[usize]| {
            Buffer::new(device, most * shape.iter().product::<usize>() * spec.element.bytes())
        };
        let buffers = [buffer(&ends[0], input)?, buffer(&ends[1], output)?];
        let mut opened = Vec::new();
        for (model, sizes) in models {
            let mut bindings = BTreeMap::new();
            for size in sizes {
                let shape = |of: &[usize]| {
                    let sides = std::iter::once(size).chain(of.iter().copied());
                    sides.map(|side| side as i64).collect()
                };
                let end = |index: usize, of| End {
                    name: &ends[index].name,
                    element: ends[index].element,
                    buffer: &buffers[index],
                    shape: shape(of),
                };
                let binding = bind(&model, &[end(0, input), end(1, output)]);
                let about = |cause| OperatorError::new(format!("the model cannot be bound for {size}: {cause}"));
                bindings.insert(size, binding.map_err(about)?);
            }
            opened.push(Opened { bindings, model });
        }
        let [input, output] = buffers;
        Ok(Bound {
            runner: Runner::new(opened, recorded)?,
            ends,
            provider,
            input,
            output,
        })
    }

    /// What computes the model.
    pub fn provider(&self) -> Provider {
        self.provider
    }
    /// What the model reads.
    pub fn reads(&self) -> Element {
        self.ends[0].element
    }
    /// What the model writes.
    pub fn writes(&self) -> Element {
        self.ends[1].element
    }
    /// Where it reads.
    pub fn input(&self) -> &Buffer {
        &self.input
    }
    /// Where it writes.
    pub fn output(&self) -> &Buffer {
        &self.output
    }

    /// Runs the model over so many pictures.
    ///
    /// ONNX Runtime waits for its stream at the end of a run. That costs some ten microseconds, and cannot be spared: where it
    /// does not wait (`disable_synchronize_execution_providers`), it does not give back the pinned memory of the run either,
    /// and ends the process when the session is dropped (1.31).
    ///
    /// # Errors
    /// When no such size was bound, or a kernel fails.
    pub fn run(&mut self, size: usize) -> Result<(), Fault> {
        self.runner.run(size)
    }

    /// As [`Bound::run`], and nothing of it is recorded: the provider looks for its kernels, which takes long, while others
    /// work. An ONNX Runtime before 1.18 would record all the same, and is asked for nothing.
    ///
    /// # Errors
    /// As there.
    pub fn warm_up(&mut self, size: usize) -> Result<(), Fault> {
        match runtime() {
            Ok(runtime) if is_since(runtime.version(), PLAIN_RUNS) => self.runner.run_plainly(size),
            _ => Ok(()),
        }
    }
}

fn bind(model: &Model, [input, output]: &[End<'_>; 2]) -> Result<Binding, String> {
    guarded(|| {
        let mut binding = model.session().create_binding()?;
        let (from, to) = (tensor(input)?, tensor(output)?);
        let name = |end: &End<'_>| CString::new(end.name).map_err(|error| ort::Error::new(error.to_string()));
        let (from_name, to_name) = (name(input)?, name(output)?);
        // SAFETY: names end in NUL, and both values live as long as the binding does.
        unsafe {
            let api = ort::api();
            ort::Error::result_from_status((api.BindInput)(binding.ptr_mut(), from_name.as_ptr(), from.ptr()))?;
            ort::Error::result_from_status((api.BindOutput)(binding.ptr_mut(), to_name.as_ptr(), to.ptr()))?;
        }
        Ok(Binding {
            binding,
            _ends: [from, to],
        })
    })
}

fn tensor(end: &End<'_>) -> ort::Result<EndValue> {
    let device = end.buffer.device();
    let (place, number) = if device.is_cuda() {
        (AllocationDevice::CUDA, device.chip().ordinal as i32)
    } else {
        (AllocationDevice::CPU, 0)
    };
    let info = MemoryInfo::new(place, number, AllocatorType::Device, MemoryType::Default)?;
    let shape = Shape::new(end.shape.iter().copied());
    let start = end.buffer.address() as usize as *mut std::ffi::c_void;
    // SAFETY: the buffer is as long as the largest batch needs, and lives as long as the binding does.
    unsafe {
        Ok(match end.element {
            Element::F32 => TensorRefMut::<f32>::from_raw(info, start.cast(), shape)?.into_dyn(),
            Element::F16 => TensorRefMut::<f16>::from_raw(info, start.cast(), shape)?.into_dyn(),
        })
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("runner", &self.runner)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}
