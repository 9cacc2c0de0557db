//! `monstack render`

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use super::Answer;
use super::session::Session;
use crate::cli::{Global, Render};
use crate::exec::read_only::ReadOnly;
use crate::exit::Exit;
use crate::phase::{self, Mode, Options, run_all};
use crate::report::Several;
use crate::target;

/// The files of the stack.
#[derive(Serialize)]
struct Facts {
    stack: String,
    folder: String,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    node: String,
    component: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<String>,
}

/// Writes the files of the stack, or shows what would change.
pub fn run(global: &Global, args: &Render) -> Result<Answer> {
    let session = Session::open(global)?;
    session.watch_signals()?;
    if args.diff {
        let quiet = Several(Vec::new());
        let runner = ReadOnly(&session.runner);
        return session.with_context((&quiet, &runner), Options::default(), |cx| {
            run_all(&target::files(), Mode::Dry, cx)?;
            answer(cx, args)
        });
    }
    let _lock = session.lock("render", None)?;
    let report = session.journal("render")?;
    session.with_context((&report, &session.runner), Options::default(), |cx| {
        run_all(&target::files(), Mode::Apply, cx)?;
        answer(cx, args)
    })
}

fn answer(cx: &phase::Context<'_>, args: &Render) -> Result<Answer> {
    let (_, _, rendered) = phase::files::rendered(cx)?;
    let mut files = Vec::new();
    for file in &rendered {
        let difference = if args.diff { phase::files::difference(file)? } else { None };
        if args.diff && difference.is_none() {
            continue;
        }
        files.push(File {
            node: file.node.clone(),
            component: file.component.to_owned(),
            path: file.path.display().to_string(),
            difference,
        });
    }
    let folder = cx.layout.root().join("rendered").display().to_string();
    let facts = Facts { stack: cx.stack.name.clone(), folder, files };
    Answer::new(&facts, text(&facts, args), Exit::DONE)
}

fn text(facts: &Facts, args: &Render) -> String {
    if !args.diff {
        return format!(
            "{} files of stack `{}` are in `{}`\n",
            facts.files.len(),
            facts.stack,
            facts.folder
        );
    }
    if facts.files.is_empty() {
        return format!("the files of stack `{}` are as they would be rendered\n", facts.stack);
    }
    let mut out = String::new();
    for difference in facts.files.iter().filter_map(|file| file.difference.as_deref()) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "would {}", difference.trim_end());
    }
    out
}
