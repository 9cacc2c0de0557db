//! `monstack lock`

use anyhow::Result;
use serde_json::json;

use super::Answer;
use super::session::Session;
use crate::cli::{Global, Lock};
use crate::exit::Exit;
use crate::workdir::lock::{self, Holder};

/// Says who holds the lock, or removes it.
pub fn run(global: &Global, args: &Lock) -> Result<Answer> {
    let session = Session::open(global)?;
    let path = session.layout.lock();
    let (holder, broken) = match args {
        Lock::Status => (lock::holder(&path)?, false),
        Lock::Break if path.exists() => (lock::break_open(&path)?, true),
        Lock::Break => (None, false),
    };
    let name = &session.stack.name;
    let text = match &holder {
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
