//! How long tasks waited for a processor, memory, disks and interrupts.

use anyhow::{Context as _, Result};

use super::{Collected, Context, is_missing};
use crate::exposition::Family;
use crate::host::Root;
use crate::lines::{self, Parsed, count};

/// File of `/proc/pressure`, the line in it, metric and help text.
const FIELDS: [(&str, &str, &str, &str); 6] = [
    (
        "cpu",
        "some",
        "node_pressure_cpu_waiting_seconds_total",
        "Total time in seconds that processes have waited for CPU time",
    ),
    (
        "io",
        "some",
        "node_pressure_io_waiting_seconds_total",
        "Total time in seconds that processes have waited due to IO congestion",
    ),
    (
        "io",
        "full",
        "node_pressure_io_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IO congestion",
    ),
    (
        "memory",
        "some",
        "node_pressure_memory_waiting_seconds_total",
        "Total time in seconds that processes have waited for memory",
    ),
    (
        "memory",
        "full",
        "node_pressure_memory_stalled_seconds_total",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    (
        "irq",
        "full",
        "node_pressure_irq_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IRQ congestion",
    ),
];

/// Reads the files of `/proc/pressure` that this kernel has.
pub fn collect(cx: &Context) -> Result<Collected> {
    let mut collected = Collected::absent();
    for resource in ["cpu", "io", "memory", "irq"] {
        let text = match cx.host.text(Root::Procfs, &format!("pressure/{resource}")) {
            Ok(text) => text,
            // The file is absent in an old kernel, and cannot be read where the feature is switched off.
            Err(error) if is_missing(&error) => continue,
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read `pressure/{resource}` of procfs"));
            }
        };
        collected.presence = super::Presence::Here;
        let parsed = parse(&text);
        collected.problems.extend(
            parsed.problems.iter().map(|problem| format!("`pressure/{resource}`: {problem}")),
        );
        for (_, line, name, help) in FIELDS.iter().filter(|field| field.0 == resource) {
            match parsed.items.iter().find(|(found, _)| found == line) {
                Some((_, total)) => collected
                    .families
                    .push(Family::counter(*name, help).value(total / 1000.0 / 1000.0)),
                None => collected
                    .problems
                    .push(format!("`pressure/{resource}`: found no line `{line}`")),
            }
        }
    }
    Ok(collected)
}

/// Reads the total of each line, in microseconds, from lines such as `some avg10=0.00 avg60=0.00 total=7290966`.
pub fn parse(text: &str) -> Parsed<(String, f64)> {
    lines::each(text, |line| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let total =
            words.find_map(|word| word.strip_prefix("total=")).ok_or("found no `total=`")?;
        Ok(Some((name.to_owned(), count(total)?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_totals_are_read() {
        let parsed = parse(
            "some avg10=4.90 avg60=1.99 avg300=0.91 total=7293199\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        );
        assert_eq!(parsed.items, [("some".to_owned(), 7_293_199.0), ("full".to_owned(), 0.0)]);
    }

    #[test]
    fn odd_lines_are_named() {
        let parsed = parse("some avg10=4.90\nfull total=-1\n");
        assert_eq!(parsed.items, []);
        assert_eq!(
            parsed.problems,
            ["line 1: found no `total=`", "line 2: found `-1`, wanted a whole number"]
        );
    }
}
