//! What each node does: answers, rows, errors, queue, latency. Written by workers, read by anyone.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::batch::Answer;
use crate::device::{PoolState, TiersState};
use crate::infer::{EngineWanted, Provider, Refusal, RungState};
use crate::registry::ErasedOffload;

/// Metrics of one node.
#[derive(Default)]
pub struct NodeMetrics {
    /// Frames answered.
    pub answers: AtomicU64,
    /// Rows emitted.
    pub rows: AtomicU64,
    /// Frames answered with an error.
    pub errors: AtomicU64,
    /// Frames waiting inside the node now.
    pub queue: AtomicI64,
    /// Nanoseconds spent in the node's own code.
    pub busy_ns: AtomicU64,
    /// From admission to this node's answer, in microseconds.
    pub latency_us: Histogram,
    /// Who can tell what it computes with: the newest version of its operator.
    compute: Mutex<Option<Computing>>,
}

/// A version of an operator, and the lanes that it is on.
struct Computing {
    offload: Weak<dyn ErasedOffload>,
    lanes: TellLanes,
}

/// Tells how many lanes of each group work.
pub(crate) type TellLanes = Box<dyn Fn() -> Vec<LaneState> + Send>;

/// The threads of a group of lanes, on a GPU each with a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// The fewest that work.
    pub least: usize,
    /// The most that do where work waits.
    pub most: usize,
    /// How many work now, where there is work for them.
    pub open: usize,
    /// How many have a batch now.
    pub busy: usize,
}

/// What a node computes with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ComputeState {
    /// Its model's providers: of each device the best first.
    pub providers: Vec<RungState>,
    /// Why better ones are not among them.
    pub refusals: Vec<Refusal>,
    /// The engine that it would go over to, were it built.
    pub lacking: Option<EngineWanted>,
    /// How far a second model agrees, where one looks at a share of the frames.
    pub shadow: Option<ShadowState>,
    /// Its lanes, group by group: one group a device.
    pub lanes: Vec<LaneState>,
    /// Its pools of memory, by name and the number of their device.
    pub pools: Vec<(&'static str, usize, PoolState)>,
    /// The tiers in which it keeps pictures, where it keeps any.
    pub tiers: Option<TiersState>,
}

/// How far a model that looks at a share of a node's frames agrees with the node's own.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowState {
    /// What the graph calls it.
    pub model: String,
    /// What computes it.
    pub provider: Provider,
    /// Frames that both have looked at.
    pub compared: u64,
    /// Frames that it was to look at and had no time for.
    pub skipped: u64,
    /// Frames that it failed on.
    pub failed: u64,
    /// Boxes that both found.
    pub matched: u64,
    /// Boxes that the node's own model alone found.
    pub only_main: u64,
    /// Boxes that the shadow alone found.
    pub only_shadow: u64,
    /// How far the scores of boxes that both found are apart on average, and at most.
    pub score_drift: [f64; 2],
}

impl ShadowState {
    /// Which share of all boxes both found, 0 to 1; 1 where neither found any.
    pub fn share(&self) -> f64 {
        match self.matched + self.only_main + self.only_shadow {
            0 => 1.0,
            all => self.matched as f64 / all as f64,
        }
    }
}

impl NodeMetrics {
    /// From here on this tells what the node computes with.
    pub(crate) fn computed_by(&self, offload: &Arc<dyn ErasedOffload>, lanes: TellLanes) {
        *self.compute.lock().unwrap_or_else(PoisonError::into_inner) = Some(Computing {
            offload: Arc::downgrade(offload),
            lanes,
        });
    }

    /// What the node computes with; nothing where it is none that tells.
    pub fn compute(&self) -> ComputeState {
        let compute = self.compute.lock().unwrap_or_else(PoisonError::into_inner);
        let found = compute
            .as_ref()
            .and_then(|compute| Some((compute.offload.upgrade()?, (compute.lanes)())));
        drop(compute);
        found.map_or_else(ComputeState::default, |(offload, lanes)| ComputeState {
            lanes,
            ..offload.compute()
        })
    }

    /// Counts answers that leave the node now.
    pub fn answered(&self, answers: &[Answer], now_us: u64) {
        let rows: usize = answers.iter().map(|answer| answer.batch.len()).sum();
        self.answers.fetch_add(answers.len() as u64, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        for answer in answers {
            self.latency_us.record(now_us.saturating_sub(answer.admitted_us));
        }
    }
}

const SUB_BITS: u32 = 4;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) << SUB_BITS;

/// Counts of values in buckets of at most 6.25 % width, as in HdrHistogram.
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    buckets: Box<[u64]>,
    /// The sum of all values.
    pub sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }
}

fn bucket_of(value: u64) -> usize {
    let bits = 64 - value.leading_zeros();
    if bits <= SUB_BITS {
        return value as usize;
    }
    let shift = bits - SUB_BITS - 1;
    (((shift + 1) as usize) << SUB_BITS) + ((value >> shift) as usize & ((1 << SUB_BITS) - 1))
}

fn upper_edge(bucket: usize) -> u64 {
    let (block, within) = (bucket >> SUB_BITS, (bucket & ((1 << SUB_BITS) - 1)) as u64);
    if block == 0 {
        return within;
    }
    let shift = block as u32 - 1;
    let first = ((1 << SUB_BITS) | within) << shift;
    first + ((1u64 << shift) - 1)
}

impl Histogram {
    /// Counts a value.
    pub fn record(&self, value: u64) {
        self.buckets[bucket_of(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        Counts {
            buckets: self
                .buckets
                .iter()
                .map(|bucket| bucket.load(Ordering::Relaxed))
                .collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts().count()
    }

    /// The value below which this share of all lies, within a bucket's width; 0 when there is none.
    pub fn quantile(&self, share: f64) -> u64 {
        self.counts().quantile(share)
    }
}

impl Counts {
    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How many of them lie at or below a value, by whole buckets: those within 6.25 % above it may be missing.
    pub fn through(&self, value: u64) -> u64 {
        let buckets = self.buckets.iter().enumerate();
        let whole = buckets.take_while(|(index, _)| upper_edge(*index) <= value);
        whole.map(|(_, count)| count).sum()
    }

    /// The value below which this share of all lies, within a bucket's width; 0 when there is none.
    pub fn quantile(&self, share: f64) -> u64 {
        let total = self.count();
        let rank = (share.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if total > 0 && seen >= rank {
                return upper_edge(index);
            }
        }
        0
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Counts) -> Counts {
        let buckets = self.buckets.iter().zip(&other.buckets);
        Counts {
            buckets: buckets.map(|(one, other)| one + other).collect(),
            sum: self.sum.saturating_add(other.sum),
        }
    }

    /// What was counted since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        Counts {
            buckets: buckets.map(|(now, then)| now.saturating_sub(*then)).collect(),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(value in any::<u64>()) {
            let bucket = bucket_of(value);
            prop_assert!(bucket < BUCKETS);
            prop_assert!(upper_edge(bucket) >= value);
            prop_assert!(bucket == 0 || upper_edge(bucket - 1) < value);
        }
    }

    #[test]
    fn quantiles_are_within_a_bucket() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.record(value));
        assert!((500..=532).contains(&histogram.quantile(0.5)));
        assert!((990..=1055).contains(&histogram.quantile(0.99)));
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}
