//! A short answer to "how are you?", for people and for programs that wait for the agent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use crate::collector::agent::{self, Process};
use crate::collector::{Context, cpu, loadavg, meminfo};
use crate::patience::{Job, Limits, Turns, Verdict, lock};
use crate::scope::{self, Scope};

const PATIENCE: Limits = Limits { each: Duration::from_secs(1), all: Duration::from_secs(1) };

/// What `/health` answers; a value that could not be read is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whether the machine answers.
    pub status: Status,
    /// The agent's version.
    pub version: &'static str,
    /// Seconds since the agent started.
    pub uptime_seconds: f64,
    /// What the metrics are about.
    pub scope: Option<Scope>,
    /// A summary of the machine.
    pub metrics: Summary,
    /// The agent itself.
    pub process: Option<Own>,
    /// The collectors that failed in the last scrape.
    pub failed_collectors: Vec<&'static str>,
}

/// Whether the machine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does.
    Ok,
    /// A file of the kernel, or the root filesystem, hangs.
    Degraded,
}

/// The machine in four numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How busy the processors were since the last look, whoever took it.
    pub cpu_percent: Option<f64>,
    /// How much of the memory is not available.
    pub memory_percent: Option<f64>,
    /// How full the root filesystem is for ordinary users.
    pub root_filesystem_percent: Option<f64>,
    /// Tasks that wanted a processor, over the last minute.
    pub load1: Option<f64>,
}

/// The agent in four numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Own {
    /// Seconds on a processor since it started.
    pub cpu_seconds: f64,
    /// Memory that is really there.
    pub resident_memory_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open files and connections.
    pub open_fds: u64,
}

/// Answers the question, and remembers when it was asked last.
pub struct Health {
    context: Arc<Context>,
    turns: Turns,
    turn: Mutex<()>,
    last: Arc<Mutex<Option<(f64, f64)>>>,
}

impl Health {
    /// Takes the first look, from which the first answer counts.
    pub fn new(context: Arc<Context>) -> Health {
        let health = Health {
            context,
            turns: Turns::default(),
            turn: Mutex::default(),
            last: Arc::default(),
        };
        health.look();
        health
    }

    /// Looks at the machine now. It blocks for a second at most.
    pub fn report(&self, failed_collectors: Vec<&'static str>) -> Report {
        let (status, look) = match self.look() {
            Some(look) => (Status::Ok, look),
            None => (Status::Degraded, Look::default()),
        };
        Report {
            status,
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: rounded(self.context.clock.elapsed().as_secs_f64()),
            scope: look.scope,
            metrics: look.summary,
            process: look.process.map(Own::from),
            failed_collectors,
        }
    }

    fn look(&self) -> Option<Look> {
        // A second look at the same time would be taken for one that hangs.
        let _turn = lock(&self.turn);
        let (context, last) = (self.context.clone(), self.last.clone());
        let job =
            Job { key: "look".to_owned(), work: Box::new(move || Look::take(&context, &last)) };
        match self.turns.run(vec![job], PATIENCE).pop() {
            Some(Verdict::Done(look)) => Some(look),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Look {
    scope: Option<Scope>,
    summary: Summary,
    process: Option<Process>,
}

impl Look {
    fn take(cx: &Context, last: &Mutex<Option<(f64, f64)>>) -> Look {
        let now = cx
            .procfs("stat")
            .ok()
            .and_then(|text| cpu::parse_sum(&text))
            .map(|sum| cpu::busy_and_total(&sum));
        let summary = Summary {
            cpu_percent: now.and_then(|now| cpu_percent(&mut lock(last), now)),
            memory_percent: cx.procfs("meminfo").ok().and_then(|text| memory_percent(&text)),
            root_filesystem_percent: cx.host.space("/").ok().and_then(|space| {
                let used = space.blocks.saturating_sub(space.free) as f64;
                percent(used, used + space.available as f64)
            }),
            load1: cx
                .procfs("loadavg")
                .ok()
                .and_then(|text| loadavg::parse(&text).ok())
                .map(|[one, ..]| one),
        };
        Look { scope: Some(scope::find(cx)), summary, process: agent::read(cx).ok() }
    }
}

/// Compares two sums of seconds; when no time has passed in between, the older one is kept to compare with later.
fn cpu_percent(last: &mut Option<(f64, f64)>, now: (f64, f64)) -> Option<f64> {
    let Some((busy, total)) = *last else {
        *last = Some(now);
        return None;
    };
    let passed = now.1 - total;
    if passed == 0.0 {
        return None;
    }
    *last = Some(now);
    percent((now.0 - busy).clamp(0.0, passed.max(0.0)), passed)
}

fn memory_percent(meminfo: &str) -> Option<f64> {
    let fields = meminfo::parse(meminfo).items;
    let field =
        |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.value);
    let total = field("MemTotal_bytes")?;
    percent(total - field("MemAvailable_bytes")?, total)
}

fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| rounded(part / whole * 100.0))
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

impl From<Process> for Own {
    fn from(process: Process) -> Own {
        Own {
            cpu_seconds: process.cpu_seconds,
            resident_memory_bytes: process.resident_bytes as u64,
            threads: process.threads as u64,
            open_fds: process.open_files as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_are_compared_with_the_last_look() {
        let mut last = None;
        assert_eq!(cpu_percent(&mut last, (10.0, 100.0)), None);
        assert_eq!(cpu_percent(&mut last, (13.0, 104.0)), Some(75.0));
        assert_eq!(cpu_percent(&mut last, (13.0, 104.0)), None);
        assert_eq!(cpu_percent(&mut last, (14.0, 112.0)), Some(12.5));
    }

    #[test]
    fn counters_that_go_back_give_no_odd_percentage() {
        let mut last = Some((10.0, 100.0));
        assert_eq!(cpu_percent(&mut last, (9.0, 104.0)), Some(0.0));
        assert_eq!(cpu_percent(&mut last, (1.0, 4.0)), None);
        assert_eq!(cpu_percent(&mut last, (2.0, 6.0)), Some(50.0));
    }

    #[test]
    fn memory_needs_both_fields() {
        assert_eq!(memory_percent("MemTotal: 3000 kB\nMemAvailable: 2000 kB\n"), Some(33.33));
        assert_eq!(memory_percent("MemTotal: 3000 kB\n"), None);
        assert_eq!(memory_percent("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
    }
}
