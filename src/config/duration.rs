//! Spans of time as Prometheus writes them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::rule;

/// A span of time such as `15d` or `2h30m`, longer than nothing and up to a hundred years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    milliseconds: u64,
}

/// The units in the order in which Prometheus wants them, with their milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * DAY),
    ("w", 7 * DAY),
    ("d", DAY),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

const DAY: u64 = 24 * 60 * 60 * 1000;
const LONGEST: u64 = 100 * 365 * DAY;

impl Duration {
    /// A number of days.
    pub const fn days(days: u64) -> Self {
        Self { milliseconds: days * DAY }
    }

    /// A number of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self { milliseconds: seconds * 1000 }
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_millis(duration.milliseconds)
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let milliseconds = sum(text)
            .ok_or_else(|| format!("{} is not {}", rule::quoted(text), rule::DURATION.wanted))?;
        match milliseconds {
            0 => Err(format!("{} is no time at all", rule::quoted(text))),
            1..=LONGEST => Ok(Self { milliseconds }),
            _ => Err(format!("{} is longer than a hundred years", rule::quoted(text))),
        }
    }
}

/// Adds up the parts of `text`; too large a sum saturates and is refused for its length.
fn sum(text: &str) -> Option<u64> {
    let (mut rest, mut units, mut total) = (text, UNITS.as_slice(), 0u64);
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&end| end > 0)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let index = units.iter().position(|(name, _)| *name == unit)?;
        let number = number.parse().unwrap_or(u64::MAX);
        total = total.saturating_add(units[index].1.saturating_mul(number));
        (rest, units) = (tail, &units[index + 1..]);
    }
    Some(total)
}

impl fmt::Display for Duration {
    /// Days are the largest unit, so that `14d` is shown as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.milliseconds;
        for (name, size) in &UNITS[2..] {
            if rest >= *size {
                write!(f, "{}{name}", rest / size)?;
            }
            rest %= size;
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        rule::DURATION.schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str) -> String {
        text.parse::<Duration>().unwrap_err()
    }

    #[test]
    fn units_add_up() {
        assert_eq!("15d".parse(), Ok(Duration::days(15)));
        assert_eq!("2w".parse(), Ok(Duration::days(14)));
        assert_eq!("1m30s".parse(), Ok(Duration::seconds(90)));
        assert_eq!("1500ms".parse::<Duration>().unwrap().to_string(), "1s500ms");
        assert_eq!("1y".parse::<Duration>().unwrap().to_string(), "365d");
    }

    #[test]
    fn what_prometheus_does_not_read_is_refused() {
        for text in
            ["", "15", "d", "15 d", " 15d", "15D", "-1d", "1.5h", "1h2d", "1h1h", "+1s", "١s"]
        {
            assert!(fault(text).ends_with("is not a duration such as `15d`, `2h30m` or `15s`"));
        }
    }

    #[test]
    fn nothing_and_for_ever_are_refused() {
        assert_eq!(fault("0s"), "`0s` is no time at all");
        assert_eq!(fault("0d0ms"), "`0d0ms` is no time at all");
        assert_eq!(fault("101y"), "`101y` is longer than a hundred years");
        let many = "99999999999999999999999y";
        assert_eq!(fault(many), format!("`{many}` is longer than a hundred years"));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(milliseconds in 1..=LONGEST) {
            let duration = Duration { milliseconds };
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
