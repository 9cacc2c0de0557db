//! Files of the stack that are garbage, torn, another kind of thing, or speak of somebody else's process.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use serde_json::json;

use crate::common::judge::{NAME, assert_whole, is_well, kill, status, take_down};
use crate::common::machine::{children_of, runs, start_of};
use crate::common::{Sandbox, is_lab_skipped, wait_until};

/// Makes the contents of a file into something else.
type Spoil = fn(Vec<u8>) -> Vec<u8>;

/// Ways in which a file is spoiled.
const SPOILS: [(&str, Spoil); 3] = [
    ("garbage", |_| b"\xff\xfenonsense{".to_vec()),
    ("cut", |bytes| bytes[..bytes.len() / 2].to_vec()),
    ("empty", |_| Vec::new()),
];

#[test]
fn a_spoilt_file_does_not_stand_in_the_way() {
    if is_lab_skipped("spoilt files") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let before = assert_whole(&sandbox, &[]);
    for file in [
        "stack.json",
        "run/desired.json",
        "run/observed.json",
        "run/supervisor.json",
        "journal.jsonl",
    ] {
        for (how, spoil) in SPOILS {
            eprintln!("{file}: {how}");
            let path = sandbox.stack(NAME).join(file);
            std::fs::write(&path, spoil(std::fs::read(&path).unwrap())).unwrap();
            if file == "stack.json" {
                sandbox
                    .run(&["status"])
                    .code(6)
                    .says("stack.json` of the stack cannot be read")
                    .says("hint: bring it up with `monstack up`, or remove what is there");
            } else {
                assert!(is_well(&status(&sandbox)), "{:#}", status(&sandbox));
            }
            sandbox.run(&["up", "--no-verify"]).code(0);
            assert_eq!(assert_whole(&sandbox, &[]), before, "{file}: {how}");
        }
    }
    // Each line of the journal that was not torn is one JSON document.
    let journal = std::fs::read(sandbox.stack(NAME).join("journal.jsonl")).unwrap();
    let lines = journal.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    assert!(lines.map(serde_json::from_slice::<serde_json::Value>).all(|line| line.is_ok()));

    std::fs::write(sandbox.stack(NAME).join("stack.json"), "{").unwrap();
    std::fs::write(sandbox.stack(NAME).join("run/supervisor.json"), "{").unwrap();
    take_down(&sandbox);
}

#[test]
fn a_supervisor_that_finds_only_spoilt_files_is_told_anew() {
    if is_lab_skipped("spoilt files and no supervisor") {
        return;
    }
    let sandbox = Sandbox::new();
    for (_, spoil) in SPOILS {
        sandbox.run(&["up", "--no-verify"]).code(0);
        let supervisor = status(&sandbox)["supervisor"].as_u64().unwrap();
        kill(u32::try_from(supervisor).unwrap());
        for file in ["desired.json", "observed.json", "supervisor.json", "nginx.pid", "app.pid"] {
            let path = sandbox.stack(NAME).join("run").join(file);
            std::fs::write(&path, spoil(std::fs::read(&path).unwrap())).unwrap();
        }
        sandbox.run(&["up", "--no-verify"]).code(0);
        assert_whole(&sandbox, &[]);
    }
    take_down(&sandbox);
}

#[test]
fn a_file_where_the_folder_should_be_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write(".monstack", "");
    sandbox
        .run(&["up"])
        .code(4)
        .says(&format!("cannot make folder `{}`", sandbox.path().join(".monstack").display()))
        .says("hint: a file lies where a folder is needed; move it away");
    for command in [&["status"][..], &["down", "--yes", "--confirm", NAME], &["verify"]] {
        sandbox.run(command).code(6).says("there is no stack `monstack`");
    }
    std::fs::remove_file(sandbox.path().join(".monstack")).unwrap();
    for name in ["run", "secrets", "data"] {
        sandbox.write(&format!(".monstack/monstack/{name}"), "");
        take_down(&sandbox);
    }
}

/// A process of the test's own with a child in its group, as a stranger's service would be.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        let mut shell = Command::new("sh");
        Self(shell.args(["-c", "sleep 600; :"]).process_group(0).spawn().unwrap())
    }

    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.0.id()];
        wait_until("the stranger's child", || {
            family.truncate(1);
            family.extend(children_of(self.0.id()));
            family.len() == 2
        });
        family
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        for pid in children_of(self.0.id()) {
            kill(pid);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stranger_who_got_the_number_of_a_service_is_never_signalled() {
    if is_lab_skipped("reused process numbers") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let stranger = Stranger::new();
    let family = stranger.family();
    let pid = stranger.0.id();
    let other = json!({ "pid": pid, "start": start_of(pid).unwrap() - 1 }).to_string();
    let supervisor = status(&sandbox)["supervisor"].as_u64().unwrap();
    kill(u32::try_from(supervisor).unwrap());
    let run = sandbox.stack(NAME).join("run");
    for (file, process) in assert_alone(&sandbox) {
        kill(process);
        std::fs::write(run.join(file), &other).unwrap();
    }
    std::fs::write(run.join("supervisor.json"), &other).unwrap();
    sandbox.run(&["status"]).code(10);
    sandbox.run(&["up", "--no-verify"]).code(0);
    assert_whole(&sandbox, &[]);
    assert!(family.iter().all(|pid| runs(*pid)), "`up` ended a stranger");
    for name in ["nginx", "app", "prometheus"] {
        std::fs::write(run.join(format!("{name}.pid")), &other).unwrap();
    }
    std::fs::write(run.join("supervisor.json"), &other).unwrap();
    take_down(&sandbox);
    assert!(family.iter().all(|pid| runs(*pid)), "`down` ended a stranger");
}

/// Pid files and pids of the services that no supervisor keeps.
fn assert_alone(sandbox: &Sandbox) -> Vec<(String, u32)> {
    // The kernel lets go of the lock of a killed process a moment after it was killed.
    wait_until("the end of the supervisor", || status(sandbox)["state"] == "unsupervised");
    let now = status(sandbox);
    let pids = crate::common::judge::pids(&now).into_iter();
    pids.map(|(name, pid)| (format!("{name}.pid"), pid)).collect()
}
