//! `monstack status`

use std::fmt::Write;
use std::iter;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::Answer;
use super::session::Session;
use super::up::{Page, pages};
use crate::cli::{Global, Status as Args};
use crate::exit::Exit;
use crate::phase::Record;
use crate::report;
use crate::resolve::Origin;
use crate::supervisor::{Observed, State, client};
use crate::topology::Service;
use crate::workdir::lock;

/// What is known of a running stack.
#[derive(Serialize)]
struct Facts {
    stack: String,
    target: &'static str,
    state: &'static str,
    supervisor: Option<u32>,
    components: Vec<Component>,
    pages: Vec<Page>,
    locked_by: Option<String>,
    proven_at: Option<Timestamp>,
    proof: Option<&'static str>,
}

#[derive(Serialize)]
struct Component {
    name: &'static str,
    node: Option<String>,
    state: &'static str,
    version: Option<String>,
    origin: Option<Origin>,
    source: Option<String>,
    pid: Option<u32>,
    since: Option<Timestamp>,
    restarts: u32,
    last_exit: Option<String>,
    url: Option<String>,
    reason: Option<String>,
}

/// Says what runs.
pub fn run(global: &Global, args: &Args) -> Result<Answer> {
    let (session, record) = Session::open_existing(global)?;
    let run = session.layout.run();
    let observed = client::observed(&run)?;
    let watch = if client::is_running(&run) { Watch::Kept } else { Watch::Alone };
    let topology = record.topology();
    let mut components: Vec<Component> = topology
        .services()
        .map(|service| component(&service, &record, (observed.as_ref(), watch)))
        .collect();
    components.extend(topology.missing.keys().map(|name| absent(name, record.missing.get(*name))));
    let state = overall(&components, watch);
    let facts = Facts {
        stack: record.stack.name.clone(),
        target: "local",
        state,
        supervisor: observed
            .filter(|_| watch == Watch::Kept)
            .map(|observed| observed.supervisor.pid),
        components,
        pages: pages(&topology, &session.layout),
        locked_by: lock::holder(&session.layout.lock())?
            .filter(|holder| !holder.is_dead())
            .map(|holder| format!("{} (pid {})", holder.command, holder.process.pid)),
        proven_at: record.proven.as_ref().map(|proof| proof.at),
        proof: record.proven.as_ref().map(|proof| proof.verdict.result.word()),
    };
    let exit = match state {
        "healthy" => Exit::DONE,
        "degraded" if !args.strict => Exit::DONE,
        _ => Exit::UNHEALTHY,
    };
    Answer::prose(&facts, text(&facts), exit)
}

/// Whether a supervisor keeps the services.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Kept,
    Alone,
}

fn component(
    service: &Service<'_>,
    record: &Record,
    (observed, watch): (Option<&Observed>, Watch),
) -> Component {
    let name = service.component.name;
    let found = record.programs.get(name);
    let status =
        observed.and_then(|observed| observed.services.iter().find(|status| status.name == name));
    let process = status.and_then(|status| status.process).filter(|process| process.is_alive());
    let state = match status.map(|status| status.state) {
        Some(_) if watch == Watch::Alone && process.is_some() => "unsupervised",
        Some(_) if watch == Watch::Alone => "stopped",
        Some(State::Healthy) if process.is_some() => "healthy",
        Some(State::Unhealthy) if process.is_some() => "unhealthy",
        Some(State::Starting) if process.is_some() => "starting",
        Some(_) => "restarting",
        None => "stopped",
    };
    Component {
        name,
        node: Some(service.node.name.clone()),
        state,
        version: found.map(|found| found.version.clone()),
        origin: found.map(|found| found.origin),
        source: found.map(|found| found.source.clone()),
        pid: process.map(|process| process.pid),
        since: status.filter(|_| process.is_some()).map(|status| status.since),
        restarts: status.map_or(0, |status| status.restarts),
        last_exit: status.and_then(|status| status.last_exit.clone()),
        url: Some(service.url()),
        reason: None,
    }
}

fn absent(name: &'static str, reason: Option<&String>) -> Component {
    Component {
        name,
        node: None,
        state: "missing",
        version: None,
        origin: None,
        source: None,
        pid: None,
        since: None,
        restarts: 0,
        last_exit: None,
        url: None,
        reason: reason.cloned(),
    }
}

fn overall(components: &[Component], watch: Watch) -> &'static str {
    let any = |state: &str| components.iter().any(|component| component.state == state);
    let all = |state: &[&str]| components.iter().all(|component| state.contains(&component.state));
    match () {
        () if any("unsupervised") => "unsupervised",
        () if watch == Watch::Alone => "stopped",
        () if all(&["healthy"]) => "healthy",
        () if all(&["healthy", "missing"]) => "degraded",
        () => "unhealthy",
    }
}

/// A number of seconds as people say it.
pub fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min", seconds / 60),
        seconds if seconds < 172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

const HEAD: [&str; 8] =
    ["COMPONENT", "STATE", "VERSION", "FROM", "PID", "SINCE", "RESTARTS", "URL"];

fn row(component: &Component, now: i64) -> [String; 8] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        component.name.to_owned(),
        component.state.to_owned(),
        or_none(component.version.clone()),
        or_none(component.origin.map(|origin| origin.to_string())),
        or_none(component.pid.map(|pid| pid.to_string())),
        or_none(component.since.map(|since| age(now - since.as_second()))),
        component.restarts.to_string(),
        or_none(component.url.clone()),
    ]
}

fn text(facts: &Facts) -> String {
    let mut out = format!("stack `{}` on `{}` is {}\n\n", facts.stack, facts.target, facts.state);
    let now = Timestamp::now().as_second();
    let rows = facts.components.iter().map(|component| row(component, now));
    out.push_str(&report::table(
        &iter::once(HEAD.map(str::to_owned)).chain(rows).collect::<Vec<_>>(),
    ));
    // Writing to a string cannot fail.
    for component in &facts.components {
        if let Some(reason) = &component.reason {
            let _ = writeln!(
                out,
                "\n  {} is missing: {}",
                component.name,
                reason.replace('\n', "\n    ")
            );
        }
        if let (Some(exit), "unhealthy" | "restarting" | "starting") =
            (&component.last_exit, component.state)
        {
            let _ = writeln!(out, "\n  {} last ended: {exit}", component.name);
        }
    }
    if facts.state == "unsupervised" {
        let _ = writeln!(
            out,
            "\n  nobody starts again what ends, for the supervisor is gone: run `monstack up`"
        );
    }
    if let (Some(at), Some(proof)) = (facts.proven_at, facts.proof) {
        let _ = writeln!(out, "\n  last proof {} ago: {proof}", age(now - at.as_second()));
    }
    if let Some(holder) = &facts.locked_by {
        let _ = writeln!(out, "\n  locked by {holder}");
    }
    let _ = writeln!(out, "\nnext: `monstack verify`, `monstack logs ROLE`, `monstack open`");
    out
}
