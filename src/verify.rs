//! Proves the signals of a stack: not that processes run, but that what they say arrives where people look.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::error::{Note, failure, hint_of, messages};
use crate::exit::Exit;
use crate::http::Http;
use crate::layout::Layout;
use crate::process::Listener;
use crate::report::{Event, Reporter};
use crate::topology::Topology;

mod alert;
mod canary;
mod channels;
mod context;
mod dashboard;
#[cfg(test)]
mod fixture;
mod logs;
mod network;
mod panels;
mod presence;
mod request;
mod selector;
mod source;
mod targets;
mod textfile;
mod verdict;

pub use verdict::{Check, CheckResult, Item, Outcome, Overall, Verdict};

use context::{Clock, Context, Sheet, seconds};

/// What is verified, and with what.
pub struct Subject<'a> {
    /// What should run.
    pub topology: &'a Topology,
    /// Where its files are.
    pub layout: &'a Layout,
    /// Asks its servers.
    pub http: &'a dyn Http,
    /// Is told when a check has ended.
    pub report: &'a dyn Reporter,
    /// Listening sockets of the stack's own processes.
    pub listeners: Vec<Listener>,
    /// Names and JSON of the dashboards.
    pub dashboards: Vec<(String, Vec<u8>)>,
    /// Password of Grafana's user `admin`; it is never printed.
    pub grafana_password: Option<&'a str>,
    /// How often targets are scraped.
    pub interval: Duration,
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
    /// Whether the test alert goes to people.
    pub channels: Channels,
}

/// Whether the test alert goes to the channels of the stack file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// It leads to the receiver of test alerts only.
    #[default]
    Excluded,
    /// People get it too.
    Included,
}

/// What can be asked for; each part is one check or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// Targets, and a metric read back.
    Metrics,
    /// A log line, and a request that is counted and logged.
    Logs,
    /// A test alert.
    Alerts,
    /// The panels of all dashboards.
    Panels,
    /// The listening ports.
    Network,
}

/// How a check is made.
struct Row {
    check: Check,
    part: Part,
    title: &'static str,
    run: fn(&Context<'_>, &mut Sheet) -> Result<()>,
}

const ROWS: &[Row] = &[
    Row {
        check: Check::Targets,
        part: Part::Metrics,
        title: "every scrape target is up and fresh",
        run: targets::check,
    },
    Row {
        check: Check::Canary,
        part: Part::Metrics,
        title: "a written metric is read back",
        run: canary::check,
    },
    Row {
        check: Check::Logs,
        part: Part::Logs,
        title: "a line of the app's log is found in Loki",
        run: logs::check,
    },
    Row {
        check: Check::Request,
        part: Part::Logs,
        title: "a request is counted and logged",
        run: request::check,
    },
    Row {
        check: Check::Panels,
        part: Part::Panels,
        title: "every panel shows something",
        run: panels::check,
    },
    Row {
        check: Check::Alert,
        part: Part::Alerts,
        title: "a test alert fires, arrives and resolves",
        run: alert::check,
    },
    Row {
        check: Check::Network,
        part: Part::Network,
        title: "exactly the declared ports answer",
        run: network::check,
    },
];

/// Makes the checks of `parts`, of all parts if there are none; fails only when it is interrupted or another verification runs.
pub fn verify(subject: &Subject<'_>, parts: &[Part]) -> Result<Verdict> {
    verify_by(subject, parts, &Clock::machine())
}

fn verify_by(subject: &Subject<'_>, parts: &[Part], clock: &Clock) -> Result<Verdict> {
    let start = clock.now();
    let run = format!("{:x}p{:x}", start.as_micros(), std::process::id());
    let cx = Context { subject, clock, run, refused: AtomicBool::new(false) };
    let _turn = textfile::Turn::take(&cx)?;
    alert::clean(&cx);
    let rows = ROWS.iter().filter(|row| parts.is_empty() || parts.contains(&row.part));
    // The checks wait most of the time, each for something else.
    let checks = std::thread::scope(|scope| {
        let running: Vec<_> = rows
            .map(|row| {
                let cx = &cx;
                (row, scope.spawn(move || row.make(cx)))
            })
            .collect();
        running
            .into_iter()
            .map(|(row, thread)| thread.join().unwrap_or_else(|_| row.broken()))
            .collect()
    });
    if subject.interrupted.load(Ordering::Relaxed) {
        return Err(failure(Exit::INTERRUPTED, "the verification was interrupted"))
            .hint("run `monstack verify` again");
    }
    let taken = clock.now().saturating_sub(start);
    Ok(Verdict::new(moment(start)?, seconds(taken), checks))
}

impl Row {
    fn make(&self, cx: &Context<'_>) -> CheckResult {
        let start = cx.clock.now();
        let mut sheet = Sheet::default();
        let outcome = match (self.run)(cx, &mut sheet) {
            Ok(()) => Outcome::of(&sheet.items),
            Err(error) => Outcome::Failed {
                reason: messages(&error).join(": "),
                hint: hint_of(&error).unwrap_or("run `monstack status`").to_owned(),
            },
        };
        let taken = cx.clock.now().saturating_sub(start);
        let result = self.result(outcome, taken, sheet);
        if !cx.subject.interrupted.load(Ordering::Relaxed) {
            cx.subject.report.event(event(&result));
        }
        result
    }

    fn result(&self, outcome: Outcome, taken: Duration, sheet: Sheet) -> CheckResult {
        CheckResult {
            check: self.check,
            title: self.title.to_owned(),
            outcome,
            seconds: seconds(taken),
            summary: sheet.summary,
            facts: sheet.facts,
            items: sheet.items,
        }
    }

    /// A check that broke off has proven nothing.
    fn broken(&self) -> CheckResult {
        let outcome = Outcome::Failed {
            reason: "the check itself broke off, which is a fault of monstack".to_owned(),
            hint: format!("run `monstack verify --only {}` again", self.part.name()),
        };
        self.result(outcome, Duration::ZERO, Sheet::default())
    }
}

impl Part {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

fn event(result: &CheckResult) -> Event {
    let line = format!("{} ({:.1} s)", result.line(), result.seconds);
    Event::step(result.check.name(), line)
}

fn moment(since_epoch: Duration) -> Result<String> {
    let moment = jiff::Timestamp::from_second(i64::try_from(since_epoch.as_secs())?)?;
    Ok(moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_of;
    use fixture::{Fixture, listener};
    use serde_json::json;

    fn verdict(fixture: &Fixture, parts: &[Part]) -> Result<Verdict> {
        verify_by(&fixture.subject(), parts, &Clock::turned())
    }

    #[test]
    fn every_check_belongs_to_a_part_and_has_one_row() {
        let mut checks: Vec<_> = ROWS.iter().map(|row| row.check).collect();
        checks.sort();
        checks.dedup();
        assert_eq!(checks.len(), 7);
        let names: Vec<_> = Part::value_variants().iter().map(|part| part.name()).collect();
        assert_eq!(names, ["metrics", "logs", "alerts", "panels", "network"]);
        for part in Part::value_variants() {
            assert!(ROWS.iter().any(|row| row.part == *part), "{part:?}");
        }
    }

    #[test]
    fn no_parts_means_all_and_parts_choose() {
        let fixture = Fixture::new();
        let all = verdict(&fixture, &[]).unwrap();
        assert_eq!(all.checks.len(), 7);
        assert_eq!(all.result, Overall::Failed);
        assert_eq!(all.started, "2025-11-21T04:40:00Z");
        let some = verdict(&fixture, &[Part::Network, Part::Metrics]).unwrap();
        let checks: Vec<_> = some.checks.iter().map(|check| check.check).collect();
        assert_eq!(checks, [Check::Targets, Check::Canary, Check::Network]);
    }

    #[test]
    fn each_check_is_reported_as_it_ends() {
        let mut fixture = Fixture::new();
        for name in ["loki", "alloy", "agent", "app", "nginx", "grafana", "alertmanager"] {
            fixture.without(name, "none");
        }
        fixture.listeners = vec![listener("x", "127.0.0.1:1")];
        let verdict = verdict(&fixture, &[Part::Logs, Part::Network]).unwrap();
        let outcomes: Vec<_> = verdict.checks.iter().map(|check| check.outcome.word()).collect();
        assert_eq!(outcomes, ["not proven", "failed", "failed"]);
        let events = fixture.report.events();
        assert_eq!(events.len(), 3);
        assert!(events.iter().any(|event| matches!(
            event,
            Event::Step { subject, message } if subject == "logs" && message.starts_with("not proven: ")
        )));
        assert!(events.iter().any(|event| matches!(
            event,
            Event::Step { subject, message } if subject == "network" && message.starts_with("failed: ")
        )));
    }

    #[test]
    fn an_error_becomes_reason_and_hint() {
        let verdict = verdict(&Fixture::new(), &[Part::Alerts]).unwrap();
        let Outcome::Failed { reason, hint } = &verdict.checks[0].outcome else {
            panic!("{verdict:?}")
        };
        assert!(reason.starts_with("`http://127.77.1.3:9090/api/v1/rules` does not answer"));
        assert_eq!(hint, "run `monstack status`");
    }

    #[test]
    fn an_interruption_is_an_error_of_its_own_and_nothing_is_reported() {
        let fixture = Fixture::new();
        fixture.interrupted.store(true, Ordering::Relaxed);
        let error = verdict(&fixture, &[]).unwrap_err();
        assert_eq!(exit_of(&error), Exit::INTERRUPTED);
        assert!(fixture.report.events().is_empty());
        assert_eq!(std::fs::read_dir(fixture.textfile("")).unwrap().count(), 0);
    }

    #[test]
    fn a_verdict_of_a_real_run_survives_json() {
        let verdict = verdict(&Fixture::new(), &[]).unwrap();
        let json = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
        assert!(!json.contains("hunter2"));
        assert_eq!(json!(verdict.result), "failed");
    }

    #[test]
    fn a_check_that_breaks_off_has_proven_nothing() {
        let result = ROWS[0].broken();
        assert_eq!(result.outcome.word(), "failed");
        assert_eq!(result.outcome.hint(), Some("run `monstack verify --only metrics` again"));
    }
}
