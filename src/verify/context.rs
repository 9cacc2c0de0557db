//! What a check works with: the subject, a clock that tests turn by hand, and a sheet to write on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Subject;
use super::verdict::Item;
use crate::error::{Note, exit_of, failure};
use crate::exit::Exit;
use crate::topology::Service;

/// How long a look waits for the next one.
const PAUSE: Duration = Duration::from_millis(100);

/// What a check works with.
pub struct Context<'a> {
    /// What is verified.
    pub subject: &'a Subject<'a>,
    /// Its time.
    pub clock: &'a Clock,
    /// Unique to this run; letters and digits.
    pub run: String,
    /// Whether Grafana refused its password in this run.
    pub refused: AtomicBool,
}

/// A clock: the time since 1970, and a way to wait.
pub struct Clock {
    now: Box<dyn Fn() -> Duration + Send + Sync>,
    sleep: Box<dyn Fn(Duration) + Send + Sync>,
}

/// What a check writes down.
#[derive(Debug, Default)]
pub struct Sheet {
    /// What was seen, in a few words.
    pub summary: String,
    /// What was measured.
    pub facts: BTreeMap<String, Value>,
    /// The parts, one by one.
    pub items: Vec<Item>,
}

impl Clock {
    /// The clock of this machine; it never jumps.
    pub fn machine() -> Self {
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let base = Instant::now();
        Self { now: Box::new(move || start + base.elapsed()), sleep: Box::new(std::thread::sleep) }
    }

    /// The time since 1970.
    pub fn now(&self) -> Duration {
        (self.now)()
    }
}

impl Context<'_> {
    /// Looks again and again until `look` succeeds; when `limit` is over, its last error is the answer.
    pub fn poll<T>(&self, limit: Duration, look: impl FnMut() -> Result<T>) -> Result<T> {
        self.poll_every(PAUSE, limit, look)
    }

    /// The same with `pause` between two looks, for looks that cost more.
    pub fn poll_every<T>(
        &self,
        pause: Duration,
        limit: Duration,
        mut look: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let end = self.clock.now().saturating_add(limit);
        loop {
            self.proceed()?;
            match look() {
                // What was refused is not given by asking again.
                Err(error) if exit_of(&error) == Exit::CREDENTIALS => return Err(error),
                Err(_) if self.clock.now() < end => self.wait(pause)?,
                answer => return answer,
            }
        }
    }

    /// Fails once the user has interrupted the run.
    pub fn proceed(&self) -> Result<()> {
        ensure!(!self.subject.interrupted.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }

    /// Fails once Grafana has refused its password, for asking again would not help.
    pub fn admitted(&self) -> Result<()> {
        let refused = self.refused.load(Ordering::Relaxed);
        ensure!(!refused, failure(Exit::CREDENTIALS, "Grafana refuses its password"));
        Ok(())
    }

    fn wait(&self, pause: Duration) -> Result<()> {
        let end = self.clock.now() + pause;
        while self.clock.now() < end {
            self.proceed()?;
            (self.clock.sleep)(PAUSE.min(end.saturating_sub(self.clock.now())));
        }
        Ok(())
    }

    /// `intervals` scrape intervals, but at least `least`.
    pub fn patience(&self, intervals: u32, least: Duration) -> Duration {
        least.max(self.subject.interval * intervals)
    }

    /// The component `name`, which must run.
    pub fn service(&self, name: &str) -> Result<Service<'_>> {
        match self.subject.topology.service(name) {
            Some(service) => Ok(service),
            None => Err(anyhow::anyhow!("{}", self.absence(name)))
                .hint("run `monstack up`, it says how to provide it"),
        }
    }

    /// What of `names` does not run here, as reason and way out.
    pub fn gap(&self, names: &[&str]) -> Option<(String, String)> {
        let absent: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| self.subject.topology.service(name).is_none())
            .collect();
        let first = absent.first()?;
        let reason = absent.iter().map(|name| self.absence(name)).collect::<Vec<_>>().join("; ");
        let hint = format!(
            "put the program `{first}` on PATH, or run `monstack up --set components.{first}.path=FILE`"
        );
        Some((reason, hint))
    }

    fn absence(&self, name: &str) -> String {
        match self.subject.topology.missing.get(name) {
            Some(reason) => format!("`{name}` does not run here: {reason}"),
            None => format!("`{name}` does not run here"),
        }
    }
}

impl Sheet {
    /// Writes down a measurement.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Writes down a duration, rounded to milliseconds.
    pub fn seconds(&mut self, name: &str, duration: Duration) {
        self.fact(name, seconds(duration));
    }
}

/// A duration in seconds, rounded to milliseconds.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Enough of `text` to recognise it.
pub fn excerpt(text: &str) -> String {
    const LENGTH: usize = 200;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::verify::fixture::Fixture;
    use anyhow::bail;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, AtomicUsize};

    /// Where the clocks of tests begin.
    pub const EPOCH: u64 = 1_763_700_000;

    impl Clock {
        /// A clock that moves only when somebody waits.
        pub fn turned() -> Self {
            let millis = Arc::new(AtomicU64::new(EPOCH * 1000));
            let shared = Arc::clone(&millis);
            Self {
                now: Box::new(move || Duration::from_millis(millis.load(Ordering::Relaxed))),
                sleep: Box::new(move |duration| {
                    let step = u64::try_from(duration.as_millis()).unwrap();
                    shared.fetch_add(step, Ordering::Relaxed);
                }),
            }
        }
    }

    #[test]
    fn a_poll_ends_with_the_first_success() {
        let fixture = Fixture::new();
        let tries = AtomicUsize::new(0);
        let answer = fixture.with(|cx| {
            cx.poll(Duration::from_secs(10), || match tries.fetch_add(1, Ordering::Relaxed) {
                3 => Ok("here"),
                n => bail!("look {n}"),
            })
        });
        assert_eq!(answer.unwrap(), "here");
    }

    #[test]
    fn a_poll_that_runs_out_tells_the_last_reason() {
        let fixture = Fixture::new();
        let mut tries = 0;
        let error = fixture
            .with(|cx| {
                cx.poll(Duration::from_secs(1), || -> Result<()> {
                    tries += 1;
                    bail!("look {tries}")
                })
            })
            .unwrap_err();
        assert_eq!(error.to_string(), "look 11");
    }

    #[test]
    fn an_interruption_ends_a_poll_before_it_looks() {
        let fixture = Fixture::new();
        fixture.interrupted.store(true, Ordering::Relaxed);
        let error = fixture.with(|cx| cx.poll(Duration::MAX, || Ok(()))).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
    }

    #[test]
    fn what_is_missing_is_told_with_its_reason() {
        let mut fixture = Fixture::new();
        fixture.without("loki", "its download was refused");
        fixture.with(|cx| {
            let (reason, hint) = cx.gap(&["grafana", "loki"]).unwrap();
            assert_eq!(reason, "`loki` does not run here: its download was refused");
            assert!(hint.contains("components.loki.path=FILE"), "{hint}");
            assert!(cx.gap(&["grafana"]).is_none());
        });
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(excerpt(" a \n b "), "a b");
        let cut = excerpt(&"ä".repeat(300));
        assert_eq!(cut.chars().count(), 203);
    }
}
