//! How full the filesystems are.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::mounts::{self, Access, Mount};
use super::{Collected, Context};
use crate::exposition::Family;
use crate::host::{Root, Space};
use crate::lines::unique;
use crate::patience::{Job, Limits, Verdict};

/// How long filesystems that can hang may take.
const PATIENCE: Limits =
    Limits { each: Duration::from_millis(250), all: Duration::from_millis(500) };

/// What is said about a filesystem that does not answer, in node_exporter's words.
const NO_ANSWER: &str = "mountpoint timeout";

/// Filesystems whose kernel code answers from memory, so that asking never hangs.
const NEVER_HANGING: [&str; 12] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "exfat", "ntfs3", "tmpfs", "ramfs",
    "efivarfs",
];

/// The kinds in node_exporter's default `--collector.filesystem.fs-types-exclude`.
const IGNORED_KINDS: [&str; 25] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "erofs",
    "sysfs",
    "tracefs",
];

/// Reads the list of mounts and asks each filesystem.
pub fn collect(cx: &Context) -> Result<Collected> {
    let parsed =
        mounts::read(cx).context("cannot read `1/mountinfo` or `self/mountinfo` of procfs")?;
    let rootfs = cx.host.location(Root::Rootfs).unwrap_or(Path::new("/"));
    let shown = parsed
        .items
        .into_iter()
        .map(|mount| below(rootfs, mount))
        .filter(|mount| !is_ignored(mount));
    let mounts = unique(shown.collect(), |mount: &Mount| {
        (mount.device.clone(), mount.mount_point.clone(), mount.kind.clone())
    });
    let answers = ask(cx, mounts);
    Ok(Collected {
        families: families(&answers),
        problems: parsed.problems,
        ..Collected::default()
    })
}

/// Names a mount point as the host does, where the host's root is a folder of the agent's.
fn below(rootfs: &Path, mut mount: Mount) -> Mount {
    if rootfs != Path::new("/")
        && let Ok(rest) = Path::new(&mount.mount_point).strip_prefix(rootfs)
    {
        mount.mount_point = format!("/{}", rest.display());
    }
    mount
}

/// Says the same as node_exporter's default
/// `^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)` and its list of kinds.
fn is_ignored(mount: &Mount) -> bool {
    let place = mount.mount_point.strip_prefix('/').unwrap_or_default();
    let is_inside = |folder: &&str| place.strip_prefix(folder).is_some_and(|rest| !rest.is_empty());
    let first = place.split('/').next().unwrap_or_default();
    matches!(first, "dev" | "proc" | "sys")
        || ["run/credentials/", "var/lib/docker/", "var/lib/containers/storage/"]
            .iter()
            .any(is_inside)
        || IGNORED_KINDS.contains(&mount.kind.as_str())
}

type Answer = Result<Space, String>;

/// Asks each filesystem; those that can hang are asked on a thread that is left behind when they do.
fn ask(cx: &Context, mounts: Vec<Mount>) -> Vec<(Mount, Answer)> {
    let (safe, risky): (Vec<_>, Vec<_>) =
        mounts.into_iter().partition(|mount| NEVER_HANGING.contains(&mount.kind.as_str()));
    let jobs = risky.iter().map(|mount| {
        let (host, place) = (cx.host.clone(), mount.mount_point.clone());
        Job { key: place.clone(), work: Box::new(move || host.space(&place)) }
    });
    let verdicts =
        cx.mounts.run(jobs.collect(), PATIENCE).into_iter().map(|verdict| match verdict {
            Verdict::Done(answer) => answer.map_err(|error| reason(&error)),
            Verdict::Late => Err(NO_ANSWER.to_owned()),
            Verdict::Crashed(words) => Err(words),
        });
    let risky: Vec<_> = risky.into_iter().zip(verdicts).collect();
    let safe = safe.into_iter().map(|mount| {
        let answer = cx.host.space(&mount.mount_point).map_err(|error| reason(&error));
        (mount, answer)
    });
    safe.chain(risky).collect()
}

/// Says what went wrong as C libraries and node_exporter do: `permission denied`, without a number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A metric, its help text, and how to read it from an answer.
type Measure = (&'static str, &'static str, fn(&Space) -> f64);

const MEASURES: [Measure; 5] = [
    ("node_filesystem_size_bytes", "Filesystem size in bytes.", |space| bytes(space, space.blocks)),
    ("node_filesystem_free_bytes", "Filesystem free space in bytes.", |space| {
        bytes(space, space.free)
    }),
    (
        "node_filesystem_avail_bytes",
        "Filesystem space available to non-root users in bytes.",
        |space| bytes(space, space.available),
    ),
    ("node_filesystem_files", "Filesystem total file nodes.", |space| space.files as f64),
    ("node_filesystem_files_free", "Filesystem total free file nodes.", |space| {
        space.files_free as f64
    }),
];

fn bytes(space: &Space, blocks: u64) -> f64 {
    blocks as f64 * space.block_size as f64
}

fn families(answers: &[(Mount, Answer)]) -> Vec<Family> {
    let mut errors = Family::gauge(
        "node_filesystem_device_error",
        "Whether an error occurred while getting statistics for the given device.",
    );
    let mut locked = Family::gauge("node_filesystem_readonly", "Filesystem read-only status.");
    let mut info = Family::gauge("node_filesystem_mount_info", "Filesystem mount information.");
    for (mount, answer) in answers {
        errors.add(&labels(mount, answer), f64::from(u8::from(answer.is_err())));
        locked.add(&labels(mount, answer), f64::from(u8::from(mount.access == Access::ReadOnly)));
        if answer.is_ok() {
            let Mount { device, major, minor, mount_point, .. } = mount;
            info.add(
                &[
                    ("device", device),
                    ("major", major),
                    ("minor", minor),
                    ("mountpoint", mount_point),
                ],
                1.0,
            );
        }
    }
    let measures = MEASURES.iter().map(|(name, help, measure)| {
        let mut family = Family::gauge(*name, help);
        for (mount, answer) in answers {
            if let Ok(space) = answer {
                family.add(&labels(mount, answer), measure(space));
            }
        }
        family
    });
    [errors, locked, info].into_iter().chain(measures).collect()
}

fn labels<'a>(mount: &'a Mount, answer: &'a Answer) -> [(&'static str, &'a str); 4] {
    [
        ("device", &mount.device),
        ("device_error", answer.as_ref().err().map_or("", String::as_str)),
        ("fstype", &mount.kind),
        ("mountpoint", &mount.mount_point),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(place: &str, kind: &str) -> Mount {
        let line = format!("1 2 3:4 / {place} rw - {kind} /dev/x rw");
        mounts::parse(&line).items.remove(0)
    }

    #[test]
    fn the_same_mounts_are_ignored_as_by_node_exporter() {
        for (place, kind) in [
            ("/dev", "ext4"),
            ("/dev/shm", "tmpfs"),
            ("/proc", "ext4"),
            ("/sys/fs/x", "ext4"),
            ("/run/credentials/a.service", "ramfs"),
            ("/var/lib/docker/overlay2/x/merged", "ext4"),
            ("/var/lib/containers/storage/x", "ext4"),
            ("/snap/x", "squashfs"),
            ("/x", "overlay"),
            ("/x", "cgroup2"),
        ] {
            assert!(is_ignored(&mount(place, kind)), "{place} {kind}");
        }
        for (place, kind) in [
            ("/", "ext4"),
            ("/device", "ext4"),
            ("/system", "xfs"),
            ("/run", "tmpfs"),
            ("/run/credentials", "tmpfs"),
            ("/var/lib/docker", "ext4"),
            ("/mnt/nas", "nfs4"),
            ("/x", "cgroup3"),
        ] {
            assert!(!is_ignored(&mount(place, kind)), "{place} {kind}");
        }
    }

    #[test]
    fn a_mount_point_is_named_as_on_the_host() {
        let place =
            |rootfs: &str, place: &str| below(Path::new(rootfs), mount(place, "ext4")).mount_point;
        assert_eq!(place("/", "/data"), "/data");
        assert_eq!(place("/host", "/host"), "/");
        assert_eq!(place("/host", "/host/data"), "/data");
        assert_eq!(place("/host/", "/host/data"), "/data");
        assert_eq!(place("/host", "/hostile"), "/hostile");
        assert_eq!(place("/host", "/"), "/");
    }

    #[test]
    fn errors_are_said_in_the_words_of_node_exporter() {
        assert_eq!(reason(&io::Error::from_raw_os_error(13)), "permission denied");
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "no such file or directory");
    }
}
