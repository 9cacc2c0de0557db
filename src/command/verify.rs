//! `monstack verify`

use anyhow::Result;

use super::Answer;
use super::session::Session;
use crate::cli::{Global, Verify};
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::phase::{Options, prove};
use crate::report::Event;
use crate::supervisor::client;
use crate::verify::{Channels, Overall};

/// Proves the signals of a running stack.
pub fn run(global: &Global, args: &Verify) -> Result<Answer> {
    let (session, _) = Session::open_existing(global)?;
    if !client::is_running(&session.layout.run()) {
        let error =
            failure(Exit::UNHEALTHY, format!("stack `{}` does not run", session.stack.name));
        return Err(hinted(error, "bring it up with `monstack up`"));
    }
    session.watch_signals()?;
    let _lock = session.lock("verify", args.wait.lock_wait)?;
    let report = session.journal("verify")?;
    let channels = if args.notify { Channels::Included } else { Channels::Excluded };
    session.with_context((&report, &session.runner), Options::default(), |cx| {
        let verdict = prove::prove(cx, &args.only, channels)?;
        if args.only.is_empty() {
            // What was found is told even where it cannot be kept.
            if let Err(error) = prove::keep(cx, verdict.clone()) {
                cx.report.event(Event::warning("proof", format!("it is not kept: {error:#}")));
            }
        }
        let exit = match verdict.result {
            Overall::Proven => Exit::DONE,
            Overall::Degraded if !args.strict => Exit::DONE,
            Overall::Degraded | Overall::Failed => Exit::UNHEALTHY,
        };
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = verdict.text(&mut text);
        Answer::prose(&verdict, text, exit)
    })
}
