//! `monstack down`

use anyhow::Result;
use dialoguer::Input;
use serde::Serialize;

use super::Answer;
use super::session::Session;
use crate::cli::{Down, Global};
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::phase::{Mode, Options, Timing, run_all};
use crate::report;
use crate::target;

/// What `down` did.
#[derive(Serialize)]
struct Facts {
    stack: String,
    kept: Option<String>,
    phases: Vec<Timing>,
}

/// Takes the stack down.
pub fn run(global: &Global, args: &Down) -> Result<Answer> {
    let session = Session::open_remains(global)?;
    confirm(&session, args)?;
    session.watch_signals()?;
    let _lock = session.lock("down", args.wait.lock_wait)?;
    // The journal lies in the folder that goes away, so progress is only shown.
    let report = session.display();
    let options = Options { keep_data: args.keep_data, ..Options::default() };
    session.with_context((&*report, &session.runner), options, |cx| {
        run_all(&target::down(), Mode::Apply, cx)?;
        let kept = args.keep_data.then(|| cx.layout.root().join("data").display().to_string());
        let facts = Facts { stack: cx.stack.name.clone(), kept, phases: cx.timings.clone() };
        let text = match &facts.kept {
            Some(data) => format!(
                "stack `{}` is down; its data and secrets are kept in `{data}`\n",
                facts.stack
            ),
            None => {
                format!("stack `{}` is down; no process, port or file of it is left\n", facts.stack)
            }
        };
        Answer::prose(&facts, text, Exit::DONE)
    })
}

/// Where data is lost the name of the stack has to be given: typed, or as `--confirm`.
fn confirm(session: &Session, args: &Down) -> Result<()> {
    let name = &session.stack.name;
    let (deed, way) = if args.keep_data {
        (format!("stops stack `{name}`"), "monstack down --keep-data --yes".to_owned())
    } else {
        let deed = format!("stops stack `{name}` and destroys its data");
        (deed, format!("monstack down --yes --confirm {name}"))
    };
    let declined =
        |message: String| Err(hinted(failure(Exit::DECLINED, message), format!("type `{way}`")));
    let given = match &args.confirm {
        _ if args.keep_data && session.yes() => return Ok(()),
        Some(given) if session.yes() => given.clone(),
        _ if session.can_ask() => ask(&format!("this {deed}; type its name to go on\n"))?,
        _ => return declined(format!("`down` {deed} and was not confirmed")),
    };
    if given == *name {
        return Ok(());
    }
    declined(format!("`{given}` is not the name of the stack, which is `{name}`"))
}

/// Asks in two lines, for a prompt that is wider than the terminal is drawn again and again.
fn ask(question: &str) -> Result<String> {
    report::complain(question)?;
    Input::new()
        .with_prompt("name")
        .allow_empty(true)
        .interact_text()
        .map_err(|error| failure(Exit::DECLINED, format!("no answer: {error}")))
}
