//! How many files are open on the whole machine.

use anyhow::{Result, anyhow};

use super::{Collected, Context};
use crate::exposition::Family;
use crate::lines::count;

/// Reads `/proc/sys/fs/file-nr`.
pub fn collect(cx: &Context) -> Result<Collected> {
    let [allocated, maximum] = parse(&cx.procfs("sys/fs/file-nr")?)
        .map_err(|problem| anyhow!("`sys/fs/file-nr`: {problem}"))?;
    Ok(Collected::whole(vec![
        Family::gauge("node_filefd_allocated", "File descriptor statistics: allocated.")
            .value(allocated),
        Family::gauge("node_filefd_maximum", "File descriptor statistics: maximum.").value(maximum),
    ]))
}

/// Reads how many are open and how many may be; the second of the three numbers has been zero since Linux 2.6.
pub fn parse(text: &str) -> Result<[f64; 2], String> {
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [allocated, _, maximum] => Ok([count(allocated)?, count(maximum)?]),
        ref words => Err(format!("found {} words, wanted 3", words.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_third_number_count() {
        assert_eq!(parse("457\t0\t2466170\n"), Ok([457.0, 2_466_170.0]));
        assert_eq!(parse("1 0 9223372036854775807"), Ok([1.0, 9_223_372_036_854_775_807.0]));
    }

    #[test]
    fn odd_texts_are_refused() {
        assert_eq!(parse("457 0"), Err("found 2 words, wanted 3".to_owned()));
        assert_eq!(parse("-1 0 5"), Err("found `-1`, wanted a whole number".to_owned()));
        assert!(parse("").is_err());
    }
}
