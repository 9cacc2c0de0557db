//! Paging and the out-of-memory killer.

use anyhow::Result;

use super::{Collected, Context};
use crate::exposition::{Family, Kind};
use crate::lines::{self, Parsed, number, unique};

/// Reads the lines of `/proc/vmstat` that node_exporter serves by default.
pub fn collect(cx: &Context) -> Result<Collected> {
    Ok(Collected::from_lines(parse(&cx.procfs("vmstat")?), families))
}

/// Reads lines such as `pgpgin 1646417`, and of those only the wanted ones.
pub fn parse(text: &str) -> Parsed<(String, f64)> {
    let parsed = lines::each(text, |line| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        if !is_wanted(name) {
            return Ok(None);
        }
        Ok(Some((name.to_owned(), number(words.next().unwrap_or_default())?)))
    });
    Parsed { items: unique(parsed.items, |(name, _)| name.clone()), problems: parsed.problems }
}

/// Says the same as node_exporter's default pattern `^(oom_kill|pgpg|pswp|pg.*fault).*`.
fn is_wanted(name: &str) -> bool {
    ["oom_kill", "pgpg", "pswp"].iter().any(|start| name.starts_with(start))
        || name.strip_prefix("pg").is_some_and(|rest| rest.contains("fault"))
}

fn families(fields: &[(String, f64)]) -> Vec<Family> {
    let family = |(name, value): &(String, f64)| {
        let help = format!("/proc/vmstat information field {name}.");
        Family::new(format!("node_vmstat_{name}"), Kind::Untyped, &help).value(*value)
    };
    fields.iter().map(family).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_lines_are_read() {
        let parsed = parse(
            "nr_free_pages 1175632\npgpgin 5\npgfault 7\npgmajfault 865\noom_kill 0\npgalloc_dma x\npswpin 1\npromote_fault 1\n",
        );
        let names: Vec<_> = parsed.items.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["pgpgin", "pgfault", "pgmajfault", "oom_kill", "pswpin"]);
        assert_eq!(parsed.problems, [""; 0]);
    }

    #[test]
    fn a_missing_value_is_named() {
        let parsed = parse("pgpgin\npgfault 18446744073709551616\n");
        assert_eq!(parsed.items, [("pgfault".to_owned(), 18_446_744_073_709_551_616.0)]);
        assert_eq!(parsed.problems, ["line 1: found ``, wanted a number"]);
    }
}
