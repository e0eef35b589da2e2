//! The tiers, and how they stand.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::TierBudgets;

/// Where a kept picture lies, the quickest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// In a device's memory.
    Hot,
    /// In pinned memory of the host.
    Warm,
    /// In pageable memory of the host.
    Cold,
    /// On disk.
    Archive,
}

impl Tier {
    /// All of them, the quickest first.
    pub const ALL: [Tier; 4] = [Tier::Hot, Tier::Warm, Tier::Cold, Tier::Archive];

    /// As parameters and metrics call it.
    pub fn word(self) -> &'static str {
        match self {
            Tier::Hot => "hot",
            Tier::Warm => "warm",
            Tier::Cold => "cold",
            Tier::Archive => "archive",
        }
    }
}

/// How a tier stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierState {
    /// The most bytes that it holds.
    pub budget_bytes: u64,
    /// Bytes of pictures that lie in it.
    pub bytes: u64,
    /// The most that ever did.
    pub most_bytes: u64,
    /// Pictures that lie in it.
    pub pictures: u64,
    /// Pictures that went from it to a lower tier.
    pub demoted: u64,
    /// Pictures that came back from it to a higher one.
    pub promoted: u64,
}

/// How a store stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TiersState {
    /// By [`Tier`].
    pub tiers: [TierState; 4],
    /// Pictures for which there was no room.
    pub forgotten: u64,
    /// Pictures that were lost with a device or a disk.
    pub failed: u64,
}

impl TiersState {
    /// A tier's own.
    pub fn of(&self, tier: Tier) -> &TierState {
        &self.tiers[tier as usize]
    }
}

#[derive(Debug, Default)]
struct Gauge {
    budget: u64,
    bytes: AtomicU64,
    most: AtomicU64,
    pictures: AtomicU64,
    demoted: AtomicU64,
    promoted: AtomicU64,
}

/// Written by the store, read by anyone without waiting for it.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    tiers: [Gauge; 4],
    forgotten: AtomicU64,
    failed: AtomicU64,
}

impl Gauges {
    pub fn of(budgets: &TierBudgets) -> Self {
        let mut gauges = Gauges::default();
        let all = [
            budgets.hot as u64,
            budgets.warm as u64,
            budgets.cold as u64,
            budgets.archive,
        ];
        for (gauge, budget) in gauges.tiers.iter_mut().zip(all) {
            gauge.budget = budget;
        }
        gauges
    }

    /// A picture takes its place in a tier.
    pub fn enter(&self, tier: Tier, bytes: usize) {
        let gauge = &self.tiers[tier as usize];
        gauge.pictures.fetch_add(1, Ordering::Relaxed);
        let now = gauge.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        gauge.most.fetch_max(now, Ordering::Relaxed);
    }
    /// It leaves its place.
    pub fn leave(&self, tier: Tier, bytes: usize) {
        let gauge = &self.tiers[tier as usize];
        gauge.pictures.fetch_sub(1, Ordering::Relaxed);
        gauge.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
    pub fn demoted(&self, from: Tier) {
        self.tiers[from as usize].demoted.fetch_add(1, Ordering::Relaxed);
    }
    pub fn promoted(&self, from: Tier) {
        self.tiers[from as usize].promoted.fetch_add(1, Ordering::Relaxed);
    }
    pub fn forgotten(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }
    /// Says how many had failed before.
    pub fn failed(&self) -> u64 {
        self.failed.fetch_add(1, Ordering::Relaxed)
    }

    pub fn state(&self) -> TiersState {
        let load = |gauge: &AtomicU64| gauge.load(Ordering::Relaxed);
        TiersState {
            tiers: self.tiers.each_ref().map(|gauge| TierState {
                budget_bytes: gauge.budget,
                bytes: load(&gauge.bytes),
                most_bytes: load(&gauge.most),
                pictures: load(&gauge.pictures),
                demoted: load(&gauge.demoted),
                promoted: load(&gauge.promoted),
            }),
            forgotten: load(&self.forgotten),
            failed: load(&self.failed),
        }
    }
}

/// What a picture's place and whoever has it tell each other without waiting.
#[derive(Debug, Default)]
pub(super) struct Mark {
    lost: AtomicBool,
    wanted: AtomicBool,
}

impl Mark {
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }
}
