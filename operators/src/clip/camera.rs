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
}

impl CameraClip {
    /// Keeps a frame's picture, and answers with those that are due. An answer that has an error to tell holds none:
    /// they go out with the next.
    ///
    /// # Errors
    /// When the picture cannot be kept, or some that are due were forgotten.
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
        if happened {
            self.event = Some(now);
            let begins = now.minus(params.before);
            let due = self.waiting.iter_mut().filter(|waiting| waiting.taken >= begins);
            due.for_each(|waiting| waiting.due = true);
        }
        let goes_on = self.event.is_some_and(|event| now <= event.plus(params.after));
        if !goes_on {
            self.event = None;
        }
        let begins = now.minus(params.before);
        self.waiting.retain(|waiting| waiting.due || waiting.taken >= begins);
        let mut kept = Ok(());
        for frame in frames {
            match tiers.keep(&frame.picture) {
                Ok(picture) => self.waiting.push_back(Waiting {
                    taken: frame.at(at).event_time,
                    picture,
                    truth: frame.truth.clone(),
                    due: goes_on,
                }),
                Err(error) => kept = Err(error),
            }
        }
        kept?;
        self.find_lost()?;
        let due = self.waiting.iter().take_while(|waiting| waiting.due).count();
        let out = self.waiting.drain(..due.min(params.catch_up));
        Ok(out.map(Waiting::into_frame).collect())
    }

    /// Lets go of pictures that are due and were forgotten.
    fn find_lost(&mut self) -> Result<()> {
        let before = self.waiting.len();
        self.waiting
            .retain(|waiting| !(waiting.due && waiting.picture.is_lost()));
        match before - self.waiting.len() {
            0 => Ok(()),
            lost => Err(
                OperatorError::new(format!("{lost} pictures of a clip were forgotten before it began"))
                    .help("raise `cold=`, keep more on disk by `archive=`, or lower `before=`"),
            ),
        }
    }
}

impl Drop for CameraClip {
    fn drop(&mut self) {
        let due = self.waiting.iter().filter(|waiting| waiting.due).count();
        if due > 0 {
            tracing::warn!(
                pictures = due,
                "a camera ended before its clip had caught up: raise `catch-up=`"
            );
        }
    }
}
