//! What a verification found; one struct feeds the text and the JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// When it began, in RFC 3339 and UTC.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The sum of its checks.
    pub result: Overall,
    /// The checks that were asked for, in a fixed order.
    pub checks: Vec<CheckResult>,
}

/// The sum of several checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// Everything was proven.
    Proven,
    /// Nothing failed, but something could not be proven here.
    Degraded,
    /// At least one check failed.
    Failed,
}

/// The seven checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Every scrape target is up and fresh.
    Targets,
    /// A metric written on a node is read back where people look.
    Canary,
    /// A line of the app's log is found in Loki.
    Logs,
    /// A request is counted and logged.
    Request,
    /// Every panel of every dashboard shows something.
    Panels,
    /// A test alert fires, arrives and resolves.
    Alert,
    /// Exactly the declared ports answer.
    Network,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Which check.
    pub check: Check,
    /// What it proves, for people.
    pub title: String,
    /// Whether it was proven.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What was seen, in a few words.
    pub summary: String,
    /// What was measured.
    pub facts: BTreeMap<String, Value>,
    /// The parts it looked at, one by one.
    pub items: Vec<Item>,
}

/// One part of a check, such as a target or a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Whether it was proven.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was seen, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Whether something was proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was seen to work.
    Proven,
    /// It could not be tried here.
    NotProven {
        /// Why not.
        reason: String,
        /// The way out.
        hint: String,
    },
    /// It was tried and does not work.
    Failed {
        /// What was found, and what was wanted.
        reason: String,
        /// What to type next.
        hint: String,
    },
}

impl Verdict {
    /// The verdict over `checks`.
    pub fn new(started: String, seconds: f64, checks: Vec<CheckResult>) -> Self {
        let any = |test: fn(&Outcome) -> bool| checks.iter().any(|check| test(&check.outcome));
        let result = if any(Outcome::is_failed) {
            Overall::Failed
        } else if any(|outcome| *outcome != Outcome::Proven) {
            Overall::Degraded
        } else {
            Overall::Proven
        };
        Self { started, seconds, result, checks }
    }

    /// Writes it for people: a line per check, below it what was not proven and why.
    pub fn text(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        for check in &self.checks {
            check.text(out)?;
        }
        let count =
            |word: &str| self.checks.iter().filter(|check| check.outcome.word() == word).count();
        let (proven, unproven, failed) = (count("proven"), count("not proven"), count("failed"));
        writeln!(
            out,
            "\nverify: {}: {proven} proven, {unproven} not proven, {failed} failed in {:.1} s",
            self.result.word(),
            self.seconds
        )
    }
}

impl Overall {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    /// Its name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Canary => "canary",
            Self::Logs => "logs",
            Self::Request => "request",
            Self::Panels => "panels",
            Self::Alert => "alert",
            Self::Network => "network",
        }
    }
}

impl CheckResult {
    /// What to tell in one line: the reason if there is one, else what was seen.
    pub fn line(&self) -> String {
        match self.outcome.reason() {
            Some(reason) => format!("{}: {reason}", self.outcome.word()),
            None if self.summary.is_empty() => self.outcome.word().to_owned(),
            None => format!("{}: {}", self.outcome.word(), self.summary),
        }
    }

    fn text(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let (word, name) = (self.outcome.word(), self.check.name());
        writeln!(out, "{word:<10}  {name:<7}  {}  {:.1} s", self.title, self.seconds)?;
        let indent = " ".repeat(21);
        if !self.summary.is_empty() {
            writeln!(out, "{indent}{}", self.summary)?;
        }
        let open: Vec<_> =
            self.items.iter().filter(|item| item.outcome != Outcome::Proven).collect();
        // Several parts often have one reason, such as a program that is not there.
        for same in open.chunk_by(|one, next| one.outcome == next.outcome) {
            let names: Vec<_> = same.iter().map(|item| item.name.as_str()).collect();
            let outcome = &same[0].outcome;
            let (word, reason) = (outcome.word(), outcome.reason().unwrap_or_default());
            writeln!(out, "{indent}- {}: {word}: {reason}", names.join(", "))?;
        }
        // The reason of a check sums up its parts; it is told where there are none.
        if let (Some(reason), true) = (self.outcome.reason(), open.is_empty()) {
            writeln!(out, "{indent}{reason}")?;
        }
        match self.outcome.hint() {
            Some(hint) => writeln!(out, "{indent}hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Item {
    /// A part that was seen to work.
    pub fn proven(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Proven, detail: detail.into() }
    }

    /// A part that does not work.
    pub fn failed(
        name: impl Into<String>,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let outcome = Outcome::Failed { reason: reason.into(), hint: hint.into() };
        Self { name: name.into(), outcome, detail: String::new() }
    }

    /// A part that could not be tried.
    pub fn not_proven(
        name: impl Into<String>,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let outcome = Outcome::NotProven { reason: reason.into(), hint: hint.into() };
        Self { name: name.into(), outcome, detail: String::new() }
    }
}

impl Outcome {
    /// The outcome of a whole, from its parts: any that failed, else any that was not proven.
    pub fn of(items: &[Item]) -> Self {
        let pick = |word: &str| -> Option<(String, String)> {
            let bad: Vec<_> = items.iter().filter(|item| item.outcome.word() == word).collect();
            let hint = bad.first()?.outcome.hint().unwrap_or_default();
            Some((sum_up(&bad), hint.to_owned()))
        };
        if let Some((reason, hint)) = pick("failed") {
            Self::Failed { reason, hint }
        } else if let Some((reason, hint)) = pick("not proven") {
            Self::NotProven { reason, hint }
        } else {
            Self::Proven
        }
    }

    /// The word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::NotProven { .. } => "not proven",
            Self::Failed { .. } => "failed",
        }
    }

    /// Why it was not proven.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Proven => None,
            Self::NotProven { reason, .. } | Self::Failed { reason, .. } => Some(reason),
        }
    }

    /// The way out.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Proven => None,
            Self::NotProven { hint, .. } | Self::Failed { hint, .. } => {
                Some(hint.as_str()).filter(|hint| !hint.is_empty())
            }
        }
    }

    fn is_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// The first few reasons in one sentence.
fn sum_up(bad: &[&Item]) -> String {
    const SHOWN: usize = 3;
    let mut parts: Vec<String> = Vec::new();
    for item in bad.iter().take(SHOWN) {
        parts.push(format!("{}: {}", item.name, item.outcome.reason().unwrap_or_default()));
    }
    if bad.len() > SHOWN {
        parts.push(format!("and {} more", bad.len() - SHOWN));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(check: Check, items: Vec<Item>) -> CheckResult {
        CheckResult {
            check,
            title: format!("the {} work", check.name()),
            outcome: Outcome::of(&items),
            seconds: 1.25,
            summary: String::new(),
            facts: BTreeMap::from([("seen".to_owned(), Value::from(3))]),
            items,
        }
    }

    fn mixed() -> Verdict {
        let mut targets = result(Check::Targets, vec![Item::proven("node", "0.4 s old")]);
        targets.summary = "1 target is up".to_owned();
        let logs =
            result(Check::Logs, vec![Item::not_proven("log line", "no Loki", "provide `loki`")]);
        let mut bad: Vec<_> =
            (1..=4).map(|n| Item::failed(format!("p{n}"), "empty", "look")).collect();
        bad.push(Item::failed("p5", "other", "look again"));
        let checks = vec![targets, logs, result(Check::Panels, bad)];
        Verdict::new("2026-11-21T00:00:00Z".to_owned(), 3.26, checks)
    }

    #[test]
    fn the_worst_check_decides() {
        let mut verdict = mixed();
        assert_eq!(verdict.result, Overall::Failed);
        verdict.checks.pop();
        let verdict = Verdict::new(verdict.started, 1.0, verdict.checks);
        assert_eq!(verdict.result, Overall::Degraded);
        let verdict = Verdict::new(verdict.started, 1.0, verdict.checks[..1].to_vec());
        assert_eq!(verdict.result, Overall::Proven);
    }

    #[test]
    fn the_text_says_what_was_not_proven_and_the_way_out() {
        let mut text = String::new();
        mixed().text(&mut text).unwrap();
        insta::assert_snapshot!(text, @r"
        proven      targets  the targets work  1.2 s
                             1 target is up
        not proven  logs     the logs work  1.2 s
                             - log line: not proven: no Loki
                             hint: provide `loki`
        failed      panels   the panels work  1.2 s
                             - p1, p2, p3, p4: failed: empty
                             - p5: failed: other
                             hint: look

        verify: failed: 1 proven, 1 not proven, 1 failed in 3.3 s
        ");
    }

    #[test]
    fn many_reasons_are_summed_up_in_one_line() {
        let verdict = mixed();
        assert_eq!(verdict.checks[0].line(), "proven: 1 target is up");
        assert_eq!(verdict.checks[2].line(), "failed: p1: empty; p2: empty; p3: empty; and 2 more");
    }

    #[test]
    fn json_gives_back_the_same_verdict() {
        let verdict = mixed();
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(json["result"], "failed");
        assert_eq!(json["checks"][1]["check"], "logs");
        assert_eq!(json["checks"][1]["outcome"], "not_proven");
        assert_eq!(json["checks"][1]["hint"], "provide `loki`");
        assert_eq!(json["checks"][0]["items"][0]["detail"], "0.4 s old");
        assert_eq!(serde_json::from_value::<Verdict>(json).unwrap(), verdict);
    }
}
