//! Counters of the kernel as a whole.

use anyhow::Result;

use super::{Collected, Context};
use crate::exposition::{Family, Kind};
use crate::lines::{self, Parsed, count, unique};

/// One line of the file that is of interest.
#[derive(Debug, PartialEq)]
pub struct Field {
    keyword: &'static str,
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

const BOOT_TIME: &str = "btime";

static FIELDS: [Field; 6] = [
    Field {
        keyword: "intr",
        name: "node_intr_total",
        kind: Kind::Counter,
        help: "Total number of interrupts serviced.",
    },
    Field {
        keyword: "ctxt",
        name: "node_context_switches_total",
        kind: Kind::Counter,
        help: "Total number of context switches.",
    },
    Field {
        keyword: BOOT_TIME,
        name: "node_boot_time_seconds",
        kind: Kind::Gauge,
        help: "Node boot time, in unixtime.",
    },
    Field {
        keyword: "processes",
        name: "node_forks_total",
        kind: Kind::Counter,
        help: "Total number of forks.",
    },
    Field {
        keyword: "procs_running",
        name: "node_procs_running",
        kind: Kind::Gauge,
        help: "Number of processes in runnable state.",
    },
    Field {
        keyword: "procs_blocked",
        name: "node_procs_blocked",
        kind: Kind::Gauge,
        help: "Number of processes blocked waiting for I/O to complete.",
    },
];

/// Reads `/proc/stat` without its processor lines.
pub fn collect(cx: &Context) -> Result<Collected> {
    let parsed = parse(&cx.procfs("stat")?);
    let is_missing = |field: &&Field| parsed.items.iter().all(|(found, _)| found != field);
    let missing: Vec<_> = FIELDS
        .iter()
        .filter(is_missing)
        .map(|field| format!("found no line `{}`", field.keyword))
        .collect();
    let mut collected = Collected::from_lines(parsed, families);
    collected.problems.extend(missing);
    Ok(collected)
}

/// Reads the lines that are of interest.
pub fn parse(text: &str) -> Parsed<(&'static Field, f64)> {
    let parsed = lines::each(text, |line| {
        let mut words = line.split_whitespace();
        let keyword = words.next().unwrap_or_default();
        match FIELDS.iter().find(|field| field.keyword == keyword) {
            Some(field) => Ok(Some((field, count(words.next().unwrap_or_default())?))),
            None => Ok(None),
        }
    });
    Parsed { items: unique(parsed.items, |(field, _)| field.keyword), problems: parsed.problems }
}

/// Finds when the machine started, in seconds since 1970.
pub fn boot_time(text: &str) -> Option<f64> {
    parse(text).items.iter().find(|(field, _)| field.keyword == BOOT_TIME).map(|(_, value)| *value)
}

fn families(found: &[(&'static Field, f64)]) -> Vec<Family> {
    found
        .iter()
        .map(|(field, value)| Family::new(field.name, field.kind, field.help).value(*value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cpu  1 2\nintr 234249 0 0 1\nctxt 464931\nbtime 1795226296\nprocesses 6278\nprocs_running 2\nprocs_blocked 0\nsoftirq 1 2\n";

    #[test]
    fn each_line_of_interest_is_read() {
        let values: Vec<_> =
            parse(TEXT).items.iter().map(|(field, value)| (field.keyword, *value)).collect();
        assert_eq!(
            values,
            [
                ("intr", 234_249.0),
                ("ctxt", 464_931.0),
                ("btime", 1_795_226_296.0),
                ("processes", 6278.0),
                ("procs_running", 2.0),
                ("procs_blocked", 0.0)
            ]
        );
        assert_eq!(boot_time(TEXT), Some(1_795_226_296.0));
    }

    #[test]
    fn odd_lines_are_named_and_the_first_of_two_counts() {
        let parsed = parse("ctxt\nintr -1\nbtime 5\nbtime 6\n");
        assert_eq!(parsed.items.len(), 1);
        assert_eq!(parsed.items[0].1, 5.0);
        assert_eq!(
            parsed.problems,
            [
                "line 1: found ``, wanted a whole number",
                "line 2: found `-1`, wanted a whole number"
            ]
        );
        assert_eq!(boot_time(""), None);
    }
}
