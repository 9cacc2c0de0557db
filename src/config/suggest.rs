//! Finds the word that was meant.

use strsim::damerau_levenshtein;

/// The candidate that is nearest to `word`, if it is near enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = folded(word);
    let near = candidates
        .iter()
        .map(|candidate| (damerau_levenshtein(&word, &folded(candidate)), *candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| {
            *distance <= (word.chars().count().min(candidate.len()) / 3).max(1)
        });
    near.map(|(_, candidate)| candidate).or_else(|| beginning(&word, candidates))
}

/// `word` and what follows it in a message: the word that was meant, or all that would do.
pub fn hint(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => format!("; wanted {}", either(candidates)),
    }
}

/// `a`, `b` or `c`.
pub fn either(words: &[&str]) -> String {
    joined(words, "or")
}

/// `a`, `b` and `c`.
pub fn all(words: &[&str]) -> String {
    joined(words, "and")
}

fn joined(words: &[&str], last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}

/// The only candidate that begins with `word`.
fn beginning<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let mut all = candidates.iter().filter(|candidate| candidate.starts_with(word));
    let first = all.next().filter(|_| word.len() > 2)?;
    all.next().is_none().then_some(*first)
}

fn folded(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["prometheus", "alertmanager", "node_exporter", "app", "alloy"];

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        for (word, meant) in [
            ("prometeus", "prometheus"),
            ("Prometheus", "prometheus"),
            ("node-exporter", "node_exporter"),
            ("prom", "prometheus"),
            ("ap", "app"),
            ("aloy", "alloy"),
        ] {
            assert_eq!(nearest(word, NAMES), Some(meant), "{word}");
        }
    }

    #[test]
    fn another_word_is_not_taken_for_one_of_ours() {
        for word in ["", "a", "kafka", "redis", "al", "\u{65e5}\u{672c}"] {
            assert_eq!(nearest(word, NAMES), None, "{word}");
        }
        assert_eq!(hint("x", &["env", "file"]), "; wanted `env` or `file`");
    }
}
