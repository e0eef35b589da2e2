//! One camera's pictures: which wait, which go out.

use std::collections::VecDeque;
use std::sync::Arc;

use flowrun_engine::device::{Retained, Tiers};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::frame::{Frame, TruthBox};
use flowrun_engine::rows::{At, Rows};
use flowrun_engine::time::EventTime;

use super::ClipParams;

/// A picture that is kept back.
struct Waiting {
    taken: EventTime,
    picture: Retained,
    truth: Option<Arc<[TruthBox]>>,
    /// Whether it belongs to a clip; else it waits for what may still happen.
    due: bool,
}

impl Waiting {
    /// It belongs to a clip.
    fn wanted(&mut self) {
        self.due = true;
        self.picture.want();
    }

    fn into_frame(self) -> Frame {
        Frame {
            picture: Arc::new(self.picture.into_picture()),
            truth: self.truth,
            packets: Rows::default(),
            taken: Some(self.taken),
        }
    }
}

/// What is known of one camera.
#[derive(Default)]
pub(super) struct CameraClip {
    /// In the order in which they came. Those that are due come first but for what waits behind a clip that catches up.
    waiting: VecDeque<Waiting>,
    /// The last event, while no picture has come that is too late for it.
    event: Option<EventTime>,
    last: Option<EventTime>,
    /// What is to be told by the next answer that has no picture.
    owed: Option<OperatorError>,
}

impl CameraClip {
    /// Keeps a frame's picture, and answers with those that are due. An answer has pictures or an error: an error waits for
    /// one that has none.
    ///
    /// # Errors
    /// When a picture could not be kept, or some of a clip were forgotten.
    pub fn answer(
        &mut self,
        params: &ClipParams,
        tiers: &Arc<Tiers>,
        at: &At,
        frames: &[Frame],
        happened: bool,
    ) -> Result<Vec<Frame>> {
        let now = at.event_time;
        if self.last.replace(now).is_some_and(|last| now < last) {
            // The camera's clock was set back: what comes belongs to another stretch of time.
            self.waiting.retain(|waiting| waiting.due);
            self.event = None;
        }
        let begins = now.minus(params.before);
        self.waiting.retain(|waiting| waiting.due || waiting.taken >= begins);
        // The newest is kept before older ones are wanted: where there is no room for all, it goes first.
        let older = self.waiting.len();
        for frame in frames {
            match tiers.keep(&frame.picture) {
                Ok(picture) => self.waiting.push_back(Waiting {
                    taken: frame.at(at).event_time,
                    picture,
                    truth: frame.truth.clone(),
                    due: false,
                }),
                Err(error) => self.owe(error),
            }
        }
        if happened {
            self.event = Some(now);
            let due = self.waiting.iter_mut().filter(|waiting| waiting.taken >= begins);
            due.for_each(Waiting::wanted);
        }
        match self.event {
            Some(event) if now <= event.plus(params.after) => {
                self.waiting.range_mut(older..).for_each(Waiting::wanted);
            }
            _ => self.event = None,
        }
        self.find_lost();
        let due = self.waiting.iter().take_while(|waiting| waiting.due).count();
        let out = self.waiting.drain(..due.min(params.catch_up));
        let out: Vec<Frame> = out.map(Waiting::into_frame).collect();
        match self.owed.take_if(|_| out.is_empty()) {
            Some(error) => Err(error),
            None => Ok(out),
        }
    }

    /// Has an error told; of several between two answers without pictures the log has the earlier ones.
    fn owe(&mut self, error: OperatorError) {
        if let Some(before) = self.owed.replace(error) {
            tracing::warn!(error = %before, "a clip lacks pictures");
        }
    }

    /// Lets go of pictures that are due and were forgotten.
    fn find_lost(&mut self) {
        let before = self.waiting.len();
        self.waiting
            .retain(|waiting| !(waiting.due && waiting.picture.is_lost()));
        let lost = before - self.waiting.len();
        if lost > 0 {
            let error = OperatorError::new(format!("{lost} pictures of a clip were forgotten before its event"));
            self.owe(error.help("raise `cold=`, keep more on disk by `archive=`, or lower `before=`"));
        }
    }
}

impl Drop for CameraClip {
    fn drop(&mut self) {
        if let Some(error) = &self.owed {
            tracing::warn!(%error, "a clip lacks pictures");
        }
        let due = self.waiting.iter().filter(|waiting| waiting.due).count();
        if due > 0 {
            tracing::warn!(
                pictures = due,
                "a camera ended before its clip had caught up: raise `catch-up=`"
            );
        }
    }
}
