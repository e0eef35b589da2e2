//! Where fragments of one worker meet: one publishes, others read. Never crosses workers.
//!
//! Here an edit of the graph takes effect. A *held* tap keeps back all that comes, and the frontier with it, so that the
//! workers can agree on a tick T; then older readers end at T, newer ones begin there, and what was held goes on. A
//! fragment that takes another's place publishes behind it: what it has is heard when the older one has ended.
//!
//! What waits in a reader's queue is bounded by the frames in flight, since each row there belongs to
//! an admitted frame that no leaf has answered yet.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::batch::Answer;
use crate::dataflow::{Edge, Out};
use crate::run::context::Context;
use crate::time::Tick;

/// The frontier of a stream that has ended, and the beginning of a reader that stands by.
pub const END: Tick = Tick::MAX;

type Rows = VecDeque<(Tick, Vec<Answer>)>;

/// One fragment's view of a tap: rows of `from..until`.
pub struct Reader {
    from: Tick,
    until: Tick,
    queue: Rows,
    upper: Tick,
    wake: Activator,
}

/// One fragment's output to a tap.
struct Publisher {
    queue: Rows,
    upper: Tick,
}

/// One tap of one worker.
#[derive(Default)]
pub struct Tap {
    publishers: VecDeque<Rc<RefCell<Publisher>>>,
    readers: Vec<Rc<RefCell<Reader>>>,
    /// What came since the tap was held.
    held: Option<Rows>,
    /// No row before this tick is still to come.
    upper: Tick,
    /// No row at or after this tick has been: a row may run ahead of the frontier.
    ahead: Tick,
    /// At the taps of cameras: the first tick of the newest version, and whom to tell about frames from there on.
    cut: Option<(Tick, Arc<Context>)>,
}

/// A tap shared by the fragments of one worker.
pub type TapRef = Rc<RefCell<Tap>>;
/// A reader shared by its fragment and the worker.
pub type ReaderRef = Rc<RefCell<Reader>>;

impl Tap {
    /// The first tick at which the tap can still be cut.
    pub fn passed(&self) -> Tick {
        self.upper.max(self.ahead)
    }

    /// Keeps back what comes from now on.
    pub fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Lets through what was held, and what comes.
    pub fn release(&mut self) {
        for (tick, rows) in self.held.take().unwrap_or_default() {
            self.deliver(tick, rows);
        }
        self.pump();
    }

    /// Tells the ledger of frames from this tick on.
    pub fn mark(&mut self, cut: Option<(Tick, Arc<Context>)>) {
        self.cut = cut;
    }

    /// Whether all that will ever come here has come.
    pub fn has_ended(&self) -> bool {
        self.publishers.is_empty() && self.upper == END
    }

    /// Whether nobody publishes or reads here any more.
    pub fn is_deserted(&self) -> bool {
        self.publishers.is_empty() && self.readers.is_empty()
    }

    /// Takes what the publisher whose turn it is has brought.
    fn pump(&mut self) {
        let mut upper = self.upper;
        while let Some(publisher) = self.publishers.front().cloned() {
            let rows = std::mem::take(&mut publisher.borrow_mut().queue);
            for (tick, rows) in rows {
                match &mut self.held {
                    Some(held) => held.push_back((tick, rows)),
                    None => self.deliver(tick, rows),
                }
            }
            // While the tap is held its frontier stands, and with it the turn of who comes next.
            if self.held.is_some() {
                return;
            }
            upper = upper.max(publisher.borrow().upper);
            if publisher.borrow().upper < END {
                break;
            }
            self.publishers.pop_front();
            if !self.publishers.is_empty() {
                upper = self.upper;
            }
        }
        self.upper = upper;
        for reader in &self.readers {
            let mut reader = reader.borrow_mut();
            if reader.from < END && reader.upper < upper {
                reader.upper = upper;
                reader.wake.activate();
            }
        }
        self.readers.retain(|reader| {
            let reader = reader.borrow();
            reader.upper < reader.until
        });
    }

    fn deliver(&mut self, tick: Tick, mut rows: Vec<Answer>) {
        self.ahead = self.ahead.max(tick + 1);
        if let Some((cut, context)) = &self.cut
            && tick >= *cut
        {
            let ledger = &context.ledger;
            rows.iter()
                .for_each(|answer| ledger.first_after_cut(&answer.at, answer.number));
        }
        let takes = |reader: &&Rc<RefCell<Reader>>| {
            let reader = reader.borrow();
            reader.from <= tick && tick < reader.until
        };
        let mut takers = self.readers.iter().filter(takes).peekable();
        while let Some(reader) = takers.next() {
            let share = match takers.peek() {
                Some(_) => rows.clone(),
                None => std::mem::take(&mut rows),
            };
            let mut reader = reader.borrow_mut();
            reader.queue.push_back((tick, share));
            reader.wake.activate();
        }
    }
}

impl Reader {
    /// From this tick on it gets rows.
    pub fn begin(&mut self, from: Tick) {
        self.from = from;
        self.wake.activate();
    }

    /// It gets none from this tick on. The tap may stand there already and never move again, so its fragment is woken.
    pub fn end(&mut self, until: Tick) {
        self.until = until;
        self.wake.activate();
    }
}

/// Brings a tap into a fragment; the reader stands by until it is told to begin.
pub fn import<'scope>(scope: Scope<'scope, Tick>, tap: &TapRef) -> (Edge<'scope>, ReaderRef) {
    let mut builder = OperatorBuilder::new("Import".into(), scope);
    let wake = scope.activator_for(builder.operator_info().address);
    let reader = Rc::new(RefCell::new(Reader {
        from: END,
        until: END,
        queue: VecDeque::new(),
        upper: 0,
        wake,
    }));
    tap.borrow_mut().readers.push(reader.clone());
    let (output, stream) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let own = reader.clone();
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        move |_| {
            let Some(held) = capability.as_mut() else { return };
            let (mut reader, mut output) = (own.borrow_mut(), output.activate());
            while let Some((tick, mut answers)) = reader.queue.pop_front() {
                output
                    .session_with_builder(&held.delayed(&tick))
                    .give_container(&mut answers);
            }
            match reader.upper {
                upper if upper >= reader.until => capability = None,
                upper if upper > *held.time() => held.downgrade(&upper),
                _ => {}
            }
        }
    });
    (stream, reader)
}

/// Ends a stream in a tap.
pub fn publish(stream: Edge<'_>, tap: &TapRef) {
    let publisher = Rc::new(RefCell::new(Publisher {
        queue: VecDeque::new(),
        upper: 0,
    }));
    tap.borrow_mut().publishers.push_back(publisher.clone());
    let mut builder = OperatorBuilder::new("Publish".into(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    let tap = tap.clone();
    builder.build(move |_| {
        move |frontiers| {
            {
                let mut publisher = publisher.borrow_mut();
                input.for_each(|capability, answers| {
                    let tick = *capability.least().expect("a message has a time");
                    publisher.queue.push_back((tick, std::mem::take(answers)));
                });
                publisher.upper = frontiers[0].frontier().first().copied().unwrap_or(END);
            }
            tap.borrow_mut().pump();
        }
    });
}
