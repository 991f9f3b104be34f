//! A point in time as records hold it: RFC 3339 in UTC, whole seconds.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A point in wall time, whole seconds. For people to read and for ages on screens: no decision rests on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Timestamp);

impl Moment {
    /// The whole second that `at` lies in.
    pub fn new(at: Timestamp) -> Self {
        let second = Timestamp::from_second(at.as_second()).unwrap_or(at);
        debug_assert!(second.subsec_nanosecond() == 0, "{second} is no whole second of {at}");
        Self(second)
    }

    /// Seconds from here to `now`; 0 if `now` lies before, as it may when two machines' clocks differ.
    pub fn seconds_until(self, now: Timestamp) -> u64 {
        u64::try_from(now.as_second() - self.0.as_second()).unwrap_or(0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = text
            .parse()
            .map_err(|e| D::Error::custom(format!("expected a time such as 2026-01-31T12:00:00Z: {e}")))?;
        Ok(Self::new(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_moment_is_written_in_whole_seconds() {
        let moment = Moment::new(at("2026-01-31T12:00:00.987Z"));
        assert_eq!(serde_json::to_string(&moment).unwrap(), "\"2026-01-31T12:00:00Z\"");
    }

    #[test]
    fn a_moment_written_by_hand_may_name_another_zone() {
        let moment: Moment = serde_json::from_str("\"2026-01-31T13:00:00+01:00\"").unwrap();
        assert_eq!(moment, Moment::new(at("2026-01-31T12:00:00Z")));
        assert!(serde_json::from_str::<Moment>("\"yesterday\"").is_err());
    }

    #[test]
    fn an_age_is_never_negative() {
        let moment = Moment::new(at("2026-01-31T12:00:00Z"));
        assert_eq!(moment.seconds_until(at("2026-01-31T12:01:30Z")), 90);
        assert_eq!(moment.seconds_until(at("2026-01-31T11:00:00Z")), 0);
    }
}
