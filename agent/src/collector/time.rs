//! The time, its zone, and what the kernel counts it with.

use anyhow::Result;

use super::{Collected, Context};
use crate::exposition::Family;
use crate::host::Root;

const CLOCK_SOURCES: &str = "devices/system/clocksource";

/// Asks the clock, and sysfs for the clock sources.
pub fn collect(cx: &Context) -> Result<Collected> {
    let zone = cx.clock.zone();
    let mut offset =
        Family::gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.");
    offset.add(&[("time_zone", &zone.name)], f64::from(zone.offset_seconds));
    let now = Family::gauge("node_time_seconds", "System time in seconds since epoch (1970).");
    let mut families = vec![now.value(cx.clock.now().as_nanos() as f64 / 1e9), offset];
    families.extend(clock_sources(cx));
    Ok(Collected::whole(families))
}

fn clock_sources(cx: &Context) -> [Family; 2] {
    let mut available = Family::gauge(
        "node_time_clocksource_available_info",
        "Available clocksources read from '/sys/devices/system/clocksource'.",
    );
    let mut current = Family::gauge(
        "node_time_clocksource_current_info",
        "Current clocksource read from '/sys/devices/system/clocksource'.",
    );
    // A container may not show this folder at all, which is no failure of the clock.
    for name in cx.host.list(Root::Sysfs, CLOCK_SOURCES).unwrap_or_default() {
        let Some(device) = name.strip_prefix("clocksource") else { continue };
        let read = |file: &str| cx.sysfs(&format!("{CLOCK_SOURCES}/{name}/{file}"));
        for source in read("available_clocksource").unwrap_or_default().split_whitespace() {
            available.add(&[("clocksource", source), ("device", device)], 1.0);
        }
        if let Some(source) = read("current_clocksource") {
            current.add(&[("clocksource", source.as_str()), ("device", device)], 1.0);
        }
    }
    [available, current]
}
