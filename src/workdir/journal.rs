//! The journal: one JSON line per event, appended with one write.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::{PLAIN, append};
use crate::report::{Event, Reporter};

/// A journal that is open for one run.
pub struct Journal {
    file: Mutex<File>,
    run: String,
    command: String,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    run: &'a str,
    command: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

impl Journal {
    /// Opens the journal at `path`; a line torn by a crash is ended first.
    pub fn open(path: &Path, run: &str, command: &str) -> Result<Self> {
        let mut file = append(path, PLAIN)?;
        if is_torn(path)? {
            file.write_all(b"\n").with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        Ok(Self { file: Mutex::new(file), run: run.to_owned(), command: command.to_owned() })
    }
}

impl Reporter for Journal {
    fn event(&self, event: Event) {
        if matches!(event, Event::Progress { .. }) {
            return;
        }
        let time = Timestamp::now().to_string();
        let line = Line { time, run: &self.run, command: &self.command, event: &event };
        if let Ok(mut bytes) = serde_json::to_vec(&line) {
            bytes.push(b'\n');
            // A journal that cannot be written, on a full disk say, does not stop the run.
            let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes);
        }
    }
}

fn is_torn(path: &Path) -> Result<bool> {
    let mut file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_ended_and_lines_are_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        std::fs::write(&path, "{\"torn\":").unwrap();
        let journal = Journal::open(&path, "r1", "up").unwrap();
        journal.event(Event::step("app", "started"));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let line: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(line["event"], "step");
        assert_eq!(line["run"], "r1");
    }
}
