//! One scrape: every collector in turn, none of which may spoil it for the others.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::collector::{Collected, Collector, Context, Presence};
use crate::exposition::{Family, render};
use crate::patience::{Job, Limits, Turns, Verdict, lock};

/// How long collectors may take before the scrape goes on without them.
const PATIENCE: Limits = Limits { each: Duration::from_secs(1), all: Duration::from_secs(5) };

/// Runs a table of collectors, again and again.
pub struct Gatherer {
    context: Arc<Context>,
    table: &'static [Collector],
    turns: Turns,
    complaints: Mutex<BTreeMap<&'static str, String>>,
    failed: Mutex<Vec<&'static str>>,
}

/// What one collector contributes to a scrape.
struct Part {
    collected: Collected,
    duration: Option<Duration>,
}

impl Gatherer {
    /// Begins without any past.
    pub fn new(context: Arc<Context>, table: &'static [Collector]) -> Gatherer {
        Gatherer {
            context,
            table,
            turns: Turns::default(),
            complaints: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Names the collectors that failed in the last scrape.
    pub fn failed(&self) -> Vec<&'static str> {
        lock(&self.failed).clone()
    }

    /// Measures everything now and writes it in the text format. It blocks until the last collector has answered or
    /// is given up.
    pub fn gather(&self) -> String {
        let jobs = self.table.iter().map(|collector| self.job(*collector)).collect();
        let mut durations = Family::gauge(
            "node_scrape_collector_duration_seconds",
            "node_exporter: Duration of a collector scrape.",
        );
        let mut successes = Family::gauge(
            "node_scrape_collector_success",
            "node_exporter: Whether a collector succeeded.",
        );
        let mut taken = HashSet::from([durations.name().to_owned(), successes.name().to_owned()]);
        let mut families = Vec::new();
        let mut failed = Vec::new();
        for (collector, verdict) in self.table.iter().zip(self.turns.run(jobs, PATIENCE)) {
            let mut part = Part::from(verdict);
            families.extend(part.without_taken(&mut taken));
            self.complain(collector.name, &part.collected);
            if part.collected.presence == Presence::Absent {
                continue;
            }
            let label = [("collector", collector.name)];
            let is_whole = part.collected.problems.is_empty();
            successes.add(&label, f64::from(u8::from(is_whole)));
            part.duration.iter().for_each(|duration| durations.add(&label, duration.as_secs_f64()));
            failed.extend((!is_whole).then_some(collector.name));
        }
        *lock(&self.failed) = failed;
        families.extend([durations, successes]);
        render(families)
    }

    fn job(&self, collector: Collector) -> Job<(anyhow::Result<Collected>, Duration)> {
        let context = self.context.clone();
        let work = move || {
            let begin = context.clock.elapsed();
            let collected = (collector.collect)(&context);
            (collected, context.clock.elapsed().saturating_sub(begin))
        };
        Job { key: collector.name.to_owned(), work: Box::new(work) }
    }

    /// Logs what is wrong with a collector when it changes, not at every scrape.
    fn complain(&self, collector: &'static str, collected: &Collected) {
        let complaint =
            [collected.problems.as_slice(), collected.notices.as_slice()].concat().join("; ");
        let mut complaints = lock(&self.complaints);
        let last = complaints.entry(collector).or_default();
        if *last == complaint {
            return;
        }
        match complaint.is_empty() {
            true => tracing::info!(collector, "collector reads everything again"),
            false => {
                tracing::warn!(collector, problem = complaint, "collector cannot read everything")
            }
        }
        *last = complaint;
    }
}

impl From<Verdict<(anyhow::Result<Collected>, Duration)>> for Part {
    fn from(verdict: Verdict<(anyhow::Result<Collected>, Duration)>) -> Part {
        let failure = |problem| Collected { problems: vec![problem], ..Collected::default() };
        match verdict {
            Verdict::Done((Ok(collected), duration)) => {
                Part { collected, duration: Some(duration) }
            }
            Verdict::Done((Err(error), duration)) => {
                Part { collected: failure(format!("{error:#}")), duration: Some(duration) }
            }
            Verdict::Late => {
                Part { collected: failure("it does not answer".to_owned()), duration: None }
            }
            Verdict::Crashed(words) => {
                Part { collected: failure(format!("it crashed: {words}")), duration: None }
            }
        }
    }
}

impl Part {
    /// Takes the families out, without those whose name another collector has served before: one name may have only
    /// one type and help text.
    fn without_taken(&mut self, taken: &mut HashSet<String>) -> Vec<Family> {
        let (kept, doubled): (Vec<_>, Vec<_>) = std::mem::take(&mut self.collected.families)
            .into_iter()
            .filter(|family| !family.is_empty())
            .partition(|family| taken.insert(family.name().to_owned()));
        let problem =
            |family: &Family| format!("`{}` is served by another collector", family.name());
        self.collected.problems.extend(doubled.iter().map(problem));
        kept
    }
}
