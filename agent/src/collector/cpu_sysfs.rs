//! What sysfs says about each processor: throttling by heat, isolation, whether it is switched on.

use std::collections::BTreeMap;

use super::Context;
use crate::exposition::Family;
use crate::host::Root;
use crate::lines::count;

const FOLDER: &str = "devices/system/cpu";

/// Reads the folders `cpu0`, `cpu1` and so on; files that this machine does not have give no series.
pub fn families(cx: &Context) -> Vec<Family> {
    let names = cx.host.list(Root::Sysfs, FOLDER).unwrap_or_default();
    let mut numbers: Vec<u32> =
        names.iter().filter_map(|name| name.strip_prefix("cpu")?.parse().ok()).collect();
    numbers.sort_unstable();
    let mut families = throttles(cx, &numbers);
    families.push(isolated(cx));
    families.push(online(cx, &numbers));
    families
}

fn throttles(cx: &Context, numbers: &[u32]) -> Vec<Family> {
    // Threads of one core share its counter, and cores of one package share the package's.
    let (mut cores, mut packages) = (BTreeMap::new(), BTreeMap::new());
    for number in numbers {
        let read = |file: &str| count(&cx.sysfs(&format!("{FOLDER}/cpu{number}/{file}"))?).ok();
        let (Some(package), Some(core)) =
            (read("topology/physical_package_id"), read("topology/core_id"))
        else {
            continue;
        };
        let (package, core) = (package as u64, core as u64);
        if let Some(times) = read("thermal_throttle/core_throttle_count") {
            cores.entry((package, core)).or_insert(times);
        }
        if let Some(times) = read("thermal_throttle/package_throttle_count") {
            packages.entry(package).or_insert(times);
        }
    }
    let mut by_core = Family::counter(
        "node_cpu_core_throttles_total",
        "Number of times this CPU core has been throttled.",
    );
    for ((package, core), times) in cores {
        by_core.add(&[("core", core.to_string()), ("package", package.to_string())], times);
    }
    let mut by_package = Family::counter(
        "node_cpu_package_throttles_total",
        "Number of times this CPU package has been throttled.",
    );
    for (package, times) in packages {
        by_package.add(&[("package", package.to_string())], times);
    }
    vec![by_core, by_package]
}

fn isolated(cx: &Context) -> Family {
    let mut family = Family::gauge(
        "node_cpu_isolated",
        "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
    );
    for number in parse_ranges(&cx.sysfs(&format!("{FOLDER}/isolated")).unwrap_or_default()) {
        family.add(&[("cpu", number.to_string())], 1.0);
    }
    family
}

fn online(cx: &Context, numbers: &[u32]) -> Family {
    let mut family = Family::gauge("node_cpu_online", "CPUs that are online and being scheduled.");
    let read = |number: &u32| cx.sysfs(&format!("{FOLDER}/cpu{number}/online"));
    // Most machines cannot switch off their first processor; then the file is missing, and the metric with it.
    if numbers.first().and_then(read).is_none() {
        return family;
    }
    for number in numbers {
        let value = f64::from(u8::from(read(number).as_deref() == Some("1")));
        family.add(&[("cpu", number.to_string())], value);
    }
    family
}

/// Reads lists such as `1,3-5`; a part that is no range is left out.
pub fn parse_ranges(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
    };
    let mut numbers: Vec<u16> = text.split(',').filter_map(range).flatten().collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(parse_ranges("1,3-5"), [1, 3, 4, 5]);
        assert_eq!(parse_ranges("3,1-3"), [1, 2, 3]);
        assert_eq!(parse_ranges("0"), [0]);
    }

    #[test]
    fn odd_lists_give_what_can_be_read() {
        for text in ["", "-", "x-y", "5-3", "-1", "99999"] {
            assert_eq!(parse_ranges(text), [] as [u16; 0], "{text}");
        }
        assert_eq!(parse_ranges("2,x,4"), [2, 4]);
    }
}
