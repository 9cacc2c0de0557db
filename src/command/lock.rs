//! `monstack lock`

use anyhow::Result;
use serde_json::json;

use super::Answer;
use super::session::Session;
use crate::cli::{Global, Lock};
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::workdir::lock::{self, Holder};

/// Says who holds the lock, or removes it.
pub fn run(global: &Global, args: &Lock) -> Result<Answer> {
    let session = Session::open_named(global)?;
    let path = session.layout.lock();
    let (holder, broken) = match (args, lock::holder(&path)?) {
        (Lock::Break, Some(holder)) if !holder.is_dead() && !session.yes() => {
            let error =
                failure(Exit::DECLINED, format!("the lock is held by {}", describe(&holder)));
            return Err(hinted(
                error,
                "end that process first, or type `monstack lock break --yes`",
            ));
        }
        (Lock::Break, _) if path.exists() => (lock::break_open(&path)?, true),
        (_, holder) => (holder, false),
    };
    let name = &session.stack.name;
    let text = match &holder {
        None if broken => format!("removed the unreadable lock of stack `{name}`\n"),
        None => format!("stack `{name}` is not locked\n"),
        Some(holder) if broken => format!("broke the lock of {}\n", describe(holder)),
        Some(holder) => format!("stack `{name}` is locked by {}\n", describe(holder)),
    };
    let dead = holder.as_ref().map(Holder::is_dead);
    Answer::new(
        &json!({ "stack": name, "holder": holder, "dead": dead, "broken": broken }),
        text,
        Exit::DONE,
    )
}

fn describe(holder: &Holder) -> String {
    let life = if holder.is_dead() { "which is dead" } else { "which lives" };
    let since = holder.since.strftime("%Y-%m-%d %H:%M:%S UTC");
    format!(
        "`{}` (pid {} on `{}`, {life}, since {since})",
        holder.command, holder.process.pid, holder.host
    )
}
