//! Reads log files: what is there, and what comes.

use std::fs::File;
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
    Tail::from_end(files).history(since)
}

fn merged(texts: Vec<String>, since: Option<Timestamp>) -> Vec<Line> {
    let mut lines = Vec::new();
    for text in texts {
        let mut time = None;
        for text in text.lines() {
            time = time_of(text).or(time);
            lines.push(Line { time, text: text.to_owned() });
        }
    }
    lines.sort_by_key(|line| line.time);
    lines.retain(|line| since.is_none_or(|since| line.time.is_some_and(|time| time >= since)));
    lines
}

/// The last lines of a file before `end`.
fn window(mut file: &File, end: u64, path: &Path) -> Result<String> {
    let start = end.saturating_sub(WINDOW);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.take(end - start).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line of a window is rarely whole.
    Ok(match text.split_once('\n') {
        Some((_, rest)) if start > 0 => rest.to_owned(),
        _ => text,
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
    /// The file as it was opened: one that was renamed meanwhile can be read to its end.
    file: Option<File>,
    offset: u64,
    rest: Vec<u8>,
}

impl Tail {
    /// Starts at the end of `files`.
    pub fn from_end(files: &[PathBuf]) -> Self {
        let followed = |path: &PathBuf| {
            let file = File::open(path).ok();
            let offset = file.as_ref().map_or(0, length);
            Followed { path: path.clone(), file, offset, rest: Vec::new() }
        };
        Self { files: files.iter().map(followed).collect() }
    }

    /// The lines before those that `wait` gives.
    pub fn history(&self, since: Option<Timestamp>) -> Result<Vec<Line>> {
        let texts = self.files.iter().map(|followed| match &followed.file {
            Some(file) => window(file, followed.offset, &followed.path),
            None => Ok(String::new()),
        });
        Ok(merged(texts.collect::<Result<_>>()?, since))
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
        if let Some(file) = self.file.take() {
            if length(&file) < self.offset {
                // It was copied and cut: what was not read yet is at the end of the copy.
                let copy = File::open(rotated(&self.path)).ok();
                self.take(copy.as_ref().filter(|copy| length(copy) >= self.offset))?;
                self.offset = 0;
            }
            self.take(Some(&file))?;
            self.file = Some(file);
        }
        // Looked at after the old file was read, so that nothing is written to that one in between.
        if let Some(new) = self.newer() {
            let old = self.file.replace(new);
            self.take(old.as_ref())?;
            self.offset = 0;
            let new = self.file.take();
            self.take(new.as_ref())?;
            self.file = new;
        }
        if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
            let whole: Vec<u8> = self.rest.drain(..=end).collect();
            lines.extend(String::from_utf8_lossy(&whole).lines().map(str::to_owned));
        }
        Ok(())
    }

    /// Reads what is new in `file`.
    fn take(&mut self, file: Option<&File>) -> Result<()> {
        let Some(mut file) = file else { return Ok(()) };
        let start = self.rest.len();
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.read_to_end(&mut self.rest))
            .with_context(|| format!("cannot read `{}`", self.path.display()))?;
        self.offset += (self.rest.len() - start) as u64;
        Ok(())
    }

    /// The file of this name, if it is not the one that is open.
    fn newer(&self) -> Option<File> {
        let file = File::open(&self.path).ok()?;
        let inode = |file: &File| file.metadata().map_or(0, |metadata| metadata.ino());
        let known = self.file.as_ref().is_some_and(|open| inode(open) == inode(&file));
        (!known).then_some(file)
    }
}

fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

/// What the newest old file of a log is called.
fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
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
        file.write_all(b"late\n").unwrap();
        fs::rename(&path, folder.path().join("a.log.1")).unwrap();
        file.write_all(b"later\n").unwrap();
        fs::write(&path, "three\n").unwrap();
        assert_eq!(tail.wait().unwrap(), ["late", "later", "three"]);
        assert_eq!(texts(&tail.history(None).unwrap()), ["three"]);
    }

    #[test]
    fn a_file_that_is_copied_and_cut_loses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "old\n").unwrap();
        let mut tail = Tail::from_end(std::slice::from_ref(&path));
        fs::write(&path, "old\nlate\n").unwrap();
        fs::copy(&path, folder.path().join("a.log.1")).unwrap();
        fs::write(&path, "n\n").unwrap();
        assert_eq!(tail.wait().unwrap(), ["late", "n"]);
    }

    #[test]
    fn a_file_that_comes_later_is_followed_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut tail = Tail::from_end(std::slice::from_ref(&path));
        assert_eq!(tail.wait().unwrap(), Vec::<String>::new());
        fs::write(&path, "one\n").unwrap();
        assert_eq!(tail.wait().unwrap(), ["one"]);
    }

    #[test]
    fn history_ends_where_following_begins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "one\n").unwrap();
        let mut tail = Tail::from_end(std::slice::from_ref(&path));
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(texts(&tail.history(None).unwrap()), ["one"]);
        assert_eq!(tail.wait().unwrap(), ["two"]);
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }
}
