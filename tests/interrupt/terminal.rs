//! In a terminal: Ctrl-C is typed, and the window is closed.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::common::judge::{assert_whole, kill, take_down};
use crate::common::machine::runs;
use crate::common::{Sandbox, is_lab_skipped, wait_until};

/// A terminal in which a command runs; what is written to `keys` is typed.
struct Terminal {
    script: Child,
    keys: ChildStdin,
    screen: String,
}

impl Terminal {
    /// Runs `monstack ARGS; AFTER` in a shell in a terminal.
    fn open(sandbox: &Sandbox, line: &str) -> Option<Self> {
        let program = sandbox.command(&[]);
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--flush", "--command"])
            .arg(format!("monstack() {{ '{}' \"$@\"; }}; {line}", env!("CARGO_BIN_EXE_monstack")))
            .arg("/dev/null")
            .current_dir(sandbox.path())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let Ok(mut script) = command.spawn() else {
            eprintln!("skipped: there is no `script` here to make a terminal");
            return None;
        };
        let keys = script.stdin.take().unwrap();
        Some(Self { script, keys, screen: String::new() })
    }

    /// Reads the screen until it shows `text`.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        while !self.screen.contains(text) {
            let read = self.script.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
            assert!(read > 0, "{text:?} was not shown:\n{}", self.screen);
            self.screen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }
}

#[test]
fn ctrl_c_in_a_terminal_ends_the_run_and_not_the_services() {
    if is_lab_skipped("Ctrl-C in a terminal") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(mut terminal) =
        Terminal::open(&sandbox, "trap : INT; monstack up; echo ended with $?; read x")
    else {
        return;
    };
    terminal.expect("Prove the signals");
    let before = assert_running(&sandbox);
    std::thread::sleep(Duration::from_millis(300));
    terminal.keys.write_all(b"\x03").unwrap();
    terminal.expect("ended with 130");
    assert!(terminal.screen.contains("interrupted"), "{}", terminal.screen);
    sandbox.run(&["up", "--no-verify"]).code(0);
    assert_eq!(assert_whole(&sandbox, &[]), before);
    kill(terminal.script.id());
    terminal.script.wait().unwrap();
    take_down(&sandbox);
}

#[test]
fn the_end_of_the_terminal_is_not_the_end_of_the_services() {
    if is_lab_skipped("the end of the terminal") {
        return;
    }
    let sandbox = Sandbox::new();
    // Once after the run, and once in the middle of it.
    for (line, shown) in [
        ("monstack up --no-verify; echo ended with $?; read x", "ended with 0"),
        ("monstack up", "Prove the signals"),
    ] {
        let Some(mut terminal) = Terminal::open(&sandbox, line) else { return };
        terminal.expect(shown);
        let before = assert_running(&sandbox);
        kill(terminal.script.id());
        terminal.script.wait().unwrap();
        std::thread::sleep(Duration::from_secs(1));
        assert!(before.values().all(|pid| runs(*pid)), "services ended with the terminal");
        wait_until("the end of the run", || {
            sandbox.run(&["lock", "status"]).stdout.contains("not locked")
                || sandbox.run(&["lock", "status"]).stdout.contains("dead")
        });
        sandbox.run(&["up", "--no-verify"]).code(0);
        assert_eq!(assert_whole(&sandbox, &[]), before);
    }
    take_down(&sandbox);
}

/// Pids of the components, while a run may still hold the lock.
fn assert_running(sandbox: &Sandbox) -> crate::common::judge::Pids {
    let pids = crate::common::judge::pids(&sandbox.json(&["status"]));
    assert!(pids.len() >= 6);
    pids
}
