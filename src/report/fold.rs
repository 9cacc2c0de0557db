//! Folds text to the width of a terminal, between words; a command to type, which stands in backticks, stays whole.

use console::measure_text_width;

/// How far the rest of a folded line stands in from its beginning.
const HANG: usize = 2;

/// `text` in lines of at most `width` columns, as far as its words allow.
pub fn fold(text: &str, width: usize) -> String {
    text.split_inclusive('\n').map(|line| fold_line(line, width)).collect()
}

fn fold_line(line: &str, width: usize) -> String {
    if measure_text_width(line.trim_end()) <= width {
        return line.to_owned();
    }
    let indent = line.len() - line.trim_start_matches(' ').len();
    let hang = (indent + HANG).min(width / 2);
    let mut out = " ".repeat(indent);
    let mut column = indent;
    for word in words(&line[indent..]) {
        let length = measure_text_width(word.trim_end());
        if column > indent && column + length > width {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.push_str(&" ".repeat(hang));
            column = hang;
        }
        out.push_str(word);
        column += measure_text_width(word);
    }
    out
}

/// The words of a line, each with the spaces behind it; what stands in backticks is one word.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quoted, mut spaces) = (0, false, false);
    for (at, letter) in line.char_indices() {
        if spaces && letter != ' ' {
            words.push(&line[start..at]);
            start = at;
        }
        quoted ^= letter == '`';
        spaces = letter == ' ' && !quoted;
    }
    words.push(&line[start..]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_break_between_words_and_hang() {
        assert_eq!(fold("  one two three\nfour\n", 10), "  one two\n    three\nfour\n");
        assert_eq!(fold("one two", 7), "one two");
        assert_eq!(fold("one two ", 7), "one two ");
    }

    #[test]
    fn a_command_to_type_stays_whole() {
        let hint = "hint: type `monstack lock break` now";
        assert_eq!(fold(hint, 27), "hint: type\n  `monstack lock break` now");
    }

    #[test]
    fn a_word_that_is_too_long_is_left_to_the_terminal() {
        assert_eq!(
            fold("at http://127.0.0.1:9090/-/ready now", 12),
            "at\n  http://127.0.0.1:9090/-/ready\n  now"
        );
    }

    #[test]
    fn colours_take_no_room_and_columns_stay() {
        let line = "  \u{1b}[33m!\u{1b}[0m a   b";
        assert_eq!(fold(line, 9), line);
    }

    proptest! {
        #[test]
        fn nothing_but_spaces_changes(text in "[ a-zé`\n]{0,80}", width in 1..40usize) {
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(letters(&fold(&text, width)), letters(&text));
        }

        #[test]
        fn only_a_single_word_is_wider(text in "[ a-z\n]{0,80}", width in 20..40usize) {
            for line in fold(&text, width).lines().filter(|line| line.trim_end().len() > width) {
                prop_assert!(!line.trim().contains(' '), "{line}");
            }
        }
    }
}
