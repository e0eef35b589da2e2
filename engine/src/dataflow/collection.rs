//! Windowed aggregates as differential collections (laws 7 and 8).
//!
//! Rows become updates `((group, window), value)` at their tick, so a late row corrects the window it
//! belongs to. Results are gathered on one worker, where each tick's changes become one answer: a row
//! a changed window, with the event time it is complete through and the cameras missing from it. A row
//! is sent once more, unchanged, when its window closes: then it is complete.
//!
//! Memory is bounded by the rows of the windows retained: when a window's retention is over its rows
//! are taken back out of the collection, and what comes for it after that is an error row's business.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use differential_dataflow::AsCollection;
use flowrun_dsl::schema::{Cell, Schema};
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

use crate::batch::{Answer, Batch};
use crate::dataflow::failures::Failures;
use crate::dataflow::node::Node;
use crate::dataflow::{Edge, Out};
use crate::health::SILENT_AFTER;
use crate::operator::{Datum, Window};
use crate::registry::ErasedQuery;
use crate::rows::{At, CameraId, Rows, Table};
use crate::run::context::Context;
use crate::time::{EventTime, TICK, Tick, nanos};

/// A group in a window, by the window's start in event time.
type Key = (i64, Vec<Datum>);
type Value = Vec<Datum>;
type Update<D> = (D, Tick, isize);

/// A live camera that has not answered for this many ticks is missing from results.
const SILENT_TICKS: Tick = (SILENT_AFTER.as_millis() / TICK.as_millis()) as Tick;

/// The cameras that a query covers, which edits of the graph change while it runs: each list from a tick on.
pub struct QueryCameras {
    lists: ArcSwap<Vec<(Tick, Arc<[CameraId]>)>>,
    edits: AtomicU64,
}

impl QueryCameras {
    /// From the start.
    pub fn new(cameras: impl IntoIterator<Item = CameraId>) -> Self {
        QueryCameras {
            lists: ArcSwap::from_pointee(vec![(0, cameras.into_iter().collect())]),
            edits: AtomicU64::new(0),
        }
    }

    /// From a tick on, of which no row has come yet.
    pub fn edit(&self, from: Tick, cameras: impl IntoIterator<Item = CameraId>) {
        let cameras: Arc<[CameraId]> = cameras.into_iter().collect();
        self.lists.rcu(|lists| {
            let last = lists.last().cloned().into_iter();
            last.chain([(from, cameras.clone())]).collect::<Vec<_>>()
        });
        self.edits.fetch_add(1, Ordering::Release);
    }

    fn edits(&self) -> u64 {
        self.edits.load(Ordering::Acquire)
    }

    fn newest(&self) -> Arc<[CameraId]> {
        self.at(Tick::MAX)
    }

    /// Those that it covers at a tick.
    fn at(&self, tick: Tick) -> Arc<[CameraId]> {
        let lists = self.lists.load();
        let list = lists.iter().rev().find(|(from, _)| *from <= tick);
        list.or(lists.first())
            .map_or_else(|| Arc::from([]), |(_, list)| list.clone())
    }
}

/// How far a camera has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Progress {
    camera: u32,
    event_time: i64,
    failed: bool,
}

/// The starts of the windows that hold a moment, earliest first.
fn windows_of(window: Window, at: i64) -> impl Iterator<Item = i64> {
    let (size, every) = (nanos(window.size).max(1), nanos(window.every).max(1));
    let last = at.div_euclid(every) * every;
    let first = last - (size - 1) / every * every;
    (0..)
        .map(move |step| first + step * every)
        .take_while(move |start| *start <= last)
        .filter(move |start| at - start < size)
}

/// Renders a query.
pub fn render<'scope>(
    scope: Scope<'scope, Tick>,
    stream: Edge<'scope>,
    node: &Node,
    query: &Arc<dyn ErasedQuery>,
    cameras: &Arc<QueryCameras>,
) -> Edge<'scope> {
    let (updates, progress) = admit(scope, stream, node, query, cameras);
    let fold = query.clone();
    let results = updates.as_collection().reduce_named(
        &node.name,
        move |_: &Key, values: &[(&Value, isize)], results: &mut Vec<(Value, isize)>| {
            let present: Vec<(&Value, isize)> = values
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(value, count)| (*value, *count))
                .collect();
            if !present.is_empty() {
                results.push((fold.fold(&present), 1));
            }
        },
    );
    gather(scope, results.inner, progress, node, query, cameras)
}

/// Turns answers into updates, and takes them back when their window's retention is over.
fn admit<'scope>(
    scope: Scope<'scope, Tick>,
    stream: Edge<'scope>,
    node: &Node,
    query: &Arc<dyn ErasedQuery>,
    cameras: &Arc<QueryCameras>,
) -> (
    Stream<'scope, Tick, Vec<Update<(Key, Value)>>>,
    Stream<'scope, Tick, Vec<Progress>>,
) {
    let mut builder = OperatorBuilder::new(format!("{} rows", node.name), scope);
    let mut input = builder.new_input(stream, Pipeline);
    let (updates, update_stream) = builder.new_output::<Vec<Update<(Key, Value)>>>();
    let (progress, progress_stream) = builder.new_output::<Vec<Progress>>();
    let mut updates: Out<Update<(Key, Value)>> = Out::from(updates);
    let mut progress: Out<Progress> = Out::from(progress);
    let (query, node, cameras) = (query.clone(), node.clone(), cameras.clone());
    let (window, failures) = (query.window(), Failures::of(&node));
    let keep = nanos(window.size).saturating_add(nanos(window.retain));
    builder.build(move |_| {
        // By window start: what was put in and must be taken out again. The horizon is each camera's
        // own event time, so that a camera ahead of the others does not close their windows.
        let mut held: HashMap<u32, BTreeMap<i64, Vec<(Key, Value)>>> = HashMap::new();
        let mut newest: HashMap<u32, i64> = HashMap::new();
        let mut rows = Vec::new();
        let mut edits = 0;
        move |_| {
            // A camera that is gone may come back as another one, with times of its own.
            if edits != cameras.edits() {
                edits = cameras.edits();
                newest.retain(|camera, _| cameras.newest().contains(&CameraId(*camera)));
            }
            let (mut updates, mut progress) = (updates.activate(), progress.activate());
            input.for_each(|capability, answers| {
                let Some(held_capability) = capability.retain_least(0) else {
                    return;
                };
                let Some(progress_capability) = capability.retain_least(1) else {
                    return;
                };
                let tick = *held_capability.time();
                let mut changes: Vec<Update<(Key, Value)>> = Vec::new();
                let mut moved: BTreeMap<u32, Progress> = BTreeMap::new();
                // Windows of cameras that are gone end with those of the others.
                let of_all = newest
                    .values()
                    .max()
                    .map_or(i64::MIN, |newest| newest.saturating_sub(keep));
                held.retain(|camera, windows| {
                    if newest.contains_key(camera) {
                        return true;
                    }
                    let later = windows.split_off(&of_all);
                    let over = std::mem::replace(windows, later).into_values().flatten();
                    changes.extend(over.map(|row| (row, tick, -1)));
                    !windows.is_empty()
                });
                for answer in answers.iter() {
                    let (camera, at) = (answer.at.camera.0, answer.at.event_time.0);
                    let newest = newest.entry(camera).or_insert(at);
                    *newest = (*newest).max(at);
                    moved.insert(
                        camera,
                        Progress {
                            camera,
                            event_time: *newest,
                            failed: answer.failed,
                        },
                    );
                    let horizon = newest.saturating_sub(keep);
                    query.rows(answer, &mut rows);
                    let of_camera = held.entry(camera).or_default();
                    for (group, value) in rows.drain(..) {
                        let mut too_late = false;
                        for start in windows_of(window, at) {
                            if start < horizon {
                                too_late = true;
                                continue;
                            }
                            let key = (start, group.clone());
                            of_camera.entry(start).or_default().push((key.clone(), value.clone()));
                            changes.push(((key, value.clone()), tick, 1));
                        }
                        if too_late {
                            failures.report(answer, "a row came after its window's retention was over");
                        }
                    }
                    while let Some(oldest) = of_camera.first_entry() {
                        if *oldest.key() >= horizon {
                            break;
                        }
                        changes.extend(oldest.remove().into_iter().map(|row| (row, tick, -1)));
                    }
                }
                let now = node.context.clock.now_us();
                if let Some(leaf) = &node.leaf {
                    leaf.answered(answers, now);
                }
                node.metrics.answered(answers, now);
                answers.clear();
                let mut moved: Vec<Progress> = moved.into_values().collect();
                progress
                    .session_with_builder(&progress_capability)
                    .give_container(&mut moved);
                if !changes.is_empty() {
                    updates
                        .session_with_builder(&held_capability)
                        .give_container(&mut changes);
                }
            });
        }
    });
    (update_stream, progress_stream)
}

/// A result as it was last sent.
struct Sent {
    value: Value,
    revision: i64,
}

/// All that one tick brought.
#[derive(Default)]
struct Changes {
    /// By key: the value that holds from now on; none when there is none any more.
    results: BTreeMap<Key, Option<Value>>,
    progress: Vec<Progress>,
}

/// How far all cameras of a query have come.
#[derive(Default)]
struct Watermarks {
    cameras: HashMap<u32, (i64, Tick, bool)>,
}

/// What results hold for.
struct Completeness {
    /// The event time through which they are complete; none while some camera has not said anything.
    through: Option<i64>,
    /// The cameras that are not in them.
    missing: Vec<CameraId>,
}

impl Watermarks {
    /// Takes in a tick's progress.
    fn move_on(&mut self, changes: &Changes, tick: Tick, context: &Context, of: &[CameraId]) -> Completeness {
        for moved in &changes.progress {
            self.cameras
                .insert(moved.camera, (moved.event_time, tick, moved.failed));
        }
        self.complete(tick, context, of)
    }

    /// What results hold for at a tick.
    fn complete(&self, tick: Tick, context: &Context, of: &[CameraId]) -> Completeness {
        let (mut through, mut missing) = (i64::MAX, Vec::new());
        for camera in of {
            // Where it is gone, an edit that nobody has told the query of is on its way.
            let Some(params) = context.ledger.params(*camera) else {
                continue;
            };
            let lateness = nanos(params.lateness);
            match self.cameras.get(&camera.0) {
                Some((_, _, true)) => missing.push(*camera),
                _ if context.ledger.ended_by(*camera, tick) => {}
                Some((event_time, seen, false))
                    if context.clock.is_offline() || tick.saturating_sub(*seen) < SILENT_TICKS =>
                {
                    through = through.min(event_time.saturating_sub(lateness));
                }
                None if context.clock.is_offline() => through = i64::MIN,
                _ => missing.push(*camera),
            }
        }
        Completeness {
            through: (through > i64::MIN).then_some(through),
            missing,
        }
    }
}

/// Gathers results and progress on one worker and answers once a tick.
fn gather<'scope>(
    scope: Scope<'scope, Tick>,
    results: Stream<'scope, Tick, Vec<Update<(Key, Value)>>>,
    progress: Stream<'scope, Tick, Vec<Progress>>,
    node: &Node,
    query: &Arc<dyn ErasedQuery>,
    cameras: &Arc<QueryCameras>,
) -> Edge<'scope> {
    let mut builder = OperatorBuilder::new(format!("{} answers", node.name), scope);
    let target = node.index as u64;
    let mut results = builder.new_input(results, Exchange::new(move |_: &Update<(Key, Value)>| target));
    let mut progress = builder.new_input(progress, Exchange::new(move |_: &Progress| target));
    let (output, stream) = builder.new_output::<Vec<Answer>>();
    let mut output: Out<Answer> = Out::from(output);
    let (context, schema, window) = (node.context.clone(), query.schema(), query.window());
    let cameras = cameras.clone();
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        let mut waiting: BTreeMap<Tick, Changes> = BTreeMap::new();
        let mut results_sent = Results::default();
        move |frontiers| {
            let Some(held) = capability.as_mut() else { return };
            results.for_each(|_, updates| {
                for ((key, value), tick, diff) in updates.drain(..) {
                    let slot = waiting.entry(tick).or_default().results.entry(key).or_default();
                    // The new value comes with +1, the one it replaces with -1, in any order.
                    if diff > 0 {
                        *slot = Some(value);
                    }
                }
            });
            progress.for_each(|capability, moved| {
                let tick = *capability.least().expect("a message has a time");
                waiting.entry(tick).or_default().progress.append(moved);
            });
            let upper = frontiers
                .iter()
                .filter_map(|frontier| frontier.frontier().first().copied())
                .min();
            let mut output = output.activate();
            let mut give = |tick: Tick, rows: Vec<Revised>, completeness: Completeness, sequence: u64| {
                let answer = answer(rows, &schema, window, &completeness, &context, sequence);
                output
                    .session_with_builder(&held.delayed(&tick))
                    .give_container(&mut vec![answer]);
            };
            while let Some(first) = waiting.first_entry() {
                let tick = *first.key();
                if upper.is_some_and(|upper| upper <= tick) {
                    break;
                }
                let of = cameras.at(tick);
                let completeness = results_sent.watermarks.move_on(first.get(), tick, &context, &of);
                let rows = results_sent.take(first.remove(), tick, window, completeness.through);
                if !rows.is_empty() {
                    give(tick, rows, completeness, results_sent.next());
                }
            }
            match upper {
                Some(upper) if upper > *held.time() => held.downgrade(&upper),
                Some(_) => {}
                // All cameras have ended: what is still open is complete now.
                None => {
                    let last = results_sent.last_tick.saturating_add(1).max(*held.time());
                    let completeness = results_sent.watermarks.complete(last, &context, &cameras.at(last));
                    let rows = results_sent.take(Changes::default(), last, window, completeness.through);
                    if !rows.is_empty() {
                        give(last, rows, completeness, results_sent.next());
                    }
                    capability = None;
                }
            }
        }
    });
    stream
}

/// A window's group, its values, and how often it has been sent.
type Revised = (Key, Value, i64);

/// What has been said so far.
#[derive(Default)]
struct Results {
    watermarks: Watermarks,
    sent: BTreeMap<Key, Sent>,
    incomplete: BTreeSet<Key>,
    last_tick: Tick,
    sequence: u64,
}

impl Results {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// What a tick adds to what has been said: changed windows, and windows that are complete now.
    fn take(&mut self, changes: Changes, tick: Tick, window: Window, through: Option<i64>) -> Vec<Revised> {
        self.last_tick = tick;
        let mut rows: Vec<Revised> = Vec::new();
        for (key, value) in changes.results {
            let Some(value) = value else { continue };
            let revision = self.sent.get(&key).map_or(0, |before| before.revision + 1);
            if self.sent.get(&key).is_some_and(|before| before.value == value) {
                continue;
            }
            self.sent.insert(
                key.clone(),
                Sent {
                    value: value.clone(),
                    revision,
                },
            );
            self.incomplete.insert(key.clone());
            rows.push((key, value, revision));
        }
        let Some(through) = through else { return rows };
        self.close(&mut rows, window, through);
        self.forget(window, through);
        rows
    }

    /// Adds windows that have just become complete and did not change in this tick.
    fn close(&mut self, rows: &mut Vec<Revised>, window: Window, through: i64) {
        let changed: BTreeSet<Key> = rows.iter().map(|(key, ..)| key.clone()).collect();
        while let Some(key) = self.incomplete.first().cloned() {
            if key.0.saturating_add(nanos(window.size)) > through {
                break;
            }
            self.incomplete.remove(&key);
            if let (Some(known), false) = (self.sent.get_mut(&key), changed.contains(&key)) {
                known.revision += 1;
                rows.push((key, known.value.clone(), known.revision));
            }
        }
    }

    /// Forgets windows whose retention is over.
    fn forget(&mut self, window: Window, through: i64) {
        let horizon = through
            .saturating_sub(nanos(window.size))
            .saturating_sub(nanos(window.retain));
        while self.sent.first_key_value().is_some_and(|(key, _)| key.0 < horizon) {
            self.sent.pop_first();
        }
    }
}

fn answer(
    rows: Vec<Revised>,
    schema: &Arc<Schema>,
    window: Window,
    completeness: &Completeness,
    context: &Context,
    sequence: u64,
) -> Answer {
    let missing: Vec<Arc<str>> = completeness
        .missing
        .iter()
        .map(|camera| context.names.camera(*camera))
        .collect();
    let missing: Arc<str> = missing.join(",").into();
    let table = rows.into_iter().map(|((start, group), value, revision)| {
        let end = start.saturating_add(nanos(window.size));
        let mut cells = vec![Cell::Time(start), Cell::Time(end)];
        cells.extend(group.iter().map(Cell::from));
        cells.extend(value.iter().map(Cell::from));
        // A result is complete at most through its own window.
        cells.push(
            completeness
                .through
                .map_or(Cell::Null, |through| Cell::Time(through.min(end))),
        );
        cells.push(Cell::Text(missing.clone()));
        cells.push(Cell::Int(revision));
        Arc::from(cells)
    });
    let table: Vec<Arc<[Cell]>> = table.collect();
    let event_time = EventTime(completeness.through.unwrap_or(0));
    let at = At {
        camera: CameraId(u32::MAX),
        frame: sequence,
        event_time,
        ..At::default()
    };
    let batch = Batch::Table(Table {
        schema: schema.clone(),
        rows: Rows::from(table),
    });
    Answer {
        at,
        batch,
        number: sequence,
        admitted_us: context.clock.now_us(),
        failed: false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_moment_lies_in_each_of_its_windows(at in -1_000_000_000_000i64..1_000_000_000_000, size in 1u64..100, every in 1u64..100) {
            let window = Window { size: Duration::from_nanos(size.max(every)), every: Duration::from_nanos(every), retain: Duration::ZERO };
            let starts: Vec<i64> = windows_of(window, at).collect();
            let (size, every) = (size.max(every) as i64, every as i64);
            let expected: Vec<i64> = ((at - size + 1)..=at).filter(|start| start.rem_euclid(every) == 0).collect();
            prop_assert_eq!(starts, expected);
        }
    }
}
