//! Brings a file here and computes its SHA-256 on the way.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::attempt::Wanted;
use super::disk;
use crate::digest::hex;
use crate::http::real::{Broken, check_url};
use crate::report::Event;

/// The longest archive that is taken.
const LIMIT: u64 = 2 << 30;
/// The longest checksum file that is taken.
const TEXT_LIMIT: u64 = 1 << 20;
/// How many bytes lie between two reports of progress.
const TOLD_EVERY: u64 = 512 << 10;

/// Downloads `url` into the file at `to` and returns its SHA-256; tries once more when the transfer breaks off.
pub(crate) fn download(wanted: &Wanted<'_>, url: &str, to: &Path) -> Result<String> {
    check_url(url)?;
    let first = attempt(wanted, url, to);
    let Err(error) = &first else { return first };
    if error.downcast_ref::<Broken>().is_none() {
        return first;
    }
    wanted.step(format!("{error}; trying once more"));
    thread::sleep(jitter());
    wanted.sources.check()?;
    attempt(wanted, url, to)
}

/// Downloads a short text.
pub(crate) fn text(wanted: &Wanted<'_>, url: &str) -> Result<String> {
    check_url(url)?;
    let mut bytes = Sink::new(Vec::new(), TEXT_LIMIT);
    wanted.sources.http.download(url, &mut bytes, &mut |_, _| {})?;
    Ok(String::from_utf8_lossy(&bytes.into).into_owned())
}

/// Copies a file of this machine and returns its SHA-256.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<String> {
    let mut file = File::open(from).with_context(|| format!("cannot read `{}`", from.display()))?;
    let mut sink = Sink::new(disk::writing(File::create(to), to)?, LIMIT);
    disk::writing(io::copy(&mut file, &mut sink), to)?;
    Ok(sink.sha256())
}

/// The SHA-256 of a file.
pub(crate) fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn attempt(wanted: &Wanted<'_>, url: &str, to: &Path) -> Result<String> {
    let mut sink = Sink::new(disk::writing(File::create(to), to)?, LIMIT);
    let mut told = 0;
    let subject = wanted.component.name;
    let mut progress = |done: u64, total: Option<u64>| {
        if done >= told + TOLD_EVERY || Some(done) == total {
            told = done;
            let subject = subject.to_owned();
            wanted.sources.report.event(Event::Progress { subject, done, total });
        }
    };
    let outcome = wanted.sources.http.download(url, &mut sink, &mut progress);
    match sink.trouble.take() {
        // The seam reports that writing failed; only this side knows to which file.
        Some(error) => disk::writing(Err(error), to).map(|()| String::new()),
        None => outcome.map(|()| sink.sha256()),
    }
}

/// Counts and hashes what is written through it.
struct Sink<W> {
    into: W,
    hasher: Sha256,
    left: u64,
    trouble: Option<io::Error>,
}

impl<W: Write> Sink<W> {
    fn new(into: W, limit: u64) -> Self {
        Self { into, hasher: Sha256::new(), left: limit, trouble: None }
    }

    fn sha256(self) -> String {
        hex(self.hasher)
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = buffer.len() as u64;
        if length > self.left {
            return Err(io::Error::other("the file is longer than any release"));
        }
        match self.into.write_all(buffer) {
            Ok(()) => {
                self.left -= length;
                self.hasher.update(buffer);
                Ok(buffer.len())
            }
            Err(error) => {
                let same = error.raw_os_error().map(io::Error::from_raw_os_error);
                self.trouble = Some(error);
                Err(same.unwrap_or_else(|| io::Error::other("cannot write")))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

/// Between a fifth of a second and a second, so that many machines do not come back at once.
fn jitter() -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 800;
    Duration::from_millis(200 + random)
}

/// Refuses bytes that are not the ones that were vouched for.
pub(crate) fn compare(source: &str, (is, wanted): (&str, &str)) -> Result<()> {
    if is != wanted {
        bail!("`{source}` is not what it should be: its SHA-256 is {is}, wanted {wanted}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let mut sink = Sink::new(Vec::new(), 4);
        assert!(sink.write_all(b"1234").is_ok());
        assert!(sink.write_all(b"5").is_err());
    }

    #[test]
    fn the_hash_is_sha256() {
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut sink = Sink::new(Vec::new(), 9);
        sink.write_all(b"abc").unwrap();
        assert_eq!(sink.sha256(), wanted);
    }

    #[test]
    fn jitter_is_short() {
        assert!((200..1000).contains(&jitter().as_millis()));
    }
}
