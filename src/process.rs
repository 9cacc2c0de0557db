//! Processes and sockets of this machine, read from `/proc`. A process may vanish while it is read; then it is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

mod socket;

pub use socket::{Listener, holder, listeners, listeners_of};

/// Ticks per second of the times in `/proc`; part of the kernel's interface since Linux 2.6.
const TICKS: u64 = 100;

/// A process, told apart from a later one with the same number by the time it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, in ticks since the machine did.
    pub start: u64,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The process was given it.
    Sent,
    /// The process had ended before.
    Gone,
}

impl Identity {
    /// The running process with number `pid`.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = stat(pid)?;
        stat.runs().then_some(Self { pid, start: stat.start })
    }

    /// Whether this very process still runs; one that ended and was not yet waited for does not.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|found| found == *self)
    }

    /// When it started, by the clock of this machine.
    pub fn since(&self) -> Option<SystemTime> {
        let boot = boot_time(&fs::read_to_string("/proc/stat").ok()?)?;
        let after = Duration::from_millis(self.start.checked_mul(1000 / TICKS)?);
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(boot))?.checked_add(after)
    }
}

/// Sends `signal` to this very process, never to another one that has got its number since.
pub fn signal(identity: Identity, signal: Signal) -> io::Result<Delivery> {
    let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else {
        return Ok(Delivery::Gone);
    };
    // The handle is taken first: if the process is the right one after that, the handle is of no other.
    let sent = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(_) if !identity.is_alive() => return Ok(Delivery::Gone),
        Ok(handle) => pidfd_send_signal(handle, signal),
        // Kernels before 5.3 have no handles, some sandboxes refuse them.
        Err(Errno::NOSYS | Errno::PERM) if identity.is_alive() => kill_process(pid, signal),
        Err(Errno::NOSYS | Errno::PERM) => return Ok(Delivery::Gone),
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) => Ok(Delivery::Sent),
        Err(Errno::SRCH) => Ok(Delivery::Gone),
        Err(error) => Err(error.into()),
    }
}

/// Short name of a process: the first 15 bytes of its program's name, unless it chose another.
pub fn name(pid: u32) -> Option<String> {
    stat(pid).map(|stat| stat.name)
}

/// Program and arguments of a process; empty for those of the kernel.
pub fn command_line(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_suffix('\0').unwrap_or(&text);
    Some(text.split('\0').filter(|_| !text.is_empty()).map(str::to_owned).collect())
}

/// State of a process, as the kernel says it: `R` runs, `S` sleeps, `T` is stopped, `Z` has ended.
pub fn state(pid: u32) -> Option<char> {
    stat(pid).map(|stat| stat.state)
}

/// The processes that `pid` started and that have not ended.
pub fn children_of(pid: u32) -> BTreeSet<u32> {
    parents().into_iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child).collect()
}

/// The processes `roots` and all that they started, directly or not.
pub fn descendants(roots: &[u32]) -> BTreeSet<u32> {
    below(roots, &parents())
}

/// Numbers of all processes.
pub fn all() -> Vec<u32> {
    pids().collect()
}

/// The folder that a process works in, even if it was removed meanwhile.
pub fn folder(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// A variable of a process's environment as it was started with.
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut pairs = bytes
        .split(|byte| *byte == 0)
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

/// The running processes of the group that `leader` made, itself among them; none if its number has a new owner.
pub fn group_of(leader: &Identity) -> Vec<Identity> {
    // As long as the group has members, the kernel gives its number to nobody else.
    if stat(leader.pid).is_some_and(|stat| stat.start != leader.start) {
        return Vec::new();
    }
    pids()
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .filter(|(_, stat)| stat.runs() && stat.group == leader.pid && stat.start >= leader.start)
        .map(|(pid, stat)| Identity { pid, start: stat.start })
        .collect()
}

/// The process that leads the group of `pid`, even if it has ended: the group keeps its number.
pub fn leader_of(pid: u32) -> Option<Identity> {
    let group = stat(pid)?.group;
    Some(Identity { pid: group, start: stat(group).map_or(0, |leader| leader.start) })
}

/// The processes that hold the kernel's exclusive lock on the file `path`; those of other users are not seen.
pub fn lock_holders(path: &Path) -> Vec<u32> {
    let Ok(file) = fs::metadata(path) else { return Vec::new() };
    let is_same = |link: &Path| {
        fs::metadata(link).is_ok_and(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
    };
    let holds = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        descriptors.filter_map(|entry| Some(entry.ok()?.path())).any(|link| {
            let named = fs::read_link(&link).is_ok_and(|to| to.file_name() == path.file_name());
            named && is_same(&link) && is_locked_by(*pid, &link)
        })
    };
    pids().filter(holds).collect()
}

/// Whether this very descriptor, and not just another one of the same file, holds an exclusive lock.
fn is_locked_by(pid: u32, link: &Path) -> bool {
    let number = link.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    text.lines()
        .any(|line| line.starts_with("lock:") && line.contains("FLOCK") && line.contains("WRITE"))
}

/// Tells this start of the machine from any other.
pub fn boot_id() -> Option<String> {
    line_of("/proc/sys/kernel/random/boot_id")
}

/// Name of this machine.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What `/proc/PID/stat` says, as far as it is of use.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    parent: u32,
    group: u32,
    start: u64,
}

impl Stat {
    /// The name is free text and may hold spaces and parentheses, so the last `)` ends it.
    fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        Some(Self {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

fn stat(pid: u32) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Stat::parse(&String::from_utf8_lossy(&bytes))
}

/// Numbers of all processes there are.
fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Each running process with its parent.
fn parents() -> BTreeMap<u32, u32> {
    pids()
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .filter(|(_, stat)| stat.runs())
        .map(|(pid, stat)| (pid, stat.parent))
        .collect()
}

fn below(roots: &[u32], parents: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    let mut found: BTreeSet<u32> =
        roots.iter().copied().filter(|root| parents.contains_key(root)).collect();
    let mut open: Vec<u32> = roots.to_vec();
    while let Some(parent) = open.pop() {
        let children = parents.iter().filter(|(_, known)| **known == parent);
        open.extend(children.map(|(child, _)| *child).filter(|child| found.insert(*child)));
    }
    found
}

/// Seconds since the epoch at which the machine started.
fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn line_of(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    const TAIL: &str =
        "S 7 1 1 0 -1 4194304 99 0 0 0 0 0 0 0 20 0 1 0 124065 3133440 390 1844674407370955";

    /// A process of a test, ended with it.
    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Self {
            Self(Command::new("sleep").arg0("sleep (1) Z 9").arg("60").spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Looks until there is an answer, but not for ever.
    fn await_some<T>(look: impl Fn() -> Option<T>) -> T {
        for _ in 0..1000 {
            if let Some(found) = look() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not happen within 10 s");
    }

    #[test]
    fn odd_names_do_not_shift_the_fields() {
        for name in ["cat", "tmux: server", "a) R 1 (b", "(sd-pam)", "", ")", "ä b"] {
            let stat = Stat::parse(&format!("42 ({name}) {TAIL}")).unwrap();
            assert_eq!(
                stat,
                Stat { name: name.to_owned(), state: 'S', parent: 7, group: 1, start: 124_065 },
                "{name}"
            );
        }
    }

    #[test]
    fn a_stat_that_breaks_off_is_no_process() {
        for text in ["", "42", "42 (cat", "42 (cat)", "42 (cat) S", "42 (cat) S 1 2 3", "x ) S ("] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn this_process_is_alive_and_started_in_the_past() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        // The boot time has whole seconds, so a young process may seem to start a second ahead.
        let since = own.since().unwrap();
        assert!(since <= SystemTime::now() + Duration::from_secs(1), "{since:?}");
        assert!(since > SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000), "{since:?}");
        assert!(!Identity { start: own.start + 1, ..own }.is_alive());
    }

    #[test]
    fn a_child_is_found_named_and_ended() {
        let mut sleeper = Sleeper::new();
        let pid = sleeper.0.id();
        let identity = Identity::of(pid).unwrap();
        assert!(children_of(std::process::id()).contains(&pid));
        assert!(descendants(&[std::process::id()]).contains(&pid));
        assert_eq!(signal(identity, Signal::TERM).unwrap(), Delivery::Sent);
        await_some(|| state(pid).filter(|state| *state == 'Z'));
        assert_eq!(Identity::of(pid), None);
        assert!(!identity.is_alive(), "it ended and was not waited for");
        assert!(!descendants(&[pid]).contains(&pid));
        sleeper.0.wait().unwrap();
        assert_eq!(signal(identity, Signal::TERM).unwrap(), Delivery::Gone);
    }

    #[test]
    fn a_reused_number_is_not_signalled() {
        let mut sleeper = Sleeper::new();
        let identity = Identity::of(sleeper.0.id()).unwrap();
        let earlier = Identity { start: identity.start - 1, ..identity };
        assert_eq!(signal(earlier, Signal::KILL).unwrap(), Delivery::Gone);
        assert!(sleeper.0.try_wait().unwrap().is_none());
        assert!(identity.is_alive());
    }

    #[test]
    fn the_group_of_a_reused_number_is_not_ours() {
        let mut shell = Command::new("sh");
        let family = Sleeper(shell.args(["-c", "sleep 60; :"]).process_group(0).spawn().unwrap());
        let leader = Identity::of(family.0.id()).unwrap();
        let child = await_some(|| children_of(leader.pid).into_iter().next());
        let group: BTreeSet<u32> = group_of(&leader).into_iter().map(|member| member.pid).collect();
        assert_eq!(group, BTreeSet::from([leader.pid, child]));
        assert_eq!(leader_of(child), Some(leader));
        assert_eq!(group_of(&Identity { start: leader.start - 1, ..leader }), []);
        for member in group_of(&leader) {
            signal(member, Signal::KILL).unwrap();
        }
    }

    #[test]
    fn the_holder_of_a_lock_is_told_from_those_who_have_the_file_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("service.lock");
        let open = || fs::File::create(&path).unwrap();
        let (holder, _other) = (open(), open());
        assert_eq!(lock_holders(&path), Vec::<u32>::new());
        rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert_eq!(lock_holders(&path), [std::process::id()]);
        assert_eq!(lock_holders(&folder.path().join("none.lock")), Vec::<u32>::new());
    }

    #[test]
    fn the_command_line_keeps_arguments_apart() {
        let sleeper = Sleeper::new();
        let pid = sleeper.0.id();
        // While the program is being loaded there are no arguments, or still those of this process.
        let own = command_line(std::process::id()).unwrap();
        let seen = await_some(|| command_line(pid).filter(|seen| !seen.is_empty() && *seen != own));
        assert_eq!(seen, ["sleep (1) Z 9", "60"]);
        assert_eq!(name(pid).as_deref(), Some("sleep"));
        assert_eq!(command_line(0), None);
    }

    #[test]
    fn a_family_is_found_over_generations_and_without_strangers() {
        let parents = BTreeMap::from([(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (21, 20)]);
        assert_eq!(below(&[10], &parents), BTreeSet::from([10, 11, 12]));
        assert_eq!(below(&[11, 20], &parents), BTreeSet::from([11, 12, 20, 21]));
        assert_eq!(below(&[99], &parents), BTreeSet::new());
    }

    #[test]
    fn the_machine_has_a_name_and_a_boot() {
        assert_eq!(boot_id().unwrap().len(), 36);
        assert!(!hostname().is_empty());
        assert_eq!(boot_time("cpu 1 2\nbtime 1763000000\nprocesses 9\n"), Some(1_763_000_000));
        assert_eq!(boot_time("cpu 1 2\n"), None);
    }
}
