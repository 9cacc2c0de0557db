//! `monstack plan`

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use super::Answer;
use super::session::Session;
use crate::cli::{Global, Plan};
use crate::exec::read_only::ReadOnly;
use crate::exit::Exit;
use crate::phase::{Mode, Options, run_all};
use crate::report::Event;
use crate::report::recorder::Recorder;
use crate::target;

/// What `up` would do.
#[derive(Serialize)]
struct Facts {
    stack: String,
    changes: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    subject: String,
    change: String,
}

/// Says what `up` would do; writes nothing.
pub fn run(global: &Global, args: &Plan) -> Result<Answer> {
    let session = Session::open(global)?;
    session.watch_signals()?;
    let report = Recorder::default();
    let runner = ReadOnly(&session.runner);
    session.with_context((&report, &runner), Options::default(), |cx| {
        run_all(&target::up(cx.options), Mode::Dry, cx)
    })?;
    let changes = report.events().into_iter().filter_map(|event| match event {
        Event::Would { subject, message } => Some(Change { subject, change: message }),
        _ => None,
    });
    let facts = Facts { stack: session.stack.name.clone(), changes: changes.collect() };
    let exit = if args.check && !facts.changes.is_empty() { Exit::CHANGES } else { Exit::DONE };
    Answer::new(&facts, text(&facts), exit)
}

fn text(facts: &Facts) -> String {
    if facts.changes.is_empty() {
        return format!(
            "stack `{}` is what the stack file says; `monstack up` would change nothing\n",
            facts.stack
        );
    }
    let mut out = format!("`monstack up` would, for stack `{}`:\n", facts.stack);
    for change in &facts.changes {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "  {:15} {}",
            change.subject,
            change.change.trim_end().replace('\n', "\n      ")
        );
    }
    let _ = writeln!(out, "\n{} changes; nothing was touched", facts.changes.len());
    out
}
