//! When a picture was taken, from RTP timestamps (law 1).
//!
//! RTP timestamps tell well how far pictures lie apart and nothing about when they were taken. That comes from the
//! camera's sender reports (RFC 3550, section 6.4.1) where its clock and ours agree, else from arrival: of all pictures
//! the one that was under way for the shortest time says best how the clocks lie to each other.

use flowrun_engine::time::EventTime;

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;
/// How far a camera's clock may be from ours to be believed.
const AGREE_WITHIN: i64 = 2 * SECOND;
/// A step of RTP timestamps that is longer than this is a new clock.
const LONGEST_STEP: i64 = 10 * SECOND;
/// No picture is older than this when it arrives, nor younger than a clock that is believed may be ahead.
const OLDEST: i64 = 60 * SECOND;
/// How fast a camera's clock may run slow against ours, in parts of a million, before arrival times notice.
const DRIFT_PPM: i64 = 200;
/// Pictures without a report after which its absence is told.
const PATIENCE: i64 = 30 * SECOND;
/// Seconds from the start of 1900 (NTP) to that of 1970 (Unix).
const NTP_TO_UNIX_SECONDS: i128 = 2_208_988_800;

/// What event times rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// When pictures arrive.
    Arrival,
    /// The camera's clock.
    Reports,
}

/// The clock of one session.
#[derive(Debug)]
pub(super) struct SenderClock {
    basis: Basis,
    /// Event time less RTP time that is aimed at.
    wanted: Option<i64>,
    /// What is in force: it follows without letting time stand still or run back.
    offset: i64,
    /// The latest RTP time.
    latest: i64,
    first: i64,
    told: bool,
}

impl SenderClock {
    pub fn new() -> Self {
        SenderClock {
            basis: Basis::Arrival,
            wanted: None,
            offset: 0,
            latest: 0,
            first: 0,
            told: false,
        }
    }

    /// What event times rest on now.
    #[cfg(test)]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// A sender report: the camera's clock (64-bit NTP) at an RTP time, heard at this moment. Gives what is to be told.
    pub fn report(&mut self, ntp: u64, rtp: i64, heard: EventTime) -> Option<String> {
        let since_1970 = i128::from(ntp) - (NTP_TO_UNIX_SECONDS << 32);
        let sent = i64::try_from((since_1970 * i128::from(SECOND)) >> 32).unwrap_or(i64::MIN);
        let ahead = sent.saturating_sub(heard.0);
        if (-AGREE_WITHIN..=AGREE_WITHIN).contains(&ahead) {
            self.basis = Basis::Reports;
            self.aim(sent.saturating_sub(rtp));
            return None;
        }
        if self.basis == Basis::Reports {
            // Arrival begins anew; what was aimed at is where it lay at last.
            self.basis = Basis::Arrival;
        }
        let seconds = ahead.unsigned_abs() as f64 / SECOND as f64;
        let which = if ahead > 0 { "ahead of" } else { "behind" };
        self.tell(|| {
            format!(
                "the camera's clock is {seconds:.1} s {which} this machine's, so event times are those of arrival; set \
                 both by NTP"
            )
        })
    }

    /// The event time of a picture with this RTP time in nanoseconds, heard at this moment, and what is to be told.
    pub fn place(&mut self, rtp: i64, heard: EventTime) -> (EventTime, Option<String>) {
        let arrival = heard.0.saturating_sub(rtp);
        let step = rtp.saturating_sub(self.latest);
        let begins = self.wanted.is_none() || step.saturating_abs() > LONGEST_STEP;
        if begins {
            (self.basis, self.wanted, self.offset) = (Basis::Arrival, Some(arrival), arrival);
            (self.latest, self.first) = (rtp, rtp);
        }
        let elapsed = step.clamp(0, LONGEST_STEP);
        if !begins {
            self.latest = self.latest.max(rtp);
        }
        let wanted = self.wanted.unwrap_or(arrival);
        if self.basis == Basis::Arrival {
            let drifted = wanted.saturating_add(elapsed / 1_000_000 * DRIFT_PPM);
            self.wanted = Some(drifted.min(arrival));
        }
        // Forward at once; backward at half speed, so that time always goes on.
        let back = self.offset.saturating_sub(elapsed / 2);
        self.offset = self.wanted.unwrap_or(arrival).max(back);
        let time = rtp.saturating_add(self.offset);
        let time = time.clamp(heard.0.saturating_sub(OLDEST), heard.0.saturating_add(AGREE_WITHIN));
        let waited = self.latest.saturating_sub(self.first) > PATIENCE;
        let fault = (self.basis == Basis::Arrival && waited)
            .then(|| self.tell(|| "the camera sends no sender reports, so event times are those of arrival".into()))
            .flatten();
        (EventTime(time), fault)
    }

    fn aim(&mut self, wanted: i64) {
        if self.wanted.is_none() {
            self.offset = wanted;
        }
        self.wanted = Some(wanted);
    }

    fn tell(&mut self, cause: impl FnOnce() -> String) -> Option<String> {
        (!std::mem::replace(&mut self.told, true)).then(cause)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000 * SECOND;
    const PICTURE: i64 = SECOND / 25;

    fn ntp(unix: i64) -> u64 {
        (((i128::from(unix) << 32) / i128::from(SECOND)) + (NTP_TO_UNIX_SECONDS << 32)) as u64
    }

    fn place(clock: &mut SenderClock, rtp: i64, heard: i64) -> i64 {
        clock.place(rtp, EventTime(heard)).0.0
    }

    #[test]
    fn a_clock_within_two_seconds_is_believed() {
        let mut clock = SenderClock::new();
        assert_eq!(place(&mut clock, 0, NOW), NOW);
        // The picture of RTP time 0 was taken half a second before it arrived.
        assert_eq!(clock.report(ntp(NOW - SECOND / 2), 0, EventTime(NOW)), None);
        assert_eq!(clock.basis(), Basis::Reports);
        let mut times: Vec<i64> = (1..100)
            .map(|index| place(&mut clock, index * PICTURE, NOW + index * PICTURE))
            .collect();
        assert!(times.is_sorted(), "it goes there without running back");
        let last = times.pop().unwrap();
        assert!((last - (NOW - SECOND / 2 + 99 * PICTURE)).abs() < 1_000);
    }

    #[test]
    fn another_clock_is_told_once_and_arrival_counts() {
        let mut clock = SenderClock::new();
        place(&mut clock, 0, NOW);
        let told = clock.report(ntp(NOW + 37 * SECOND), 0, EventTime(NOW)).unwrap();
        assert!(
            told.starts_with("the camera's clock is 37.0 s ahead of this machine's"),
            "{told}"
        );
        assert_eq!(clock.report(ntp(NOW + 37 * SECOND), 0, EventTime(NOW)), None);
        assert_eq!(clock.report(0, 0, EventTime(NOW)), None);
        assert_eq!(place(&mut clock, PICTURE, NOW + PICTURE), NOW + PICTURE);
    }

    #[test]
    fn the_quickest_picture_says_when_the_others_were_taken() {
        let mut clock = SenderClock::new();
        // Every other picture is 30 ms late.
        let late = |index: i64| if index % 2 == 0 { 30_000_000 } else { 0 };
        let times: Vec<i64> = (0..100)
            .map(|index| place(&mut clock, index * PICTURE, NOW + index * PICTURE + late(index)))
            .collect();
        assert!(times.is_sorted());
        let apart: Vec<i64> = times[50..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(apart.iter().all(|apart| (apart - PICTURE).abs() < 100_000), "{apart:?}");
    }

    #[test]
    fn a_camera_without_reports_is_named_once() {
        let mut clock = SenderClock::new();
        let told = (0..2_000).filter_map(|index| {
            let time = index * PICTURE;
            clock.place(time, EventTime(NOW + time)).1
        });
        assert_eq!(told.count(), 1);
    }

    proptest! {
        #[test]
        fn times_stay_near_arrival_whatever_the_camera_says(
            steps in proptest::collection::vec((any::<i64>(), 0i64..SECOND, proptest::option::of(any::<u64>())), 1..60),
        ) {
            let mut clock = SenderClock::new();
            let mut heard = NOW;
            for (rtp, later, report) in steps {
                heard += later;
                if let Some(report) = report { clock.report(report, rtp, EventTime(heard)); }
                let time = place(&mut clock, rtp, heard);
                prop_assert!(time <= heard + AGREE_WITHIN && time >= heard - OLDEST);
            }
        }
    }
}
