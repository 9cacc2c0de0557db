//! What the memory is used for.

use anyhow::Result;

use super::{Collected, Context};
use crate::exposition::Family;
use crate::lines::{self, Parsed, count, unique};

/// Reads `/proc/meminfo`, every line of it.
pub fn collect(cx: &Context) -> Result<Collected> {
    Ok(Collected::from_lines(parse(&cx.procfs("meminfo")?), families))
}

/// One line: the name that node_exporter gives it, and its value in bytes where it is an amount of memory.
#[derive(Debug, PartialEq)]
pub struct Field {
    /// Such as `MemTotal_bytes` or `HugePages_Free`.
    pub name: String,
    /// Bytes, or a count.
    pub value: f64,
}

/// Reads lines such as `Active(anon):     1532 kB`.
pub fn parse(text: &str) -> Parsed<Field> {
    let parsed = lines::each(text, |line| {
        let (key, rest) = line.split_once(':').ok_or("found no `:`")?;
        let mut words = rest.split_whitespace();
        let value = count(words.next().unwrap_or_default())?;
        let key = key.trim().replace('(', "_").replace(')', "");
        match words.next() {
            None => Ok(Some(Field { name: key, value })),
            Some("kB") => Ok(Some(Field { name: format!("{key}_bytes"), value: value * 1024.0 })),
            Some(unit) => Err(format!("found the unit `{unit:.40}`, wanted `kB`")),
        }
    });
    Parsed { items: unique(parsed.items, |field| field.name.clone()), problems: parsed.problems }
}

fn families(fields: &[Field]) -> Vec<Family> {
    let family = |field: &Field| {
        let help = format!("Memory information field {}.", field.name);
        Family::gauge(format!("node_memory_{}", field.name), &help).value(field.value)
    };
    fields.iter().map(family).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_become_bytes_and_counts_stay() {
        let parsed = parse(
            "MemTotal:       24684084 kB\nActive(anon):       1532 kB\nHugePages_Free:        3\n",
        );
        let field = |name: &str, value| Field { name: name.to_owned(), value };
        assert_eq!(
            parsed.items,
            [
                field("MemTotal_bytes", 25_276_502_016.0),
                field("Active_anon_bytes", 1_568_768.0),
                field("HugePages_Free", 3.0)
            ]
        );
        assert_eq!(parsed.problems, [""; 0]);
    }

    #[test]
    fn odd_lines_are_named_and_the_others_kept() {
        let parsed = parse(
            "MemFree: -5 kB\nno colon\nBuffers:\nCached: 1 MB\nMemFree: 7 kB\nMemFree: 8 kB\nSlab: 99999999999999999999 kB\n",
        );
        assert_eq!(parsed.items.len(), 2);
        assert_eq!(parsed.items[0], Field { name: "MemFree_bytes".to_owned(), value: 7168.0 });
        assert_eq!(
            parsed.problems,
            [
                "line 1: found `-5`, wanted a whole number",
                "line 2: found no `:`",
                "line 3: found ``, wanted a whole number",
                "line 4: found the unit `MB`, wanted `kB`",
            ]
        );
    }
}
