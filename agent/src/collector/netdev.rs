//! What the network interfaces did.

use anyhow::Result;

use super::{Collected, Context};
use crate::exposition::Family;
use crate::lines::{self, Parsed, count, unique};

/// The numbers behind an interface's name, in their order.
const COLUMNS: [&str; 16] = [
    "receive_bytes",
    "receive_packets",
    "receive_errs",
    "receive_drop",
    "receive_fifo",
    "receive_frame",
    "receive_compressed",
    "receive_multicast",
    "transmit_bytes",
    "transmit_packets",
    "transmit_errs",
    "transmit_drop",
    "transmit_fifo",
    "transmit_colls",
    "transmit_carrier",
    "transmit_compressed",
];

/// Reads `/proc/net/dev`, and from sysfs the one number that is not in it.
pub fn collect(cx: &Context) -> Result<Collected> {
    let parsed = parse(&cx.procfs("net/dev")?);
    let mut families = families(&parsed.items);
    families.push(without_handler(cx, &parsed.items));
    Ok(Collected { families, problems: parsed.problems, ..Collected::default() })
}

/// One interface.
#[derive(Debug, PartialEq)]
pub struct Interface {
    /// Its name.
    pub device: String,
    /// Its numbers, one for each column.
    pub values: Vec<f64>,
}

/// Reads lines such as `eth0: 126704858 6804 0 0 0 0 0 0 593562 4845 0 0 0 0 0 0`.
pub fn parse(text: &str) -> Parsed<Interface> {
    let parsed = lines::each(text, |line| {
        // An alias such as `eth0:1` has a colon in its name, so the last one counts.
        let Some((device, numbers)) = line.rsplit_once(':') else {
            // The two lines of headings have bars between their columns.
            return if line.contains('|') { Ok(None) } else { Err("found no `:`".to_owned()) };
        };
        let values: Vec<_> = numbers.split_whitespace().map(count).collect::<Result<_, _>>()?;
        if values.len() < COLUMNS.len() {
            return Err(format!("found {} numbers, wanted {}", values.len(), COLUMNS.len()));
        }
        Ok(Some(Interface { device: device.trim().to_owned(), values }))
    });
    Parsed {
        items: unique(parsed.items, |interface| interface.device.clone()),
        problems: parsed.problems,
    }
}

fn families(interfaces: &[Interface]) -> Vec<Family> {
    let family = |(index, name): (usize, &&str)| {
        let mut family = begin(name);
        for interface in interfaces {
            family.add(&[("device", &interface.device)], interface.values[index]);
        }
        family
    };
    COLUMNS.iter().enumerate().map(family).collect()
}

fn without_handler(cx: &Context, interfaces: &[Interface]) -> Family {
    let mut family = begin("receive_nohandler");
    for Interface { device, .. } in interfaces {
        let answer = cx.sysfs(&format!("class/net/{device}/statistics/rx_nohandler"));
        if let Some(value) = answer.and_then(|answer| count(&answer).ok()) {
            family.add(&[("device", device)], value);
        }
    }
    family
}

fn begin(name: &str) -> Family {
    Family::counter(
        format!("node_network_{name}_total"),
        &format!("Network device statistic {name}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: &str =
        "Inter-|   Receive  |  Transmit\n face |bytes    packets|bytes    packets\n";

    #[test]
    fn every_interface_is_read() {
        let text = format!(
            "{HEADINGS}    lo:   39075      65    0    0    0     0          0         0    39075      65    0    0    0     0       0          0\neth0:1:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
        );
        let parsed = parse(&text);
        assert_eq!(parsed.items[0].device, "lo");
        assert_eq!(parsed.items[0].values[..2], [39075.0, 65.0]);
        assert_eq!(parsed.items[1].device, "eth0:1");
        assert_eq!(parsed.items[1].values[15], 16.0);
        assert_eq!(parsed.problems, [""; 0]);
    }

    #[test]
    fn odd_lines_are_named_and_the_others_kept() {
        let huge = "99999999999999999999 ".repeat(16);
        let minus = "-1 ".repeat(16);
        let text =
            format!("{HEADINGS}nothing\neth0: 1 2 3\neth1: {minus}\neth2: {huge}\neth2: {huge}\n");
        let parsed = parse(&text);
        assert_eq!(parsed.items.len(), 1);
        assert_eq!(parsed.items[0].values[0], 1e20);
        assert_eq!(
            parsed.problems,
            [
                "line 3: found no `:`",
                "line 4: found 3 numbers, wanted 16",
                "line 5: found `-1`, wanted a whole number",
            ]
        );
    }

    #[test]
    fn names_that_become_the_same_give_one_series() {
        let mut bytes = Vec::new();
        for name in [&b"e\xff"[..], b"e\xfe", b"a\"b\\c"] {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(b": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
        }
        let names: Vec<_> = parse(&String::from_utf8_lossy(&bytes))
            .items
            .into_iter()
            .map(|found| found.device)
            .collect();
        assert_eq!(names, ["e\u{fffd}", "a\"b\\c"]);
    }
}
