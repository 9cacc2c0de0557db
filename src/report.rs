//! Seam: what a run tells. Events go in; a terminal, plain lines and the journal come out.

use std::io::Write;

use console::Term;
use serde::Serialize;

mod fold;
pub mod plain;
pub mod recorder;
mod table;
pub mod terminal;

pub use table::table;

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A phase begins.
    PhaseStarted { index: usize, total: usize, title: &'static str },
    /// Something was done to `subject` (a node, a component).
    Step { subject: String, message: String },
    /// How far a long step is; shown live, never kept.
    Progress { subject: String, done: u64, total: Option<u64> },
    /// What a dry run would do to `subject`.
    Would { subject: String, message: String },
    /// Something the user should know that is no failure.
    Warning { subject: String, message: String },
    /// A phase ended well; `changed` says whether it did anything.
    PhaseFinished { title: &'static str, seconds: f64, changed: bool },
    /// A phase failed.
    PhaseFailed { title: &'static str, seconds: f64, message: String },
}

impl Event {
    /// Something was done to `subject`.
    pub fn step(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Step { subject: subject.into(), message: message.into() }
    }

    /// What a dry run would do to `subject`.
    pub fn would(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Would { subject: subject.into(), message: message.into() }
    }

    /// Something the user should know.
    pub fn warning(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Warning { subject: subject.into(), message: message.into() }
    }
}

/// Takes events; may be called from several threads.
pub trait Reporter: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Gives each event to several reporters.
pub struct Several(pub Vec<Box<dyn Reporter>>);

impl Reporter for Several {
    fn event(&self, event: Event) {
        self.0.iter().for_each(|reporter| reporter.event(event.clone()));
    }
}

/// Whether somebody still reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// It was written.
    Listens,
    /// The reader closed it, as `head` does.
    Left,
}

/// Writes a part of an answer that goes on to standard output.
pub fn stream(text: &str) -> std::io::Result<Reader> {
    write_to(&mut std::io::stdout().lock(), text)
}

/// Writes the answer of a command to standard output; a reader that closed it is no error.
pub fn answer(text: &str) -> std::io::Result<()> {
    stream(text).map(drop)
}

/// The same for sentences, whose long lines are folded on a terminal.
pub fn prose(text: &str) -> std::io::Result<()> {
    answer(&folded(text, &Term::stdout()))
}

/// Writes an error or a hint to standard error, folded on a terminal.
pub fn complain(text: &str) -> std::io::Result<()> {
    write_to(&mut std::io::stderr().lock(), &folded(text, &Term::stderr())).map(drop)
}

/// `text` as it fits `terminal`; unchanged where there is none.
fn folded(text: &str, terminal: &Term) -> String {
    match terminal.size_checked() {
        Some((_, columns)) if terminal.is_term() => fold::fold(text, usize::from(columns)),
        _ => text.to_owned(),
    }
}

fn write_to(out: &mut dyn Write, text: &str) -> std::io::Result<Reader> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Reader::Left),
        written => written.map(|()| Reader::Listens),
    }
}
