//! Event time as people and playlists read it. Operators ask no clock: what is written here is when a picture was taken.

use flowrun_engine::time::EventTime;

const DAY_MS: i64 = 86_400_000;

/// A moment in UTC, down to the millisecond in which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Utc {
    year: i64,
    month: i64,
    day: i64,
    /// Milliseconds since midnight.
    rest: i64,
}

impl From<EventTime> for Utc {
    /// The proleptic Gregorian date, by H. Hinnant's `civil_from_days`.
    fn from(time: EventTime) -> Self {
        let ms = time.0.div_euclid(1_000_000);
        let days = ms.div_euclid(DAY_MS) + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Months are counted from March, so that the odd day comes last.
        let month = (5 * day + 2) / 153;
        Utc {
            year: year + era * 400 + i64::from(month >= 10),
            month: if month < 10 { month + 3 } else { month - 9 },
            day: day - (153 * month + 2) / 5 + 1,
            rest: ms.rem_euclid(DAY_MS),
        }
    }
}

impl Utc {
    fn clock(self) -> (i64, i64, i64, i64) {
        let seconds = self.rest / 1_000;
        (seconds / 3_600, seconds / 60 % 60, seconds % 60, self.rest % 1_000)
    }

    /// `2026-03-01T08:30:00.250Z`, as RFC 3339 and EXT-X-PROGRAM-DATE-TIME have it.
    pub(crate) fn rfc3339(self) -> String {
        let (hours, minutes, seconds, ms) = self.clock();
        format!(
            "{:04}-{:02}-{:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z",
            self.year, self.month, self.day
        )
    }

    /// `2026-03-01 08:30:00.2`, for people.
    pub(crate) fn plain(self) -> String {
        let (hours, minutes, seconds, ms) = self.clock();
        format!(
            "{:04}-{:02}-{:02} {hours:02}:{minutes:02}:{seconds:02}.{}",
            self.year,
            self.month,
            self.day,
            ms / 100
        )
    }

    /// `20260301T083000Z`, ISO 8601's basic form: for names of files.
    pub(crate) fn basic(self) -> String {
        let (hours, minutes, seconds, _) = self.clock();
        format!(
            "{:04}{:02}{:02}T{hours:02}{minutes:02}{seconds:02}Z",
            self.year, self.month, self.day
        )
    }
}

#[cfg(test)]
mod tests {
    use flowrun_dsl::value::parse_time;

    use super::*;

    #[test]
    fn moments_read_back_as_they_were_written() {
        for ns in [
            0,
            -1,
            951_782_400_000_000_000,
            1_709_204_400_500_000_000,
            4_107_542_399_999_000_000,
        ] {
            let text = Utc::from(EventTime(ns)).rfc3339();
            let floor = ns.div_euclid(1_000_000) * 1_000_000;
            if ns >= 0 {
                assert_eq!(parse_time(&text), Ok(floor), "{text}");
            }
        }
        assert_eq!(Utc::from(EventTime(-1)).rfc3339(), "1969-12-31T23:59:59.999Z");
        let leap = Utc::from(EventTime(1_709_204_400_500_000_000));
        assert_eq!(leap.plain(), "2024-02-29 11:00:00.5");
        assert_eq!(leap.basic(), "20240229T110000Z");
    }
}
