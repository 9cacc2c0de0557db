//! The kernel's names.

use anyhow::Result;

use super::{Collected, Context};
use crate::exposition::Family;

/// Asks `uname`.
pub fn collect(cx: &Context) -> Result<Collected> {
    let names = cx.host.names();
    let mut family = Family::gauge(
        "node_uname_info",
        "Labeled system information as provided by the uname system call.",
    );
    let labels = [
        ("domainname", names.domain),
        ("machine", names.machine),
        ("nodename", names.node),
        ("release", names.release),
        ("sysname", names.system),
        ("version", names.version),
    ];
    family.add(&labels, 1.0);
    Ok(Collected::whole(vec![family]))
}
