//! A mount namespace of the test's own, so that nothing of its disks is seen or left outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{Run, Sandbox};

/// A namespace that goes away with the test; a sandbox's `monstack` runs in it.
pub struct Namespace<'a> {
    sandbox: &'a Sandbox,
    holder: Child,
}

impl<'a> Namespace<'a> {
    /// Makes one; says loudly where that is not possible.
    pub fn enter(sandbox: &'a Sandbox) -> Option<Self> {
        let holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "cat"])
            .stdin(Stdio::piped())
            .spawn();
        let namespace = Self { sandbox, holder: holder.ok()? };
        let own = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        for _ in 0..200 {
            let there = own(namespace.holder.id());
            if there.is_some() && there != own(std::process::id()) {
                return Some(namespace);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("skipped: a mount namespace needs root and util-linux");
        None
    }

    /// Runs a command in the namespace, which must succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) {
        let status = self.inside("sh").args(["-c", script]).status().unwrap();
        assert!(status.success(), "`{script}` ended with {status}");
    }

    /// Puts a disk of so many MiB on the sandbox's folder.
    pub fn disk(&self, mebibytes: u32) {
        let folder = self.sandbox.path().display();
        self.sh(&format!("mount -t tmpfs -o size={mebibytes}m tmpfs '{folder}'"));
    }

    /// Fills what is left of the disk.
    pub fn fill(&self) {
        let folder = self.sandbox.path().display();
        self.sh(&format!(
            "cat /dev/zero > '{folder}/ballast' 2>/dev/null; test -s '{folder}/ballast'"
        ));
    }

    /// Frees it again.
    pub fn free(&self) {
        self.sh(&format!("rm '{}/ballast'", self.sandbox.path().display()));
    }

    /// The command `monstack ARGS` in the sandbox's folder as it is seen in the namespace.
    pub fn command(&self, args: &[&str]) -> Command {
        let plain = self.sandbox.command(args);
        let mut command = self.inside(plain.get_program().to_str().unwrap());
        command.arg("-C").arg(self.sandbox.path()).args(args).current_dir("/");
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `monstack ARGS`.
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(args, self.command(args).output().unwrap())
    }

    /// What `status` says.
    pub fn status(&self) -> serde_json::Value {
        let run = self.run(&["status", "-o", "json"]);
        let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        document["result"].clone()
    }

    /// A path as it is seen from outside.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").unwrap();
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(path)
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.id().to_string(), program]);
        command
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["down", "--yes", "--confirm", "monstack"]);
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
