//! What there is one of for each camera, while cameras come and go.
//!
//! Many threads read it for every frame, and an edit of the graph changes it now and then: readers never wait, and
//! writers replace the list.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::rows::CameraId;

/// Things by camera.
pub struct Roster<T>(ArcSwap<Vec<Option<Arc<T>>>>);

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Roster(ArcSwap::default())
    }
}

impl<T> FromIterator<(CameraId, Arc<T>)> for Roster<T> {
    fn from_iter<I: IntoIterator<Item = (CameraId, Arc<T>)>>(entries: I) -> Self {
        let mut list = Vec::new();
        for (camera, entry) in entries {
            set(&mut list, camera, Some(entry));
        }
        Roster(ArcSwap::from_pointee(list))
    }
}

fn set<T>(list: &mut Vec<Option<T>>, camera: CameraId, entry: Option<T>) {
    let place = camera.0 as usize;
    if place >= list.len() {
        list.resize_with(place + 1, || None);
    }
    list[place] = entry;
    while list.last().is_some_and(Option::is_none) {
        list.pop();
    }
}

impl<T> Roster<T> {
    /// A camera's, if there is one.
    pub fn get(&self, camera: CameraId) -> Option<Arc<T>> {
        self.0.load().get(camera.0 as usize).cloned().flatten()
    }

    /// Looks at a camera's, if there is one, without taking it.
    pub fn with<R>(&self, camera: CameraId, look: impl FnOnce(&T) -> R) -> Option<R> {
        let list = self.0.load();
        list.get(camera.0 as usize)
            .and_then(Option::as_ref)
            .map(|entry| look(entry))
    }

    /// Puts a camera's there, or takes it away.
    pub fn set(&self, camera: CameraId, entry: Option<Arc<T>>) {
        self.0.rcu(|list| {
            let mut list = Vec::clone(list);
            set(&mut list, camera, entry.clone());
            list
        });
    }

    /// All there are.
    pub fn all(&self) -> Vec<(CameraId, Arc<T>)> {
        let list = self.0.load();
        let entries = list.iter().enumerate();
        entries
            .filter_map(|(place, entry)| Some((CameraId(place as u32), entry.clone()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_and_go_and_leave_no_tail() {
        let roster: Roster<&str> = [(CameraId(2), Arc::new("two"))].into_iter().collect();
        roster.set(CameraId(5), Some(Arc::new("five")));
        assert_eq!(roster.get(CameraId(5)).as_deref(), Some(&"five"));
        assert_eq!(roster.with(CameraId(2), |entry| entry.len()), Some(3));
        assert_eq!(roster.get(CameraId(3)), None);
        roster.set(CameraId(5), None);
        assert_eq!(roster.all(), [(CameraId(2), Arc::new("two"))]);
        assert_eq!(roster.0.load().len(), 3);
    }
}
