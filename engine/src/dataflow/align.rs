//! Several inputs of one node: a camera's frame is complete when every input that is waited for has it.

use std::collections::{HashMap, VecDeque};

use flowrun_dsl::plan::Align;
use flowrun_dsl::port::RowKind;

use crate::batch::{Answer, Batch};
use crate::dataflow::node::Node;
use crate::rows::CameraId;

/// By camera and port: the newest batch of inputs that are not waited for.
pub type Newest = HashMap<CameraId, Vec<Option<Batch>>>;

/// What a camera's inputs hold until all have the same frame: by port, answers in order, with what the first port's came
/// with.
type Waiting<H> = Vec<VecDeque<(Answer, Option<H>)>>;

/// The inputs of a node. `H` is what an answer is sent on with.
pub struct Aligned<H> {
    kinds: Vec<RowKind>,
    waits: Vec<bool>,
    cameras: Vec<Waiting<H>>,
    touched: Vec<usize>,
    /// What came to ports that are not waited for.
    later: Vec<(CameraId, usize, Batch)>,
}

impl<H> Aligned<H> {
    /// Of a node with so many inputs.
    pub fn new(node: &Node, ports: usize) -> Self {
        let inputs = &node.plan().inputs;
        let waits = |port: usize| port == 0 || inputs.get(port).map(|input| input.align) != Some(Align::Latest);
        Aligned {
            kinds: inputs.iter().map(|input| input.rows.clone()).collect(),
            waits: (0..ports).map(waits).collect(),
            cameras: Vec::new(),
            touched: Vec::new(),
            later: Vec::new(),
        }
    }

    /// Takes what came to a port; `held` belongs to the first port's.
    pub fn push(&mut self, port: usize, answer: Answer, held: Option<H>) {
        let camera = answer.at.camera;
        if !self.waits[port] {
            self.later.push((camera, port, answer.batch));
            return;
        }
        let (place, ports) = (camera.0 as usize, self.waits.len());
        self.touched.push(place);
        if place >= self.cameras.len() {
            self.cameras
                .resize_with(place + 1, || (0..ports).map(|_| VecDeque::new()).collect());
        }
        self.cameras[place][port].push_back((answer, held));
    }

    /// Gives out the frames that are complete: the first port's answer, a batch a port, and what the answer came with.
    pub fn complete(&mut self, newest: &mut Newest, mut take: impl FnMut(Answer, Vec<Batch>, H)) {
        let ports = self.waits.len();
        // What came to ports that are not waited for while a gate was closed is newer than what was before the edit.
        for (camera, port, batch) in self.later.drain(..) {
            let newest = newest.entry(camera).or_default();
            newest.resize(ports, None);
            newest[port] = Some(batch);
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        for camera in self.touched.drain(..) {
            let waiting = &mut self.cameras[camera];
            while (0..ports).all(|port| !self.waits[port] || !waiting[port].is_empty()) {
                let mut batches = Vec::with_capacity(ports);
                let mut first = None;
                for (port, queue) in waiting.iter_mut().enumerate() {
                    if !self.waits[port] {
                        let newest = newest.get(&CameraId(camera as u32)).and_then(|ports| ports.get(port));
                        let newest = newest.cloned().flatten();
                        batches.push(newest.unwrap_or_else(|| Batch::empty(&self.kinds[port])));
                        continue;
                    }
                    let (answer, held) = queue.pop_front().expect("looked above");
                    batches.push(answer.batch.clone());
                    first = first.or(Some((answer, held)));
                }
                let (answer, held) = first.expect("the first input is waited for");
                take(answer, batches, held.expect("the first input keeps its capability"));
            }
        }
    }
}
