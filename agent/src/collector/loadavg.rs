//! How many tasks want a processor.

use anyhow::{Result, anyhow};

use super::{Collected, Context};
use crate::exposition::Family;
use crate::lines::number;

/// Reads `/proc/loadavg`.
pub fn collect(cx: &Context) -> Result<Collected> {
    let [one, five, fifteen] =
        parse(&cx.procfs("loadavg")?).map_err(|problem| anyhow!("`loadavg`: {problem}"))?;
    Ok(Collected::whole(vec![
        Family::gauge("node_load1", "1m load average.").value(one),
        Family::gauge("node_load5", "5m load average.").value(five),
        Family::gauge("node_load15", "15m load average.").value(fifteen),
    ]))
}

/// Reads the means over 1, 5 and 15 minutes.
pub fn parse(text: &str) -> Result<[f64; 3], String> {
    let mut words = text.split_whitespace();
    let mut next = || number(words.next().unwrap_or_default());
    Ok([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_words_are_the_load() {
        assert_eq!(parse("0.28 0.24 0.14 1/180 6257\n"), Ok([0.28, 0.24, 0.14]));
        assert_eq!(parse("99999999999999999999.00 0 0"), Ok([1e20, 0.0, 0.0]));
    }

    #[test]
    fn odd_texts_are_refused() {
        assert_eq!(parse("0.28 0.24"), Err("found ``, wanted a number".to_owned()));
        assert_eq!(parse("0.28 inf 0.14"), Err("found `inf`, wanted a number".to_owned()));
        assert!(parse("").is_err());
    }
}
