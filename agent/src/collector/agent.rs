//! What the agent itself costs, read at each scrape.

use anyhow::{Context as _, Result, anyhow};

use super::{Collected, Context, cpu, stat};
use crate::exposition::Family;
use crate::host::Root;

/// The limit of open files, as the kernel's table calls it.
pub const OPEN_FILES: &str = "Max open files";
const ADDRESS_SPACE: &str = "Max address space";

/// Reads the agent's own folder of procfs.
pub fn collect(cx: &Context) -> Result<Collected> {
    let process = read(cx)?;
    let limits = cx.host.text(Root::Own, "limits").unwrap_or_default();
    let mut build = Family::gauge(
        "monstack_agent_build_info",
        "The version of the monstack agent that serves these metrics.",
    );
    build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let mut families = vec![
        build,
        Family::counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
        )
        .value(process.cpu_seconds),
        Family::gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
            .value(process.resident_bytes),
        Family::gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
            .value(process.virtual_bytes),
        Family::gauge("process_open_fds", "Number of open file descriptors.")
            .value(process.open_files),
        Family::gauge("process_threads", "Number of OS threads in the process.")
            .value(process.threads),
    ];
    families.extend(limit(&limits, OPEN_FILES).map(|limit| {
        Family::gauge("process_max_fds", "Maximum number of open file descriptors.").value(limit)
    }));
    families.extend(limit(&limits, ADDRESS_SPACE).map(|limit| {
        let help = "Maximum amount of virtual memory available in bytes.";
        Family::gauge("process_virtual_memory_max_bytes", help).value(limit)
    }));
    families.extend(process.started.map(|started| {
        Family::gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
        )
        .value(started)
    }));
    Ok(Collected::whole(families))
}

/// What the kernel says about the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Seconds on a processor.
    pub cpu_seconds: f64,
    /// Memory that is really there.
    pub resident_bytes: f64,
    /// Memory that is promised.
    pub virtual_bytes: f64,
    /// Threads.
    pub threads: f64,
    /// Open files and connections.
    pub open_files: f64,
    /// When it started, in seconds since 1970, where the machine says when it started itself.
    pub started: Option<f64>,
}

/// Reads what the kernel says about the agent.
pub fn read(cx: &Context) -> Result<Process> {
    let own = |file: &str| {
        cx.host
            .text(Root::Own, file)
            .with_context(|| format!("cannot read the agent's own `{file}`"))
    };
    let (cpu_seconds, since_boot) =
        times(&own("stat")?).ok_or_else(|| anyhow!("the agent's own `stat` has too few fields"))?;
    let status = own("status")?;
    let field = |name: &str| {
        status_field(&status, name)
            .ok_or_else(|| anyhow!("the agent's own `status` has no `{name}`"))
    };
    let boot = cx.procfs("stat").ok().and_then(|text| stat::boot_time(&text));
    let open_files =
        cx.host.list(Root::Own, "fd").context("cannot list the agent's own `fd`")?.len();
    Ok(Process {
        cpu_seconds,
        resident_bytes: field("VmRSS")? * 1024.0,
        virtual_bytes: field("VmSize")? * 1024.0,
        threads: field("Threads")?,
        // One of them is the folder that was open while it was listed.
        open_files: open_files.saturating_sub(1) as f64,
        started: boot.map(|boot| boot + since_boot),
    })
}

/// Reads the seconds on a processor, and the seconds between the machine's start and the process's.
fn times(stat: &str) -> Option<(f64, f64)> {
    // The program's name is in brackets and may contain any of the characters that separate fields.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |position: usize| fields.get(position)?.parse::<f64>().ok();
    let [user, system, start] = [11, 12, 19].map(ticks);
    Some(((user? + system?) / cpu::TICKS_PER_SECOND, start? / cpu::TICKS_PER_SECOND))
}

fn status_field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads a line of the table of the process's limits.
pub fn limit(limits: &str, name: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX as f64),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_behind_the_name_are_counted() {
        let stat = "4711 (mon) stack) R 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 7 18 5000 20 21 22";
        assert_eq!(times(stat), Some((3.0, 50.0)));
        assert_eq!(times("4711 (x) R 1 2"), None);
        assert_eq!(times(""), None);
        assert_eq!(times("1 (x) R 1 2 3 4 5 6 7 8 9 10 x 50 13 14 15 16 7 18 5000"), None);
    }

    #[test]
    fn status_and_limits_are_read() {
        let status = "Name:\tVmRSS: 7\nVmSize:\t  5000 kB\nVmRSS:\t     120 kB\nThreads:\t3\n";
        assert_eq!(status_field(status, "VmRSS"), Some(120.0));
        assert_eq!(status_field(status, "VmSize"), Some(5000.0));
        assert_eq!(status_field(status, "Vm"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(limit(limits, OPEN_FILES), Some(1024.0));
        assert_eq!(limit(limits, ADDRESS_SPACE), None);
        assert_eq!(
            limit("Max open files unlimited unlimited files", OPEN_FILES),
            Some(u64::MAX as f64)
        );
        assert_eq!(limit("", OPEN_FILES), None);
    }
}
