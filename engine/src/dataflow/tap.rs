//! Where fragments of one worker meet: one publishes, others read. Never crosses workers.
//!
//! What waits in a reader's queue is bounded by the frames in flight, since each row there belongs to
//! an admitted frame that no leaf has answered yet.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::batch::Answer;
use crate::dataflow::{Edge, Out};
use crate::time::Tick;

/// The frontier of a stream that has ended.
const END: Tick = Tick::MAX;

struct Reader {
    queue: VecDeque<(Tick, Vec<Answer>)>,
    upper: Tick,
    wake: Activator,
}

/// One tap of one worker.
#[derive(Default)]
pub struct Tap {
    readers: Vec<Rc<RefCell<Reader>>>,
}

/// A tap shared by the fragments of one worker.
pub type TapRef = Rc<RefCell<Tap>>;

impl Tap {
    fn deliver(&self, tick: Tick, answers: &mut Vec<Answer>) {
        let Some((last, others)) = self.readers.split_last() else {
            return answers.clear();
        };
        for reader in others {
            reader.borrow_mut().queue.push_back((tick, answers.clone()));
        }
        last.borrow_mut().queue.push_back((tick, std::mem::take(answers)));
    }

    fn advance(&self, upper: Tick, delivered: bool) {
        for reader in &self.readers {
            let mut reader = reader.borrow_mut();
            if delivered || reader.upper < upper {
                reader.upper = upper;
                reader.wake.activate();
            }
        }
    }
}

/// Brings a tap into a fragment.
pub fn import<'scope>(scope: Scope<'scope, Tick>, tap: &TapRef) -> Edge<'scope> {
    let mut builder = OperatorBuilder::new("Import".into(), scope);
    let wake = scope.activator_for(builder.operator_info().address);
    let reader = Rc::new(RefCell::new(Reader {
        queue: VecDeque::new(),
        upper: 0,
        wake,
    }));
    tap.borrow_mut().readers.push(reader.clone());
    let (output, stream) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        move |_| {
            let Some(held) = capability.as_mut() else { return };
            let (mut reader, mut output) = (reader.borrow_mut(), output.activate());
            while let Some((tick, mut answers)) = reader.queue.pop_front() {
                output
                    .session_with_builder(&held.delayed(&tick))
                    .give_container(&mut answers);
            }
            match reader.upper {
                END => capability = None,
                upper if upper > *held.time() => held.downgrade(&upper),
                _ => {}
            }
        }
    });
    stream
}

/// Ends a stream in a tap.
pub fn publish(stream: Edge<'_>, tap: &TapRef) {
    let mut builder = OperatorBuilder::new("Publish".into(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    let tap = tap.clone();
    builder.build(move |_| {
        move |frontiers| {
            let tap = tap.borrow();
            let mut delivered = false;
            input.for_each(|capability, answers| {
                let tick = *capability.least().expect("a message has a time");
                tap.deliver(tick, answers);
                delivered = true;
            });
            tap.advance(frontiers[0].frontier().first().copied().unwrap_or(END), delivered);
        }
    });
}
