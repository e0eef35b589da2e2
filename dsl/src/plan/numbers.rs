//! What rows call a plan's cameras and zones.
//!
//! Rows carry small numbers, and operators remember them, so a number must mean the same before and after an edit of a
//! running graph though every index in the plan moves. A plan by itself numbers by index; one that follows another takes
//! over the numbers of what bears the same name, and gives what is new the smallest that neither of the two uses.

use std::collections::{BTreeSet, HashMap};

use super::{Plan, ZonePlan};

/// The numbers of a plan's cameras and zones, by their index; empty where they are the indices themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    cameras: Vec<u32>,
    zones: Vec<u32>,
}

/// Gives each place its kept number, or the smallest that is neither kept nor `taken`.
fn fill(kept: Vec<Option<u32>>, taken: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut used: BTreeSet<u32> = taken.chain(kept.iter().flatten().copied()).collect();
    let mut next = 0;
    let numbers = kept.into_iter().map(|kept| {
        kept.unwrap_or_else(|| {
            while !used.insert(next) {
                next += 1;
            }
            next
        })
    });
    numbers.collect()
}

impl Plan {
    /// The number by which rows know the camera at an index.
    pub fn camera_number(&self, index: usize) -> u32 {
        self.numbers.cameras.get(index).copied().unwrap_or(index as u32)
    }

    /// The index of the camera that rows know by a number.
    pub fn camera_index(&self, number: u32) -> Option<usize> {
        match self.numbers.cameras.is_empty() {
            true => (number as usize) < self.cameras.len(),
            false => return self.numbers.cameras.iter().position(|known| *known == number),
        }
        .then_some(number as usize)
    }

    /// The number by which rows know the zone at an index.
    pub fn zone_number(&self, index: usize) -> u16 {
        let number = self.numbers.zones.get(index).copied().unwrap_or(index as u32);
        u16::try_from(number).unwrap_or(u16::MAX)
    }

    /// Numbers this plan as the successor of a running one.
    pub fn follow(&mut self, running: &Plan) {
        let known: HashMap<&str, u32> = running
            .cameras
            .iter()
            .enumerate()
            .map(|(index, camera)| (camera.name.as_str(), running.camera_number(index)))
            .collect();
        let cameras = self
            .cameras
            .iter()
            .map(|camera| known.get(camera.name.as_str()).copied());
        let cameras = fill(cameras.collect(), known.values().copied());
        let zones = self.kept_zones(running);
        let taken = (0..running.zones.len()).map(|index| u32::from(running.zone_number(index)));
        let zones = fill(zones, taken);
        self.numbers = Numbers { cameras, zones };
    }

    /// Of each zone the number of the running plan's zone that it continues: of the same name and kind, and on one of
    /// the same cameras.
    fn kept_zones(&self, running: &Plan) -> Vec<Option<u32>> {
        let names = |plan: &Plan, zone: &ZonePlan| -> BTreeSet<String> {
            let cameras = zone.cameras.iter().filter_map(|camera| plan.cameras.get(*camera));
            cameras.map(|camera| camera.name.clone()).collect()
        };
        let mut free: Vec<usize> = (0..running.zones.len()).collect();
        let mut kept = Vec::with_capacity(self.zones.len());
        for zone in &self.zones {
            let own = names(self, zone);
            let continues = free.iter().position(|index| {
                let before = &running.zones[*index];
                before.name == zone.name
                    && std::mem::discriminant(&before.shape) == std::mem::discriminant(&zone.shape)
                    && !names(running, before).is_disjoint(&own)
            });
            kept.push(continues.map(|at| u32::from(running.zone_number(free.remove(at)))));
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fill;

    proptest! {
        #[test]
        fn numbers_are_kept_and_never_shared(kept in prop::collection::btree_set(0_u32..40, 0..20), fresh in 0..20_usize, gone in prop::collection::vec(0_u32..40, 0..20)) {
            let places: Vec<Option<u32>> = kept.iter().map(|number| Some(*number)).chain((0..fresh).map(|_| None)).collect();
            let numbers = fill(places.clone(), gone.iter().copied());
            let mut seen = std::collections::BTreeSet::new();
            for (place, number) in places.iter().zip(&numbers) {
                prop_assert!(seen.insert(*number));
                match place {
                    Some(kept) => prop_assert_eq!(kept, number),
                    None => prop_assert!(!gone.contains(number)),
                }
            }
        }
    }
}
