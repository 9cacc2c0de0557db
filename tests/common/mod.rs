//! A stack of a test: the real binary in a folder of its own, taken down when the test ends.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod dice;
pub mod judge;
pub mod machine;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use monstack::http::real::Real;
use monstack::http::{Http, Request};
use serde_json::Value;
use tempfile::TempDir;

/// The real binary in a folder of its own.
pub struct Sandbox {
    folder: TempDir,
    extra_path: Vec<PathBuf>,
    env: Vec<(String, String)>,
    /// A command that runs `monstack` as its arguments; empty where `monstack` is run as it is.
    wrapper: Vec<String>,
    program: PathBuf,
    /// Where programs are kept; found once for all tests.
    pub cache: PathBuf,
}

impl Sandbox {
    /// An empty folder.
    pub fn new() -> Self {
        Self {
            folder: tempfile::Builder::new().prefix("monstack-").tempdir().unwrap(),
            extra_path: Vec::new(),
            env: Vec::new(),
            wrapper: Vec::new(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_monstack")),
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

    /// Sets a variable of the environment.
    pub fn with_env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_str().unwrap().to_owned()));
        self
    }

    /// Runs `monstack` as the last arguments of this command.
    pub fn with_wrapper(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Runs this copy of `monstack`.
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
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
        let mut words = self.wrapper.iter().map(PathBuf::from).chain([self.program.clone()]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(args)
            .current_dir(self.path())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("XDG_CACHE_HOME", &self.cache)
            // Slots are told apart between all tests.
            .env("XDG_STATE_HOME", shared.join("state"))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
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
        let document = run.document();
        assert_eq!(document["ok"], true, "`monstack {}`\n{document:#}\n{}", run.args, run.stderr);
        document["result"].clone()
    }

    /// What `status` answers, whether the stack is well or not.
    pub fn status(&self) -> Value {
        self.run(&["status", "-o", "json"]).document()["result"].clone()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let Ok(stacks) = std::fs::read_dir(self.path().join(".monstack")) else { return };
        for stack in stacks.filter_map(Result::ok).map(|entry| entry.path()) {
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

    /// The one JSON document on standard output.
    #[track_caller]
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
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

/// The component `name` in an answer of `status`.
pub fn component<'a>(status: &'a Value, name: &str) -> &'a Value {
    let components = status["components"].as_array().unwrap();
    components.iter().find(|component| component["name"] == name).unwrap()
}

/// Kills a process for good.
pub fn kill(pid: &Value) {
    let pid = i32::try_from(pid.as_u64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// The body of an answer to GET, if the server answers 200.
pub fn get(url: &str) -> Option<String> {
    let request = Request::get(url).timeout(Duration::from_secs(10));
    let answer = Real::default().send(&request).ok()?;
    (answer.status == 200).then(|| String::from_utf8_lossy(&answer.body).into_owned())
}

/// Programs that stand where Loki, Alloy and Grafana cannot be had.
pub fn standins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standin")
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
