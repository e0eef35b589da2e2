//! Who lies where: places by age, and what moves when a tier is full.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::fault::Fault;
use super::super::memory::{Buffer, Pinned};
use super::super::surface::Surface;
use super::resident::Link;
use super::{Archive, Extent, Gauges, Lent, Mark, Place, Shelf, Tier, TierBudgets};
use crate::errors::{OperatorError, Result, worth_logging};

/// A picture and its place.
#[derive(Debug)]
struct Entry {
    place: Place,
    bytes: usize,
    mark: Arc<Mark>,
}

/// All that is behind the lock. Pictures are numbered in the order in which they came.
#[derive(Debug)]
pub(super) struct Store {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    by_age: [BTreeSet<u64>; 4],
    hot: Shelf<Buffer>,
    warm: Shelf<Pinned>,
    cold: Shelf<Vec<u8>>,
    archive: Option<Archive>,
    /// The device of the first picture that came from one; pictures of another come by way of the host.
    link: Option<Arc<Link>>,
    /// What readers still have of pictures that are gone.
    leaving: Vec<Place>,
    /// Whether room is made for a reader: that costs no other picture.
    reading: bool,
    gauges: Arc<Gauges>,
}

impl Store {
    pub fn new(budgets: &TierBudgets, archive: Option<Archive>, gauges: &Arc<Gauges>) -> Self {
        Store {
            next: 0,
            entries: BTreeMap::new(),
            by_age: Default::default(),
            hot: Shelf::new(budgets.hot),
            warm: Shelf::new(budgets.warm),
            cold: Shelf::new(budgets.cold),
            archive,
            link: None,
            leaving: Vec::new(),
            reading: false,
            gauges: gauges.clone(),
        }
    }

    /// Gives a new picture its number.
    pub fn insert(&mut self, place: Place, bytes: usize, mark: &Arc<Mark>) -> u64 {
        let id = self.next;
        self.next += 1;
        let mark = mark.clone();
        self.settle(id, Entry { place, bytes, mark });
        id
    }

    fn settle(&mut self, id: u64, entry: Entry) {
        let tier = entry.place.tier();
        self.by_age[tier as usize].insert(id);
        self.gauges.enter(tier, entry.bytes);
        self.entries.insert(id, entry);
    }

    fn uproot(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        let tier = entry.place.tier();
        self.by_age[tier as usize].remove(&id);
        self.gauges.leave(tier, entry.bytes);
        Some(entry)
    }

    /// Takes back what was dropped, and what readers have let go of.
    pub fn reap(&mut self, dropped: &[u64]) {
        for place in std::mem::take(&mut self.leaving) {
            self.release(place);
        }
        for id in dropped {
            if let Some(entry) = self.uproot(*id) {
                self.release(entry.place);
            }
        }
    }

    /// Gives a place back, now or when its reader has let go of it.
    fn release(&mut self, place: Place) {
        match place {
            Place::Hot(buffer) => self.hot.give(buffer),
            Place::Warm(memory) => match Arc::try_unwrap(memory) {
                Ok(memory) => self.warm.give(memory),
                Err(held) => self.leaving.push(Place::Warm(held)),
            },
            Place::Cold(memory) => match Arc::try_unwrap(memory) {
                Ok(memory) => self.cold.give(memory),
                Err(held) => self.leaving.push(Place::Cold(held)),
            },
            Place::Archive(extent) => {
                if let Some(archive) = &mut self.archive {
                    archive.release(extent);
                }
            }
        }
    }

    pub fn give_hot(&mut self, buffer: Buffer) {
        self.hot.give(buffer);
    }
    pub fn give_warm(&mut self, memory: Pinned) {
        self.warm.give(memory);
    }
    pub fn give_cold(&mut self, memory: Vec<u8>) {
        self.cold.give(memory);
    }

    /// The way to a picture's device, with device memory where there is room; none for another device than the first.
    ///
    /// # Errors
    /// When the device is lost.
    pub fn hot_block(&mut self, surface: &Arc<Surface>, bytes: usize) -> Result<Option<(Arc<Link>, Option<Buffer>)>> {
        let link = match &self.link {
            Some(link) => link.clone(),
            None => {
                let link = Link::open(surface.device()).map_err(|fault| super::unkept(&fault))?;
                self.link.insert(Arc::new(link)).clone()
            }
        };
        if !link.reaches(surface) {
            return Ok(None);
        }
        let buffer = match self.make_room(Tier::Hot, bytes, u64::MAX) {
            true => self.hot.take(bytes, || link.buffer(bytes)),
            false => Ok(None),
        };
        match buffer {
            Ok(buffer) => Ok(Some((link, buffer))),
            // Others use the device too: what it has no memory for goes to the host.
            Err(Fault::OutOfMemory(_)) => Ok(Some((link, None))),
            Err(fault) => Err(super::unkept(&fault)),
        }
    }

    /// Pinned memory for a picture of this age, where there is room.
    pub fn warm_block(&mut self, bytes: usize, age: u64) -> Option<Pinned> {
        let link = self.link.clone()?;
        if !self.make_room(Tier::Warm, bytes, age) {
            return None;
        }
        // What cannot be pinned goes on without.
        self.warm.take(bytes, || link.pinned(bytes)).ok().flatten()
    }

    /// Pageable memory for a picture of this age, where there is room.
    pub fn cold_block(&mut self, bytes: usize, age: u64) -> Option<Vec<u8>> {
        if !self.make_room(Tier::Cold, bytes, age) {
            return None;
        }
        self.cold.take(bytes, || Ok::<_, Fault>(vec![0; bytes])).ok().flatten()
    }

    /// Writes bytes to the archive, where older pictures are forgotten for younger ones.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn file(&mut self, bytes: &[u8], age: u64) -> Result<Option<Extent>> {
        if !self
            .archive
            .as_ref()
            .is_some_and(|archive| archive.could_hold(bytes.len()))
        {
            return Ok(None);
        }
        loop {
            let Some(archive) = &mut self.archive else {
                return Ok(None);
            };
            if let Some(extent) = archive.write(bytes)? {
                return Ok(Some(extent));
            }
            if self.reading {
                return Ok(None);
            }
            let mut older = self.by_age[Tier::Archive as usize].range(..age);
            let unwanted = |id: &&u64| self.entries.get(*id).is_some_and(|entry| !entry.mark.is_wanted());
            match older.find(unwanted).copied() {
                Some(oldest) => self.forget(oldest),
                None => return Ok(None),
            }
        }
    }

    /// Makes room in a tier of memory by sending down what is older than this; false where that is not enough.
    fn make_room(&mut self, tier: Tier, bytes: usize, age: u64) -> bool {
        let could_hold = match tier {
            Tier::Hot => self.hot.could_hold(bytes),
            Tier::Warm => self.warm.could_hold(bytes),
            Tier::Cold => self.cold.could_hold(bytes),
            Tier::Archive => false,
        };
        if !could_hold {
            return false;
        }
        // Those that cannot leave: readers have them, or they are wanted and no lower tier has room.
        let mut stay = 0;
        loop {
            let has_room = match tier {
                Tier::Hot => self.hot.has_room(bytes),
                Tier::Warm => self.warm.has_room(bytes),
                _ => self.cold.has_room(bytes),
            };
            if has_room {
                return true;
            }
            let older = self.by_age[tier as usize].range(stay..age);
            let free = |id: &&u64| self.entries.get(*id).is_some_and(|entry| !entry.place.is_held());
            let Some(oldest) = older.into_iter().find(free).copied() else {
                return false;
            };
            self.demote(oldest);
            stay = oldest + 1;
        }
    }

    /// Sends a picture down: to the next tier that takes it, or into oblivion. One that may not be forgotten stays.
    fn demote(&mut self, id: u64) {
        let Some(entry) = self.uproot(id) else { return };
        let from = entry.place.tier();
        match self.lower(&entry, id) {
            Ok(Some(place)) => {
                self.gauges.demoted(from);
                let Entry { bytes, mark, .. } = entry;
                self.release(entry.place);
                self.settle(id, Entry { place, bytes, mark });
            }
            Ok(None) if self.reading || entry.mark.is_wanted() => {
                self.settle(id, entry);
            }
            Ok(None) => self.lose(entry),
            Err(error) => self.fail(entry, &error),
        }
    }

    /// A place for a picture below its own, with its bytes in it; none where no tier has room.
    fn lower(&mut self, entry: &Entry, id: u64) -> Result<Option<Place>> {
        let bytes = entry.bytes;
        let from = entry.place.tier();
        if from == Tier::Hot
            && let Some(mut memory) = self.warm_block(bytes, id)
        {
            if let Err(error) = self.copy(&entry.place, memory.bytes_mut()) {
                self.warm.give(memory);
                return Err(error);
            }
            return Ok(Some(Place::Warm(Arc::new(memory))));
        }
        if from < Tier::Cold
            && let Some(mut memory) = self.cold_block(bytes, id)
        {
            if let Err(error) = self.copy(&entry.place, &mut memory) {
                self.cold.give(memory);
                return Err(error);
            }
            return Ok(Some(Place::Cold(Arc::new(memory))));
        }
        let extent = match &entry.place {
            Place::Hot(_) => {
                let mut passing = vec![0; bytes];
                self.copy(&entry.place, &mut passing)?;
                self.file(&passing, id)?
            }
            Place::Warm(memory) => self.file(memory.bytes(), id)?,
            Place::Cold(memory) => self.file(memory, id)?,
            Place::Archive(_) => None,
        };
        Ok(extent.map(Place::Archive))
    }

    fn copy(&self, from: &Place, to: &mut [u8]) -> Result<()> {
        match from {
            Place::Hot(buffer) => match &self.link {
                Some(link) => Ok(link.fetch(buffer, to)?),
                None => Err("a picture on a device has no way from it".into()),
            },
            Place::Warm(memory) => {
                to.copy_from_slice(memory.bytes());
                Ok(())
            }
            Place::Cold(memory) => {
                to.copy_from_slice(memory);
                Ok(())
            }
            Place::Archive(extent) => match &self.archive {
                Some(archive) => archive.read(extent, to),
                None => Err("a picture on disk has no archive".into()),
            },
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(entry) = self.uproot(id) {
            self.lose(entry);
        }
    }

    /// There is no room for a picture.
    fn lose(&mut self, entry: Entry) {
        entry.mark.lose();
        self.gauges.forgotten();
        self.release(entry.place);
    }

    /// A device or a disk has cost a picture.
    fn fail(&mut self, entry: Entry, error: &OperatorError) {
        self.count_failure(&entry.mark, entry.place.tier(), error);
        self.release(entry.place);
    }

    fn count_failure(&self, mark: &Mark, tier: Tier, error: &OperatorError) {
        mark.lose();
        if worth_logging(self.gauges.failed()) {
            let remedy = error.remedy.as_deref().unwrap_or_default();
            tracing::error!(tier = tier.word(), %error, remedy, "a kept picture is lost");
        }
    }

    /// Lends a picture's bytes. What lies on disk comes back to pageable memory where room for it costs no other picture;
    /// else, and from a device, its reader has a copy.
    ///
    /// # Errors
    /// When it is gone, or its device or disk fails.
    pub fn read(&mut self, id: u64, bytes: usize) -> Result<Lent> {
        match self.entries.get(&id).map(|entry| &entry.place) {
            Some(Place::Warm(memory)) => return Ok(Lent::Warm(memory.clone())),
            Some(Place::Cold(memory)) => return Ok(Lent::Cold(memory.clone())),
            Some(Place::Hot(_) | Place::Archive(_)) => {}
            None => {
                return Err(OperatorError::new("a kept picture was forgotten before it was read")
                    .help("raise the budget of a tier: `cold=` is memory, `archive=` disk"));
            }
        }
        // Away from its place while room is made.
        let Some(entry) = self.uproot(id) else {
            return Err("a kept picture is nowhere".into());
        };
        let block = match entry.place.tier() {
            Tier::Archive => {
                self.reading = true;
                let block = self.cold_block(bytes, u64::MAX);
                self.reading = false;
                block
            }
            _ => None,
        };
        let promoted = block.is_some();
        let mut memory = block.unwrap_or_else(|| vec![0; bytes]);
        if let Err(error) = self.copy(&entry.place, &mut memory) {
            if promoted {
                self.cold.give(memory);
            }
            self.fail(entry, &error);
            return Err(error);
        }
        if !promoted {
            self.settle(id, entry);
            return Ok(Lent::Own(memory));
        }
        let (memory, Entry { place, mark, .. }) = (Arc::new(memory), entry);
        self.gauges.promoted(place.tier());
        self.release(place);
        let place = Place::Cold(memory.clone());
        self.settle(id, Entry { place, bytes, mark });
        Ok(Lent::Cold(memory))
    }

    #[cfg(test)]
    pub fn entry_tier(&self, id: u64) -> Option<Tier> {
        self.entries.get(&id).map(|entry| entry.place.tier())
    }

    #[cfg(test)]
    pub fn is_held(&self, id: u64) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.place.is_held())
    }
}
