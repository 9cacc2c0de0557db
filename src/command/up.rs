//! `monstack up`

use std::fmt::Write;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::Answer;
use super::session::Session;
use crate::cli::{Global, Up};
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::layout::Layout;
use crate::layout::secret;
use crate::phase::{Context, Mode, Options, Timing, run_all};
use crate::target;
use crate::topology::Topology;
use crate::verify::{Overall, Verdict};

/// What `up` achieved.
#[derive(Serialize)]
struct Facts {
    stack: String,
    result: &'static str,
    changed: bool,
    missing: Vec<Missing>,
    pages: Vec<Page>,
    phases: Vec<Timing>,
    seconds: f64,
    proven_at: Option<Timestamp>,
    verdict: Option<Verdict>,
}

/// A component that could not be had.
#[derive(Serialize)]
pub struct Missing {
    component: &'static str,
    reason: String,
}

/// A page of the stack.
#[derive(Serialize)]
pub struct Page {
    /// The component.
    pub component: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Where it is.
    pub url: String,
    /// How to log in, where that is needed.
    pub login: Option<String>,
}

/// Brings the stack up.
pub fn run(global: &Global, args: &Up) -> Result<Answer> {
    let session = Session::open(global)?;
    session.watch_signals()?;
    let _lock = session.lock("up", args.wait.lock_wait)?;
    let report = session.journal("up")?;
    let options = Options {
        require_pinned: args.require_pinned,
        no_verify: args.no_verify,
        ..Options::default()
    };
    session.with_context((&report, &session.runner), options, |cx| {
        run_all(&target::up(options), Mode::Apply, cx)?;
        let facts = facts(cx);
        session.keep_report(&facts)?;
        answer(&facts, args)
    })
}

fn answer(facts: &Facts, args: &Up) -> Result<Answer> {
    if args.strict && facts.result == "degraded" {
        let error =
            failure(Exit::UNHEALTHY, format!("the stack is degraded: {}", names(&facts.missing)));
        return Err(hinted(
            error,
            "provide what is missing, or leave `--strict` out; `monstack status` says how",
        ));
    }
    Answer::prose(facts, text(facts), Exit::DONE)
}

fn facts(cx: &Context<'_>) -> Facts {
    let topology = cx.state.record.as_ref().map(|record| record.topology());
    let missing = topology.as_ref().map(missing).unwrap_or_default();
    let result = match (&cx.state.proof, missing.is_empty()) {
        (_, false) => "degraded",
        (Some(proof), true) if proof.verdict.result == Overall::Degraded => "degraded",
        (Some(_), true) => "healthy",
        (None, true) => "running",
    };
    Facts {
        stack: cx.stack.name.clone(),
        result,
        changed: cx.changed(),
        missing,
        pages: topology.as_ref().map(|topology| pages(topology, &cx.layout)).unwrap_or_default(),
        phases: cx.timings.clone(),
        seconds: cx.timings.iter().map(|timing| timing.seconds).sum(),
        proven_at: cx.state.proof.as_ref().map(|proof| proof.at),
        verdict: cx.state.proof.as_ref().map(|proof| proof.verdict.clone()),
    }
}

/// The components that could not be had.
pub fn missing(topology: &Topology) -> Vec<Missing> {
    let missing = topology.missing.iter();
    missing.map(|(component, reason)| Missing { component, reason: reason.clone() }).collect()
}

/// The pages that people look at.
pub fn pages(topology: &Topology, layout: &Layout) -> Vec<Page> {
    ["nginx", "grafana", "prometheus", "alertmanager"]
        .into_iter()
        .filter_map(|name| topology.service(name))
        .map(|service| {
            let component = service.component.name;
            let password = layout.secrets().join(secret::GRAFANA);
            let login = (component == "grafana")
                .then(|| format!("user admin, password in {}", password.display()));
            let title = if component == "nginx" { "Application" } else { service.component.title };
            Page { component, title, url: service.url(), login }
        })
        .collect()
}

fn names(missing: &[Missing]) -> String {
    missing.iter().map(|missing| missing.component).collect::<Vec<_>>().join(", ")
}

fn text(facts: &Facts) -> String {
    let mut out = String::new();
    let state = match facts.result {
        "degraded" => format!("is up, but degraded: without {}", names(&facts.missing)),
        "healthy" => "is up, healthy and proven".to_owned(),
        _ => "is up, not proven".to_owned(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "stack `{}` {state}", facts.stack);
    if !facts.changed {
        let _ = writeln!(out, "nothing changed{}", proven_before(facts));
    }
    if !facts.missing.is_empty() {
        let _ = writeln!(out, "why, and what to do about it: `monstack status`");
    }
    let _ = writeln!(out);
    for page in &facts.pages {
        let _ = writeln!(out, "  {:13} {}", page.title, page.url);
        if let Some(login) = &page.login {
            let _ = writeln!(out, "  {:13} {login}", "");
        }
    }
    if let (true, Some(verdict)) = (facts.changed, &facts.verdict) {
        let _ = writeln!(out);
        let _ = verdict.text(&mut out);
    }
    let phases: Vec<String> = facts
        .phases
        .iter()
        .map(|timing| format!("{} {:.1} s", timing.phase, timing.seconds))
        .collect();
    let _ = writeln!(out, "\n  {}; in all {:.1} s", phases.join(", "), facts.seconds);
    let _ = writeln!(out, "\nnext: `monstack status`, `monstack open`, `monstack down`");
    out
}

fn proven_before(facts: &Facts) -> String {
    let Some(at) = facts.proven_at else { return String::new() };
    let age = Timestamp::now().as_second() - at.as_second();
    let result = facts.verdict.as_ref().map_or("", |verdict| verdict.result.word());
    format!("; last proof {} ago: {result}", super::status::age(age))
}
