//! The real `Runner`, over duct.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Cmd, Runner};
use crate::error::{Note, failure};
use crate::exit::Exit;

/// How many of a failing program's last lines its error shows.
const LAST_WORDS: usize = 20;

/// Starts programs on this machine.
pub struct Duct {
    /// When this becomes true, running programs are ended and their commands fail.
    pub interrupted: Arc<AtomicBool>,
}

impl Runner for Duct {
    fn run(&self, cmd: &Cmd, on_line: &mut dyn FnMut(&str)) -> Result<()> {
        let handle = expression(cmd)
            .reader()
            .with_context(|| format!("cannot start `{}`", cmd.program.display()))
            .hint(format!("install `{}`, or put it on PATH", cmd.program.display()))?;
        let handle = Arc::new(handle);
        let over = Arc::new(AtomicBool::new(false));
        let guard = self.watch(cmd, &handle, &over);
        let mut last = VecDeque::new();
        for line in BufReader::new(&*handle).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            on_line(&line);
            if last.len() == LAST_WORDS {
                last.pop_front();
            }
            last.push_back(line.into_owned());
        }
        over.store(true, Ordering::Relaxed);
        let ended = guard.join().unwrap_or(Ended::ByItself);
        self.outcome(cmd, &handle, (ended, last))
    }
}

/// Why a program is no longer running.
enum Ended {
    ByItself,
    Interrupted,
    TooSlow,
}

impl Duct {
    /// Ends the program when the run is interrupted or its time is over.
    fn watch(
        &self,
        cmd: &Cmd,
        handle: &Arc<duct::ReaderHandle>,
        over: &Arc<AtomicBool>,
    ) -> thread::JoinHandle<Ended> {
        let (handle, over) = (Arc::clone(handle), Arc::clone(over));
        let (interrupted, deadline) = (Arc::clone(&self.interrupted), Instant::now() + cmd.timeout);
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let ended = if interrupted.load(Ordering::Relaxed) {
                    Ended::Interrupted
                } else if Instant::now() > deadline {
                    Ended::TooSlow
                } else {
                    thread::park_timeout(Duration::from_millis(10));
                    continue;
                };
                end(&handle);
                return ended;
            }
            Ended::ByItself
        })
    }

    fn outcome(
        &self,
        cmd: &Cmd,
        handle: &duct::ReaderHandle,
        (ended, last): (Ended, VecDeque<String>),
    ) -> Result<()> {
        match ended {
            Ended::Interrupted => {
                return Err(failure(Exit::INTERRUPTED, format!("`{cmd}` was interrupted")));
            }
            Ended::TooSlow => {
                let message = format!("`{cmd}` did not end within {} s", cmd.timeout.as_secs());
                return Err(failure(Exit::TIMEOUT, message));
            }
            Ended::ByItself => {}
        }
        let Some(output) = handle.try_wait()? else {
            bail!("`{cmd}` closed its output but runs on")
        };
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut words: Vec<&str> = errors.lines().filter(|line| !line.trim().is_empty()).collect();
        if words.is_empty() {
            words = last.iter().map(String::as_str).collect();
        }
        let words = &words[words.len().saturating_sub(LAST_WORDS)..];
        bail!("`{cmd}` failed with {}: {}", output.status, words.join("\n  "))
    }
}

/// Kills the program and all that it started, which would keep its output open.
fn end(handle: &duct::ReaderHandle) {
    let groups =
        handle.pids().into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    for group in groups {
        // A group that cannot be killed has ended already.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = handle.kill();
}

fn expression(cmd: &Cmd) -> duct::Expression {
    let mut expression =
        duct::cmd(cmd.program.as_os_str(), &cmd.args).stdin_null().stderr_capture().unchecked();
    expression = expression.before_spawn(|command| {
        command.process_group(0);
        Ok(())
    });
    if let Some(dir) = &cmd.dir {
        expression = expression.dir(dir);
    }
    for (name, value) in &cmd.env {
        expression = expression.env(name, value);
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_of;

    fn runner() -> Duct {
        Duct { interrupted: Arc::default() }
    }

    #[test]
    fn a_failing_program_has_the_last_word() {
        let cmd = Cmd::read("sh").args(["-c", "echo out; echo 'no space' >&2; exit 3"]);
        let error = runner().read(&cmd).unwrap_err().to_string();
        assert!(error.contains("exit status: 3: no space"), "{error}");
    }

    #[test]
    fn a_program_that_is_too_slow_is_ended() {
        let cmd = Cmd::read("sleep").args(["60"]).timeout(Duration::from_millis(50));
        let error = runner().read(&cmd).unwrap_err();
        assert_eq!(exit_of(&error), Exit::TIMEOUT);
    }

    #[test]
    fn what_a_slow_program_started_is_ended_with_it() {
        let cmd = Cmd::read("sh")
            .args(["-c", "sleep 60 & echo hi; wait"])
            .timeout(Duration::from_millis(50));
        let error = runner().read(&cmd).unwrap_err();
        assert_eq!(exit_of(&error), Exit::TIMEOUT);
    }

    #[test]
    fn much_output_on_both_streams_does_not_hang() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo $i; echo error $i >&2; i=$((i+1)); done";
        let output = runner().read(&Cmd::read("sh").args(["-c", script])).unwrap();
        assert_eq!(output.lines().count(), 20000);
    }

    #[test]
    fn an_absent_program_is_named() {
        let error = runner().read(&Cmd::read("no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program`");
    }
}
