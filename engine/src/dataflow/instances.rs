//! The instances of one keyed operator on one worker, and how those of an edited graph take over from them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use flowrun_dsl::plan::{NodePlan, OnError, Plan};
use flowrun_dsl::port::RowKind;

use crate::batch::{Answer, Batch};
use crate::dataflow::align::Newest;
use crate::dataflow::failures::{Failures, panic_text};
use crate::registry::{Instance, Keyed, SavedState};
use crate::rows::CameraId;

/// A camera's instance, or why there is none any more.
enum Slot {
    Ready(Box<dyn Instance>),
    /// Its state cannot be trusted after a panic.
    Poisoned(Arc<str>),
}

/// Slots by the number of their camera: every answer asks for one, and a list has it in one step.
#[derive(Default)]
struct Slots(Vec<Option<Slot>>);

impl Slots {
    fn get_mut(&mut self, camera: CameraId) -> Option<&mut Slot> {
        self.0.get_mut(camera.0 as usize).and_then(Option::as_mut)
    }

    fn insert(&mut self, camera: CameraId, slot: Slot) {
        let place = camera.0 as usize;
        if place >= self.0.len() {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place] = Some(slot);
    }

    fn all(&self) -> impl Iterator<Item = (CameraId, &Slot)> {
        let slots = self.0.iter().enumerate();
        slots.filter_map(|(place, slot)| Some((CameraId(place as u32), slot.as_ref()?)))
    }

    fn drain(&mut self) -> impl Iterator<Item = (CameraId, Slot)> {
        let slots = std::mem::take(&mut self.0).into_iter().enumerate();
        slots.filter_map(|(place, slot)| Some((CameraId(place as u32), slot?)))
    }
}

/// What an edit does with the instances of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// They stay the same objects.
    Keep,
    /// They stay, and take new values of `live` parameters.
    Update,
    /// New ones go on from their state.
    Rebuild,
    /// New ones begin from nothing.
    Reset,
}

/// All instances of a node on one worker.
pub struct Instances {
    slots: Slots,
    /// By camera and port: the newest batch of inputs that are not waited for.
    pub newest: Newest,
    keyed: Arc<dyn Keyed>,
    output: RowKind,
    failures: Failures,
}

/// Shared by the worker and the fragment that is at work.
pub type InstancesRef = Rc<RefCell<Instances>>;

/// States by camera, as they were when an edit was made.
pub type SavedStates = HashMap<CameraId, SavedState>;

impl Instances {
    /// Those that were made in prepare.
    pub fn new(
        keyed: Arc<dyn Keyed>,
        ready: impl IntoIterator<Item = (CameraId, Box<dyn Instance>)>,
        failures: Failures,
    ) -> Self {
        let mut slots = Slots::default();
        for (camera, instance) in ready {
            slots.insert(camera, Slot::Ready(instance));
        }
        Instances {
            slots,
            newest: Newest::new(),
            output: keyed.output(),
            keyed,
            failures,
        }
    }

    /// Answers one frame in place; gives an error row if there was an error and somebody reads it.
    pub fn answer(&mut self, answer: &mut Answer, inputs: &[Batch]) -> Option<Answer> {
        let result = match self.slots.get_mut(answer.at.camera) {
            Some(Slot::Ready(instance)) => catch_unwind(AssertUnwindSafe(|| instance.process(&answer.at, inputs))),
            Some(Slot::Poisoned(cause)) => Ok(Err(format!("not processed: {cause}").into())),
            None => Ok(Err("no instance for this camera".into())),
        };
        let cause = match result {
            Ok(Ok(batch)) => {
                answer.batch = batch;
                return None;
            }
            Ok(Err(error)) => error.cause,
            Err(panic) => self.poison(answer.at.camera, &panic_text(panic.as_ref())),
        };
        answer.batch = Batch::empty(&self.output);
        answer.failed = true;
        self.failures.report(answer, &cause)
    }

    fn poison(&mut self, camera: CameraId, text: &str) -> String {
        let cause = format!("panicked: {text}");
        let fresh = match self.failures.policy() {
            OnError::Restart => catch_unwind(AssertUnwindSafe(|| self.keyed.instance(camera)))
                .ok()
                .and_then(Result::ok),
            OnError::Skip | OnError::Stop => None,
        };
        let slot = match fresh {
            Some(instance) => Slot::Ready(instance),
            None => Slot::Poisoned(cause.as_str().into()),
        };
        self.slots.insert(camera, slot);
        cause
    }

    /// The states of all instances whose state can be trusted.
    fn states(&self) -> SavedStates {
        let ready = self.slots.all().filter_map(|(camera, slot)| match slot {
            Slot::Ready(instance) => Some((camera, instance)),
            Slot::Poisoned(_) => None,
        });
        let saved = ready.filter_map(|(camera, instance)| {
            let state = catch_unwind(AssertUnwindSafe(|| instance.snapshot())).ok()?;
            Some((camera, state))
        });
        saved.collect()
    }

    /// Takes over from the instances before an edit. What they knew is given back, unless they stay as they are; where
    /// `saved` has a state of the same operator, that counts instead.
    pub fn succeed(
        &mut self,
        before: &mut Instances,
        takeover: Takeover,
        plan: (&Plan, &NodePlan),
        mut saved: SavedStates,
    ) -> SavedStates {
        let knew = if takeover == Takeover::Keep {
            SavedStates::new()
        } else {
            before.states()
        };
        if matches!(takeover, Takeover::Keep | Takeover::Update) {
            self.newest = std::mem::take(&mut before.newest);
        }
        for (camera, slot) in before.slots.drain() {
            let Some(values) = values_of(plan, camera) else {
                continue;
            };
            match takeover {
                Takeover::Keep => {
                    self.slots.insert(camera, slot);
                }
                Takeover::Update => {
                    let slot = match slot {
                        Slot::Ready(mut instance) => {
                            let state = saved.remove(&camera);
                            let update = AssertUnwindSafe(|| {
                                state.into_iter().for_each(|state| instance.restore(state));
                                instance.update(values);
                            });
                            match catch_unwind(update) {
                                Ok(()) => Slot::Ready(instance),
                                Err(panic) => Slot::Poisoned(panicked(panic.as_ref())),
                            }
                        }
                        poisoned => poisoned,
                    };
                    self.slots.insert(camera, slot);
                }
                Takeover::Rebuild => {
                    let state = saved.remove(&camera).or_else(|| match slot {
                        Slot::Ready(instance) => catch_unwind(AssertUnwindSafe(|| instance.snapshot())).ok(),
                        Slot::Poisoned(_) => None,
                    });
                    self.restore(camera, state);
                }
                Takeover::Reset => {
                    let state = saved.remove(&camera);
                    self.restore(camera, state);
                }
            }
        }
        let slots = &mut self.slots;
        self.newest.retain(|camera, _| slots.get_mut(*camera).is_some());
        knew
    }

    /// Tells all that another model stands before them from now on.
    pub fn renew(&mut self) {
        for slot in self.slots.0.iter_mut().flatten() {
            if let Slot::Ready(instance) = slot
                && let Err(panic) = catch_unwind(AssertUnwindSafe(|| instance.renew()))
            {
                *slot = Slot::Poisoned(panicked(panic.as_ref()));
            }
        }
    }

    fn restore(&mut self, camera: CameraId, state: Option<SavedState>) {
        let (Some(Slot::Ready(instance)), Some(state)) = (self.slots.get_mut(camera), state) else {
            return;
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| instance.restore(state))) {
            self.slots.insert(camera, Slot::Poisoned(panicked(panic.as_ref())));
        }
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Arc<str> {
    format!("panicked when the graph was edited: {}", panic_text(panic)).into()
}

/// The parameters of a node for a camera; none where it no longer sees it.
fn values_of<'p>(
    (plan, node): (&'p Plan, &'p NodePlan),
    camera: CameraId,
) -> Option<&'p flowrun_dsl::params::ParamValues> {
    let index = plan.camera_index(camera.0)?;
    if !node.cameras.contains(&index) {
        return None;
    }
    let name = &plan.cameras[index].name;
    Some(node.overrides.get(name).unwrap_or(&node.params))
}
