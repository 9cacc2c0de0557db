//! A stack of a test: the real binary in a folder of its own, taken down when the test ends.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod dice;
pub mod judge;
pub mod machine;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The real binary in a folder of its own.
pub struct Sandbox {
    folder: TempDir,
    extra_path: Vec<PathBuf>,
    /// Where programs are kept; found once for all tests.
    pub cache: PathBuf,
}

impl Sandbox {
    /// An empty folder.
    pub fn new() -> Self {
        Self {
            folder: tempfile::Builder::new().prefix("monstack-").tempdir().unwrap(),
            extra_path: Vec::new(),
            cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        }
    }

    /// The folder in which `monstack` runs.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the stack `name`.
    pub fn stack(&self, name: &str) -> PathBuf {
        self.path().join(".monstack").join(name)
    }

    /// Puts a folder in front of PATH.
    pub fn with_path(mut self, folder: &Path) -> Self {
        self.extra_path.push(folder.to_owned());
        self
    }

    /// Writes a file of the user.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The command `monstack ARGS` with no input and a clean environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mut path = self.extra_path.clone();
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_monstack"));
        command
            .args(args)
            .current_dir(self.path())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("XDG_CACHE_HOME", &self.cache)
            // Slots are told apart between all tests.
            .env("XDG_STATE_HOME", shared.join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `monstack ARGS`.
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(args, self.command(args).output().unwrap())
    }

    /// Starts `monstack ARGS`.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Runs `monstack ARGS -o json`, which must succeed, and gives its result.
    pub fn json(&self, args: &[&str]) -> Value {
        let all = [args, &["-o", "json"]].concat();
        let run = self.run(&all);
        let document: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
        assert_eq!(document["ok"], true, "{run:?}");
        document["result"].clone()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let Ok(stacks) = std::fs::read_dir(self.path().join(".monstack")) else { return };
        for stack in stacks.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = stack.file_name().unwrap().to_string_lossy();
            if stack.is_dir() && !name.starts_with('.') {
                let _ = self.run(&["-s", &name, "down", "--yes", "--confirm", &name]);
            }
        }
    }
}

/// How a run of `monstack` ended.
#[derive(Debug)]
pub struct Run {
    pub args: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(args: &[&str], output: Output) -> Self {
        Self {
            args: args.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "`monstack {}`\n{}\n{}",
            self.args,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts that standard error holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "`monstack {}` does not say {text:?}:\n{}",
            self.args,
            self.stderr
        );
        self
    }

    /// Asserts that standard output holds `text`.
    #[track_caller]
    pub fn answers(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "`monstack {}` does not answer {text:?}:\n{}",
            self.args,
            self.stdout
        );
        self
    }
}

/// Waits until `done` holds.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen within 60 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether slow tests that need other programs are to be passed over.
pub fn is_lab_skipped(test: &str) -> bool {
    let skipped = std::env::var_os("MONSTACK_SKIP_LAB").is_some();
    if skipped {
        eprintln!("skipped: {test} starts a whole stack; run `bash tests/run.sh` for it");
    }
    skipped
}
