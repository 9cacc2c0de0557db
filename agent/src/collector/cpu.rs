//! What the processors spent their time on.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Collected, Context, cpu_sysfs};
use crate::exposition::Family;
use crate::lines::{self, Parsed, count};
use crate::patience::lock;

/// The kernel's unit of time in `/proc`, fixed for programs whatever the kernel itself ticks with.
pub const TICKS_PER_SECOND: f64 = 100.0;

/// The columns of a processor's line, in their order.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const IDLE: usize = 3;
const COLUMNS: usize = MODES.len() + GUEST_MODES.len();

/// An idle time that falls by more than this means that the processor was taken out and put back.
const HOTPLUG_SECONDS: f64 = 3.0;

/// Reads the processor lines of `/proc/stat`, and what sysfs says about each processor.
pub fn collect(cx: &Context) -> Result<Collected> {
    let parsed = parse(&cx.procfs("stat")?);
    let times = lock(&cx.processors).settle(parsed.items);
    let mut families = families(&times);
    families.extend(cpu_sysfs::families(cx));
    Ok(Collected { families, problems: parsed.problems, ..Collected::default() })
}

/// Seconds that one processor spent in each mode; an old kernel has fewer columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// The processor's number.
    pub cpu: u32,
    /// The columns.
    pub seconds: Vec<f64>,
}

/// Reads lines such as `cpu0 4095 0 1378 44140 27 0 8 3 0 0`, without the sum over all of them.
pub fn parse(text: &str) -> Parsed<Times> {
    lines::each(text, |line| {
        let mut words = line.split_whitespace();
        let Some(cpu) =
            words.next().and_then(|word| word.strip_prefix("cpu")).filter(|cpu| !cpu.is_empty())
        else {
            return Ok(None);
        };
        let cpu = cpu
            .parse()
            .map_err(|_| format!("found the processor `{cpu:.40}`, wanted its number"))?;
        Ok(Some(Times { cpu, seconds: seconds(words)? }))
    })
}

/// Reads the first line, which sums up all processors.
pub fn parse_sum(text: &str) -> Option<Vec<f64>> {
    let words = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    seconds(words).ok()
}

/// Splits a sum into seconds of work and seconds in all; guests are part of the users' time already.
pub fn busy_and_total(sum: &[f64]) -> (f64, f64) {
    let total: f64 = sum.iter().take(MODES.len()).sum();
    let idle: f64 = sum.iter().skip(IDLE).take(2).sum();
    (total - idle, total)
}

fn seconds<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<f64>, String> {
    let seconds: Vec<_> = words
        .take(COLUMNS)
        .map(|word| Ok(count(word)? / TICKS_PER_SECOND))
        .collect::<Result<_, String>>()?;
    match seconds.len() {
        0..=IDLE => Err(format!("found {} columns, wanted at least {}", seconds.len(), IDLE + 1)),
        _ => Ok(seconds),
    }
}

fn families(times: &[Times]) -> Vec<Family> {
    let mut all = Family::counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.");
    let mut guest = Family::counter(
        "node_cpu_guest_seconds_total",
        "Seconds the CPUs spent in guests (VMs) for each mode.",
    );
    for Times { cpu, seconds } in times {
        let cpu = cpu.to_string();
        let (own, guests) = seconds.split_at(seconds.len().min(MODES.len()));
        MODES
            .iter()
            .zip(own)
            .for_each(|(mode, value)| all.add(&[("cpu", cpu.as_str()), ("mode", mode)], *value));
        GUEST_MODES
            .iter()
            .zip(guests)
            .for_each(|(mode, value)| guest.add(&[("cpu", cpu.as_str()), ("mode", mode)], *value));
    }
    vec![all, guest]
}

/// The times served last. The kernel sometimes counts back a little, which would look like a restart to Prometheus.
#[derive(Debug, Default)]
pub struct History {
    last: BTreeMap<u32, Vec<f64>>,
}

impl History {
    /// Answers times that never go back, except for a processor that was taken out in between.
    pub fn settle(&mut self, fresh: Vec<Times>) -> Vec<Times> {
        let last = std::mem::take(&mut self.last);
        for Times { cpu, seconds } in fresh {
            let before =
                last.get(&cpu).filter(|before| before[IDLE] - seconds[IDLE] < HOTPLUG_SECONDS);
            let settled = match before {
                Some(before) if before.len() == seconds.len() => {
                    seconds.iter().zip(before).map(|(now, before)| now.max(*before)).collect()
                }
                _ => seconds,
            };
            self.last.entry(cpu).or_insert(settled);
        }
        self.last
            .iter()
            .map(|(cpu, seconds)| Times { cpu: *cpu, seconds: seconds.clone() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cpu  13880 0 3055 82024 305 0 31 9 0 0\ncpu0 4095 0 1378 44140 27 0 8 3 0 0\ncpu1 9785 0 1677 37883 277 0 23 6 5 4\nintr 1\ncpufreq 7\n";

    #[test]
    fn ticks_become_seconds() {
        let parsed =
            parse("cpu  1 2 3 4\ncpu0 4095 0 1378 44140 27 0 8 3 0 0 77\ncpu11 1 2 3 4\nintr 5\n");
        assert_eq!(
            parsed.items[0].seconds,
            [40.95, 0.0, 13.78, 441.4, 0.27, 0.0, 0.08, 0.03, 0.0, 0.0]
        );
        assert_eq!(parsed.items[1], Times { cpu: 11, seconds: vec![0.01, 0.02, 0.03, 0.04] });
        assert_eq!(parsed.problems, [""; 0]);
    }

    #[test]
    fn odd_lines_are_named_and_the_others_kept() {
        let parsed =
            parse(&format!("{TEXT}cpu2 1 2\ncpu3 1 2 -3 4\ncpu4 99999999999999999999 0 0 0\n"));
        assert_eq!(parsed.items.iter().map(|times| times.cpu).collect::<Vec<_>>(), [0, 1, 4]);
        assert_eq!(
            parsed.problems,
            [
                "line 5: found the processor `freq`, wanted its number",
                "line 6: found 2 columns, wanted at least 4",
                "line 7: found `-3`, wanted a whole number",
            ]
        );
    }

    #[test]
    fn the_sum_is_split_into_work_and_all() {
        let sum = parse_sum(TEXT).unwrap();
        let (busy, total) = busy_and_total(&sum);
        assert!((busy - 169.75).abs() < 1e-9, "{busy}");
        assert!((total - 993.04).abs() < 1e-9, "{total}");
        assert_eq!(parse_sum("intr 5\n"), None);
        assert_eq!(parse_sum(""), None);
    }

    #[test]
    fn a_counter_that_goes_back_a_little_stays() {
        let times = |seconds: [f64; 5]| vec![Times { cpu: 0, seconds: seconds.to_vec() }];
        let mut history = History::default();
        history.settle(times([1.0, 0.0, 1.0, 9.0, 5.0]));
        assert_eq!(
            history.settle(times([2.0, 0.0, 0.9, 8.0, 4.9])),
            times([2.0, 0.0, 1.0, 9.0, 5.0])
        );
    }

    #[test]
    fn a_processor_that_was_taken_out_starts_again() {
        let times = |cpu, idle| Times { cpu, seconds: vec![1.0, 1.0, 1.0, idle] };
        let mut history = History::default();
        history.settle(vec![times(0, 9.0), times(1, 9.0)]);
        assert_eq!(history.settle(vec![times(0, 2.0)]), [times(0, 2.0)]);
        assert_eq!(
            history.settle(vec![times(0, 3.0), times(1, 1.0)]),
            [times(0, 3.0), times(1, 1.0)]
        );
    }
}
