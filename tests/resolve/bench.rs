//! A server, a cache and a component for each test.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use monstack::component::{
    Component, Native, Package, Place, Program, Release, Reload, Service, Supply,
};
use monstack::config::model::ComponentSettings;
use monstack::exec::duct::Duct;
use monstack::http::real::Real;
use monstack::report::recorder::Recorder;
use monstack::resolve::{Mirror, Pinning, Platform, Sources};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What the server says to one path.
#[derive(Clone)]
pub enum Answer {
    /// The bytes.
    Body(Vec<u8>),
    /// The bytes, but a length of this many.
    Length(Vec<u8>, usize),
    /// The bytes, one after the other until the caller goes.
    Slow(Vec<u8>),
    /// A redirect.
    Redirect(String),
}

type Answers = Arc<Mutex<BTreeMap<String, Vec<Answer>>>>;

/// A server on loopback; its thread ends with the test's process, its socket with the server.
pub struct Server {
    pub url: String,
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answers, asked) = (Answers::default(), Arc::<Mutex<Vec<String>>>::default());
        let stop = Arc::new(AtomicBool::new(false));
        let server =
            Self { url, answers: answers.clone(), asked: asked.clone(), stop: stop.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (answers, asked) = (answers.clone(), asked.clone());
                thread::spawn(move || serve(stream.unwrap(), (&answers, &asked)));
            }
        });
        server
    }

    /// Adds an answer to `path`; several come in turn, the last for ever.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().entry(path.to_owned()).or_default().push(answer);
    }

    /// Replaces the answers to `path`.
    pub fn now(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), vec![answer]);
    }

    /// How often `path` was asked.
    pub fn count(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
    }
}

fn serve(mut stream: TcpStream, (answers, asked): (&Answers, &Mutex<Vec<String>>)) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(path.clone());
    let answer = answers.lock().unwrap().get_mut(&path).map(|all| match all.len() {
        1 => all[0].clone(),
        _ => all.remove(0),
    });
    let head = |length: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    // The caller may go at any time, and some are meant to.
    let _ = match answer {
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        Some(Answer::Redirect(to)) => stream.write_all(
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").as_bytes(),
        ),
        Some(Answer::Body(body)) => {
            stream.write_all(head(body.len()).as_bytes()).and_then(|()| stream.write_all(&body))
        }
        Some(Answer::Length(body, length)) => {
            stream.write_all(head(length).as_bytes()).and_then(|()| stream.write_all(&body))
        }
        Some(Answer::Slow(body)) => stream.write_all(head(body.len()).as_bytes()).and_then(|()| {
            body.iter().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(5));
                stream.write_all(&[*byte])
            })
        }),
    };
}

/// Everything that a search for a program needs, in a folder of its own.
pub struct Bench {
    pub root: TempDir,
    pub settings: BTreeMap<String, ComponentSettings>,
    pub path: OsString,
    pub mirror: Option<Mirror>,
    pub pinning: Pinning,
    pub requirements: Vec<u8>,
    pub report: Recorder,
    pub interrupted: Arc<AtomicBool>,
    runner: Duct,
    http: Real,
}

impl Bench {
    pub fn new() -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        Self {
            root: tempfile::tempdir().unwrap(),
            settings: BTreeMap::new(),
            path: OsString::new(),
            mirror: None,
            pinning: Pinning::FirstUse,
            requirements: Vec::new(),
            report: Recorder::default(),
            runner: Duct { interrupted: interrupted.clone() },
            http: Real::new(interrupted.clone()),
            interrupted,
        }
    }

    pub fn sources(&self) -> Sources<'_> {
        Sources {
            runner: &self.runner,
            http: &self.http,
            report: &self.report,
            settings: &self.settings,
            cache: self.path("cache"),
            lock: self.path("components.lock"),
            path: self.path.clone(),
            sibling_dir: self.path("sibling"),
            mirror: self.mirror.clone(),
            pinning: self.pinning,
            requirements: self.requirements.clone(),
            platform: Platform { os: "linux".to_owned(), arch: "amd64".to_owned() },
            parallel: 5,
            interrupted: &self.interrupted,
        }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Writes a program that prints `text`.
    pub fn program(&self, path: &str, text: &str) -> PathBuf {
        self.file(path, &script(text), 0o755)
    }

    pub fn file(&self, path: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Names of unfinished things in the cache.
    pub fn parts(&self) -> Vec<PathBuf> {
        walk(&self.path("cache"))
            .into_iter()
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".part-"))
            .collect()
    }
}

pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut all = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if !path.is_symlink() && path.is_dir() {
            all.extend(walk(&path));
        }
        all.push(path);
    }
    all
}

pub fn script(text: &str) -> String {
    format!("#!/bin/sh\necho '{text}'\n")
}

/// A component whose program is `zz-probe`, released as version 1.2.3 by `server`.
pub struct Row {
    pub pins: &'static [(&'static str, &'static str)],
    pub package: Option<Package>,
    pub archive: &'static str,
    pub program: &'static str,
    pub checksums: &'static str,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            pins: &[],
            package: None,
            archive: "probe-{version}.linux-{arch}.tar.gz",
            program: "probe-{version}/bin/zz-probe",
            checksums: "sums.txt",
        }
    }
}

impl Row {
    /// The row, which lives as long as the test's process as rows of the catalogue do.
    pub fn of(self, server: &str) -> &'static Component {
        let release = Release {
            version: "1.2.3",
            url: leak(format!("{server}/{{version}}/{}", self.archive)),
            checksums: leak(format!("{server}/{{version}}/{}", self.checksums)),
            pins: self.pins,
            program: self.program,
        };
        component(Program {
            name: "zz-probe",
            version_args: &["--version"],
            version_mark: "probe, version ",
            supply: Supply::Native(Native {
                aliases: &["zz-probe-alias"],
                tools: &["zz-tool"],
                release: Some(release),
                package: self.package,
            }),
        })
    }
}

pub fn component(program: Program) -> &'static Component {
    Box::leak(Box::new(Component {
        name: "probe",
        title: "Probe",
        place: Place::On("app"),
        required: true,
        programs: Box::leak(Box::new([program])),
        ports: &[],
        files: &[],
        health: "/",
        job: None,
        service: Service {
            args: &[],
            env: &[],
            reload: Reload::Restart,
            reopen: monstack::component::Reopen::Never,
            secrets: &[],
            logs: &[],
            check: None,
        },
    }))
}

pub fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// The release archive: the program, its tool and a file that belongs to them.
pub fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content, mode) in [
        ("probe-1.2.3/bin/zz-probe", script("probe, version 1.2.3 (branch: HEAD)"), 0o4755),
        ("probe-1.2.3/bin/zz-tool", script("tool"), 0o755),
        ("probe-1.2.3/conf/defaults.ini", noise(), 0o644),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Text that does not become much shorter when packed.
fn noise() -> String {
    let mut state = 1_u32;
    (0..20_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + (state >> 24) as u8 % 90)
        })
        .collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The paths on the server.
pub const ARCHIVE: &str = "/1.2.3/probe-1.2.3.linux-amd64.tar.gz";
pub const SUMS: &str = "/1.2.3/sums.txt";

/// A checksum file that says `hash` of the archive.
pub fn sums(hash: &str) -> Answer {
    let other = "0".repeat(64);
    let text = format!("{other}  other.tar.gz\n{hash}  probe-1.2.3.linux-amd64.tar.gz\n");
    Answer::Body(text.into_bytes())
}

/// A server that has the release and its checksum.
pub fn upstream() -> (Server, Vec<u8>) {
    let server = Server::start();
    let bytes = archive();
    server.answer(ARCHIVE, Answer::Body(bytes.clone()));
    server.answer(SUMS, sums(&sha256(&bytes)));
    (server, bytes)
}

/// An error with its causes and the way out, as a user reads it.
pub fn text(error: &anyhow::Error) -> String {
    let hint = monstack::error::hint_of(error).unwrap_or_default();
    format!("{}\nhint: {hint}", monstack::error::messages(error).join(": "))
}
