//! The series and streams that a PromQL or LogQL expression selects, as far as a diagnosis needs them.

use std::iter::Peekable;
use std::str::Chars;

/// A series selector of PromQL, or a stream selector of LogQL (without a metric).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// Name of the metric.
    pub metric: Option<String>,
    /// Its matchers as they are written, such as `job="app"`.
    pub matchers: Vec<String>,
}

/// Words after which a list of labels follows.
const LISTS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that stand between expressions, and numbers that are spelt.
const WORDS: &[&str] = &[
    "and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end", "smoothed",
    "anchored",
];

impl Selector {
    /// The selector with only those matchers that `keep` wants.
    pub fn with(&self, keep: impl Fn(&str) -> bool) -> Self {
        let matchers = self.matchers.iter().filter(|one| keep(one)).cloned().collect();
        Self { metric: self.metric.clone(), matchers }
    }

    /// The selector as text.
    pub fn text(&self) -> String {
        let metric = self.metric.as_deref().unwrap_or_default();
        if self.matchers.is_empty() && !metric.is_empty() {
            return metric.to_owned();
        }
        format!("{metric}{{{}}}", self.matchers.join(","))
    }
}

/// The label that a matcher is about.
pub fn label_of(matcher: &str) -> &str {
    matcher.split(['=', '!']).next().unwrap_or_default().trim()
}

/// All selectors of an expression, in order, each once.
pub fn selectors(expression: &str) -> Vec<Selector> {
    let mut found: Vec<Selector> = Vec::new();
    let mut reader = Reader { rest: expression.chars().peekable() };
    while let Some(selector) = reader.next_selector() {
        if !found.contains(&selector) {
            found.push(selector);
        }
    }
    found
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn next_selector(&mut self) -> Option<Selector> {
        loop {
            let next = *self.rest.peek()?;
            match next {
                '"' | '\'' | '`' => drop(self.quoted()),
                '#' => self.skip_past('\n'),
                '[' => self.skip_past(']'),
                '{' => return Some(Selector { metric: None, matchers: self.matchers() }),
                '0'..='9' | '.' => drop(self.word()),
                _ if is_name(next) => {
                    if let Some(selector) = self.named() {
                        return Some(selector);
                    }
                }
                _ => drop(self.rest.next()),
            }
        }
    }

    /// A name is a metric unless it calls a function, joins expressions or opens a list of labels.
    fn named(&mut self) -> Option<Selector> {
        let name = self.word();
        let lower = name.to_ascii_lowercase();
        self.skip_space();
        let next = self.rest.peek().copied();
        if LISTS.contains(&lower.as_str()) {
            if next == Some('(') {
                self.skip_past(')');
            }
            return None;
        }
        if next == Some('(') || WORDS.contains(&lower.as_str()) || self.opens_list() {
            return None;
        }
        let matchers = if next == Some('{') { self.matchers() } else { Vec::new() };
        Some(Selector { metric: Some(name), matchers })
    }

    /// Whether `by` or `without` follows: then the name before it is an aggregation.
    fn opens_list(&self) -> bool {
        let mut ahead = Reader { rest: self.rest.clone() };
        matches!(ahead.word().as_str(), "by" | "without")
    }

    /// The parts between braces, split at commas outside quotes.
    fn matchers(&mut self) -> Vec<String> {
        self.rest.next();
        let (mut parts, mut part) = (Vec::new(), String::new());
        while let Some(next) = self.rest.peek().copied() {
            match next {
                '"' | '\'' | '`' => part.push_str(&self.quoted()),
                _ => {
                    self.rest.next();
                    match next {
                        '}' => break,
                        ',' => parts.push(std::mem::take(&mut part)),
                        _ if next.is_whitespace() => {}
                        _ => part.push(next),
                    }
                }
            }
        }
        parts.push(part);
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// A string with its quotes; only those between backticks know no escapes.
    fn quoted(&mut self) -> String {
        let Some(quote) = self.rest.next() else { return String::new() };
        let mut text = String::from(quote);
        while let Some(next) = self.rest.next() {
            text.push(next);
            if next == '\\' && quote != '`' {
                text.extend(self.rest.next());
            } else if next == quote {
                break;
            }
        }
        text
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(next) = self.rest.next_if(|next| is_name(*next) || *next == '.') {
            word.push(next);
        }
        word
    }

    fn skip_space(&mut self) {
        while self.rest.next_if(|next| next.is_whitespace()).is_some() {}
    }

    fn skip_past(&mut self, end: char) {
        for next in self.rest.by_ref() {
            if next == end {
                break;
            }
        }
    }
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(expression: &str) -> Vec<String> {
        selectors(expression).iter().map(Selector::text).collect()
    }

    #[test]
    fn metrics_are_told_from_functions_labels_and_words() {
        for (expression, wanted) in [
            ("up", vec!["up"]),
            ("up == bool 1", vec!["up"]),
            (
                "sum(rate(http_requests_total{job=\"app\"}[5m])) by (endpoint)",
                vec!["http_requests_total{job=\"app\"}"],
            ),
            ("sum by (le, job) (rate(a_bucket[1m:5s] offset 5m))", vec!["a_bucket"]),
            (
                "a / on(instance) group_left(nodename) b{x=~\"y, }z\",w!='v'}",
                vec!["a", "b{x=~\"y, }z\",w!='v'}"],
            ),
            ("topk(3, node:cpu:rate5m) or vector(0) unless c", vec!["node:cpu:rate5m", "c"]),
            ("1 - 0.5e3 * up # up2 is no metric\n + Inf + time()", vec!["up"]),
            ("label_replace(up{}, \"a\", \"$1\", \"b\", \"(.*)\")", vec!["up"]),
            ("count(up) + count(up)", vec!["up"]),
            ("{__name__=~\"node_.+\", job=\"x\"}", vec!["{__name__=~\"node_.+\",job=\"x\"}"]),
            ("sum without(instance) (x)", vec!["x"]),
            ("x @ end() offset -1h", vec!["x"]),
            ("quantile_over_time(0.9, y{a=\"\\\"}\"}[5m])", vec!["y{a=\"\\\"}\"}"]),
            ("", vec![]),
        ] {
            assert_eq!(texts(expression), wanted, "{expression}");
        }
    }

    #[test]
    fn streams_are_found_among_the_rest_of_logql() {
        let expression = "sum by (level) (count_over_time({service=`flask`, level=~\"ERROR|WARNING\"} |= \"{x}\" | json [5m]))";
        let streams: Vec<_> =
            selectors(expression).into_iter().filter(|one| one.metric.is_none()).collect();
        assert_eq!(streams.len(), 1);
        assert_eq!(streams[0].text(), "{service=`flask`,level=~\"ERROR|WARNING\"}");
        assert_eq!(streams[0].with(|one| label_of(one) != "level").text(), "{service=`flask`}");
    }

    #[test]
    fn the_label_of_a_matcher_is_what_stands_before_the_sign() {
        for matcher in ["job=\"a\"", "job!=\"a\"", "job=~\"a\"", "job !~ \"a\""] {
            assert_eq!(label_of(matcher), "job");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[a-z0-9_:{}()\\[\\],=\"'`#\\\\ .\n]{0,60}") {
            selectors(&text);
        }
    }
}
