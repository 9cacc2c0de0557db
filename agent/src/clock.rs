//! What time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;

/// The agent's only way to ask for the time.
pub trait Clock: Send + Sync {
    /// The time since 1970; a clock before that year says zero.
    fn now(&self) -> Duration;

    /// A time that only grows, since the agent started.
    fn elapsed(&self) -> Duration;

    /// The zone the machine lives in, now.
    fn zone(&self) -> Zone;
}

/// A time zone at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The short name, such as `CET`.
    pub name: String,
    /// Seconds east of Greenwich.
    pub offset_seconds: i32,
}

/// The clock of the machine.
#[derive(Clone, Debug)]
pub struct SystemClock {
    started: Instant,
    zone: TimeZone,
}

impl SystemClock {
    /// Starts counting.
    pub fn start() -> SystemClock {
        SystemClock {
            started: Instant::now(),
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn zone(&self) -> Zone {
        let info = self.zone.to_offset_info(jiff::Timestamp::now());
        Zone { name: info.abbreviation().to_owned(), offset_seconds: info.offset().seconds() }
    }
}
