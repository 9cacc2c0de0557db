//! Whether the agent sees the host it stands for, or only the container around itself.

use serde::Serialize;

use crate::collector::{Context, mounts};
use crate::host::Root;

/// What the metrics are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The whole machine.
    Host,
    /// One container on it.
    Container,
}

/// The number the kernel gave the first namespace of processes when it started.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Looks at procfs and at the root folder.
pub fn find(cx: &Context) -> Scope {
    // Process 2 of a machine is always the parent of the kernel's threads; no container has it.
    let has_kernel_threads = match cx.host.text(Root::Procfs, "2/comm") {
        Ok(name) => name.trim_end() == "kthreadd",
        // An option of procfs may hide other users' processes, but never one's own.
        Err(_) => {
            cx.host.link(Root::Procfs, "self/ns/pid").is_ok_and(|name| name == FIRST_NAMESPACE)
        }
    };
    let rootfs =
        cx.host.location(Root::Rootfs).map(|path| path.display().to_string()).unwrap_or_default();
    let first =
        cx.host.text(Root::Procfs, "1/mountinfo").ok().and_then(|text| device_of(&text, "/"));
    let own = cx.host.text(Root::Own, "mountinfo").ok().and_then(|text| device_of(&text, &rootfs));
    decide(has_kernel_threads, first, own)
}

fn decide(has_kernel_threads: bool, first: Option<String>, own: Option<String>) -> Scope {
    match (has_kernel_threads, first, own) {
        (true, None, _) => Scope::Host,
        (true, first, own) if first == own => Scope::Host,
        _ => Scope::Container,
    }
}

/// Finds the device behind a mount point; of several mounts on top of each other, the last one is seen.
fn device_of(mountinfo: &str, place: &str) -> Option<String> {
    let place = if place == "/" { place } else { place.trim_end_matches('/') };
    let mounts = mounts::parse(mountinfo).items;
    mounts
        .iter()
        .rfind(|mount| mount.mount_point == place)
        .map(|mount| format!("{}:{}", mount.major, mount.minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_on_a_place_is_the_visible_one() {
        let mounts = "1 1 0:2 / / rw - rootfs rootfs rw\n2 1 254:0 / / rw - ext4 /dev/vda rw\n3 2 254:1 / /host rw - ext4 /dev/vdb rw\n";
        assert_eq!(device_of(mounts, "/"), Some("254:0".to_owned()));
        assert_eq!(device_of(mounts, "/host/"), Some("254:1".to_owned()));
        assert_eq!(device_of(mounts, "/other"), None);
    }

    #[test]
    fn a_host_has_kernel_threads_and_its_own_root() {
        let device = |name: &str| Some(name.to_owned());
        assert_eq!(decide(true, device("254:0"), device("254:0")), Scope::Host);
        assert_eq!(decide(true, None, device("254:0")), Scope::Host);
        assert_eq!(decide(true, device("254:0"), device("0:52")), Scope::Container);
        assert_eq!(decide(true, device("254:0"), None), Scope::Container);
        assert_eq!(decide(false, device("254:0"), device("254:0")), Scope::Container);
    }
}
