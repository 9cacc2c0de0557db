//! Reads log files: what is there, and what comes.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use regex::Regex;
use serde::Serialize;

/// How much of a file's end is read.
const WINDOW: u64 = 8 << 20;
/// How often files are looked at for new lines.
const PACE: Duration = Duration::from_millis(200);

/// A log line, with its time where it tells one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When it was written.
    pub time: Option<Timestamp>,
    /// The line itself.
    pub text: String,
}

/// The last lines of `files`, merged by time; a line that tells no time has that of the line before.
pub fn read(files: &[PathBuf], since: Option<Timestamp>) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for file in files {
        let mut time = None;
        for text in end_of(file)?.lines() {
            time = time_of(text).or(time);
            lines.push(Line { time, text: text.to_owned() });
        }
    }
    lines.sort_by_key(|line| line.time);
    lines.retain(|line| since.is_none_or(|since| line.time.is_some_and(|time| time >= since)));
    Ok(lines)
}

fn end_of(path: &Path) -> Result<String> {
    let Ok(mut file) = File::open(path) else { return Ok(String::new()) };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).with_context(|| format!("cannot read `{}`", path.display()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line of a window is rarely whole.
    Ok(if length > WINDOW {
        text.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned())
    } else {
        text
    })
}

/// The first time stamp of a line, RFC 3339 or as nginx writes it in local time.
fn time_of(line: &str) -> Option<Timestamp> {
    static STAMP: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?",
        )
        .ok()
    });
    let found = STAMP.as_ref()?.captures(line)?;
    let part = |index: usize| found.get(index).map_or("", |part| part.as_str());
    let local = format!("{}-{}-{}T{}{}", part(1), part(2), part(3), part(4), part(5));
    match part(6) {
        "" => local
            .parse::<jiff::civil::DateTime>()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::system())
            .ok()
            .map(|time| time.timestamp()),
        zone => format!("{local}{zone}").parse().ok(),
    }
}

/// Follows files through rotation.
pub struct Tail {
    files: Vec<Followed>,
}

struct Followed {
    path: PathBuf,
    inode: u64,
    offset: u64,
    rest: Vec<u8>,
}

impl Tail {
    /// Starts at the end of `files`.
    pub fn from_end(files: &[PathBuf]) -> Self {
        let followed = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok();
            Followed {
                path: path.clone(),
                inode: metadata.as_ref().map_or(0, MetadataExt::ino),
                offset: metadata.map_or(0, |metadata| metadata.len()),
                rest: Vec::new(),
            }
        };
        Self { files: files.iter().map(followed).collect() }
    }

    /// The next new lines; waits a moment for them and may come back with none.
    pub fn wait(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for file in &mut self.files {
            file.read(&mut lines)?;
        }
        if lines.is_empty() {
            thread::sleep(PACE);
        }
        Ok(lines)
    }
}

impl Followed {
    fn read(&mut self, lines: &mut Vec<String>) -> Result<()> {
        let Ok(mut file) = File::open(&self.path) else { return Ok(()) };
        let metadata = file.metadata()?;
        if metadata.ino() != self.inode || metadata.len() < self.offset {
            (self.inode, self.offset) = (metadata.ino(), 0);
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let start = self.rest.len();
        file.read_to_end(&mut self.rest)
            .with_context(|| format!("cannot read `{}`", self.path.display()))?;
        self.offset += (self.rest.len() - start) as u64;
        if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
            let whole: Vec<u8> = self.rest.drain(..=end).collect();
            lines.extend(String::from_utf8_lossy(&whole).lines().map(str::to_owned));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_are_merged_by_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one.log"), folder.path().join("two.log"));
        fs::write(&one, "time=2026-01-01T00:00:01Z a\n  more of a\ntime=2026-01-01T00:00:03Z c\n")
            .unwrap();
        fs::write(&two, "{\"time\":\"2026-01-01T00:00:02.5Z\"} b\n").unwrap();
        let files = [one, two, folder.path().join("absent.log")];
        let ends = |lines: Vec<Line>| -> String {
            lines.iter().filter_map(|line| line.text.chars().last()).collect()
        };
        assert_eq!(ends(read(&files, None).unwrap()), "aabc");
        let since = "2026-01-01T00:00:02Z".parse().unwrap();
        assert_eq!(ends(read(&files, Some(since)).unwrap()), "bc");
    }

    #[test]
    fn rotation_loses_no_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "old\n").unwrap();
        let mut tail = Tail::from_end(std::slice::from_ref(&path));
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(tail.wait().unwrap(), ["one"]);
        file.write_all(b"o\n").unwrap();
        assert_eq!(tail.wait().unwrap(), ["two"]);
        fs::rename(&path, folder.path().join("a.log.1")).unwrap();
        fs::write(&path, "three\n").unwrap();
        assert_eq!(tail.wait().unwrap(), ["three"]);
    }
}
