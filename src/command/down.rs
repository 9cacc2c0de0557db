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

/// Data is lost, so the name of the stack has to be given: typed, or as `--confirm`.
fn confirm(session: &Session, args: &Down) -> Result<()> {
    let name = &session.stack.name;
    if args.keep_data && session.yes() {
        return Ok(());
    }
    let given = match &args.confirm {
        Some(given) if session.yes() => given.clone(),
        _ if session.can_ask() => Input::<String>::new()
            .with_prompt(format!(
                "this stops stack `{name}` and destroys its data; type its name to go on"
            ))
            .allow_empty(true)
            .interact_text()
            .map_err(|error| failure(Exit::DECLINED, format!("no answer: {error}")))?,
        _ => {
            let error = failure(
                Exit::DECLINED,
                format!("`down` destroys the data of stack `{name}` and was not confirmed"),
            );
            return Err(hinted(error, format!("type `monstack down --yes --confirm {name}`")));
        }
    };
    if given == *name {
        return Ok(());
    }
    let error = failure(
        Exit::DECLINED,
        format!("`{given}` is not the name of the stack, which is `{name}`"),
    );
    Err(hinted(error, format!("type `monstack down --yes --confirm {name}`")))
}
