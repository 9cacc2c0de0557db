//! Reading text that the kernel wrote line by line.

/// The part of a text that could be read, and what was wrong with the rest.
#[derive(Debug, PartialEq)]
pub struct Parsed<T> {
    /// One item for each line that could be read.
    pub items: Vec<T>,
    /// One sentence for each line that could not.
    pub problems: Vec<String>,
}

/// Reads each line that is not empty; `read` answers nothing for a line that is of no interest.
pub fn each<T>(text: &str, read: impl Fn(&str) -> Result<Option<T>, String>) -> Parsed<T> {
    let mut parsed = Parsed { items: Vec::new(), problems: Vec::new() };
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match read(line) {
            Ok(item) => parsed.items.extend(item),
            Err(problem) => parsed.problems.push(format!("line {}: {problem}", index + 1)),
        }
    }
    parsed
}

/// Reads a counter: digits only, however many.
pub fn count(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(value) if word.bytes().all(|byte| byte.is_ascii_digit()) => Ok(value),
        _ => Err(format!("found `{word:.40}`, wanted a whole number")),
    }
}

/// Reads a measured value, which may be negative or have a fraction.
pub fn number(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        // Words such as `inf` and `nan` are numbers to Rust, but the kernel never writes them.
        Ok(value) if !word.bytes().any(|byte| byte.is_ascii_alphabetic()) => Ok(value),
        _ => Err(format!("found `{word:.40}`, wanted a number")),
    }
}

/// Keeps the first of several items with the same key, for two series must never have the same labels.
pub fn unique<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(key(item))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_may_be_larger_than_64_bits() {
        assert_eq!(count("0"), Ok(0.0));
        assert_eq!(count("18446744073709551616"), Ok(18_446_744_073_709_551_616.0));
        assert_eq!(count(&"9".repeat(30)), Ok(1e30));
    }

    #[test]
    fn signs_words_and_nothing_are_no_counts() {
        for word in ["-1", "+1", "1.5", "1e3", "inf", "NaN", "0x1f", "", "１"] {
            assert!(count(word).is_err(), "{word}");
        }
    }

    #[test]
    fn numbers_may_be_negative_but_never_words() {
        assert_eq!(number("-7"), Ok(-7.0));
        assert_eq!(number("0.28"), Ok(0.28));
        for word in ["inf", "nan", "1e5", "", "-"] {
            assert!(number(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_bad_line_does_not_hide_the_good_ones() {
        let parsed = each("1\n\nx\n3\n", |line| count(line).map(Some));
        assert_eq!(parsed.items, [1.0, 3.0]);
        assert_eq!(parsed.problems, ["line 3: found `x`, wanted a whole number"]);
    }
}
