//! A strict reader of the text format 0.0.4: one line that is wrong refuses the whole file, for a file that somebody
//! is still writing must not be served in parts.

use std::collections::{HashMap, HashSet};

use crate::exposition::{Kind, is_name, write_series};

/// All series of one metric in one file.
#[derive(Debug, PartialEq)]
pub struct TextFamily {
    /// The metric's name.
    pub name: String,
    /// Its help text, if the file has one.
    pub help: Option<String>,
    /// Its type, if the file says one.
    pub kind: Option<Kind>,
    /// Its series.
    pub samples: Vec<Sample>,
}

/// Names and values of a series' labels.
pub type Labels = Vec<(String, String)>;

/// One series with its value.
#[derive(Debug, PartialEq)]
pub struct Sample {
    /// The metric's name, with `_bucket`, `_sum` or `_count` behind it in histograms and summaries.
    pub name: String,
    /// Names and values of the labels.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// Name and labels in an order that does not depend on how they were written.
    pub fn identity(&self) -> String {
        let mut labels: Vec<_> =
            self.labels.iter().filter(|(_, value)| !value.is_empty()).collect();
        labels.sort();
        let labels: Vec<_> = labels.iter().map(|(name, value)| (name, value)).collect();
        let mut identity = String::new();
        write_series(&mut identity, &self.name, &labels);
        identity
    }
}

/// Reads a whole file, or says what is wrong with its first bad line.
pub fn families(bytes: &[u8]) -> Result<Vec<TextFamily>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line}: found bytes that are not UTF-8")
    })?;
    let mut file = File::default();
    let mut lines = text.split('\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        // What follows the last line's end is empty; anything else there is a line that was cut off.
        let is_cut_off = lines.peek().is_none() && !line.is_empty();
        let read =
            if is_cut_off { Err("found no end of the line".to_owned()) } else { file.read(line) };
        read.map_err(|problem| format!("line {}: {problem}", index + 1))?;
    }
    Ok(file.families)
}

#[derive(Default)]
struct File {
    families: Vec<TextFamily>,
    positions: HashMap<String, usize>,
    seen: HashSet<String>,
}

impl File {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim_matches([' ', '\t']);
        match line.strip_prefix('#') {
            _ if line.is_empty() => Ok(()),
            Some(comment) => self.read_comment(comment),
            None => self.read_sample(line),
        }
    }

    fn read_comment(&mut self, comment: &str) -> Result<(), String> {
        let (keyword, rest) = split_word(comment);
        if keyword != "HELP" && keyword != "TYPE" {
            return Ok(());
        }
        let (name, rest) = split_word(rest);
        if !is_name(name) {
            return Err(format!("found `{name:.40}`, wanted a metric name"));
        }
        let family = self.family(name);
        if keyword == "HELP" {
            return match family.help.replace(unescape(rest, Escapes::Help)?) {
                None => Ok(()),
                Some(_) => Err(format!("found a second help text of `{name}`")),
            };
        }
        if !family.samples.is_empty() {
            return Err(format!("found the type of `{name}` behind its samples"));
        }
        match family.kind.replace(kind(rest)?) {
            None => Ok(()),
            Some(_) => Err(format!("found a second type of `{name}`")),
        }
    }

    fn read_sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(['{', ' ', '\t']).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if !is_name(name) {
            return Err(format!("found `{name:.40}`, wanted a metric name"));
        }
        let (labels, rest) = match rest.trim_start_matches([' ', '\t']).strip_prefix('{') {
            Some(inside) => read_labels(inside)?,
            None => (Vec::new(), rest),
        };
        let (value, rest) = split_word(rest);
        let sample = Sample { name: name.to_owned(), labels, value: number(value)? };
        if !rest.is_empty() {
            return Err(format!(
                "found `{rest:.40}` behind the value, wanted nothing: files must not have timestamps"
            ));
        }
        if !self.seen.insert(sample.identity()) {
            return Err(format!("found `{:.200}` a second time", sample.identity()));
        }
        let owner = self.owner(name);
        let family = self.family(&owner);
        check_part(family, &sample)?;
        family.samples.push(sample);
        Ok(())
    }

    /// Names the family a sample belongs to: `x` for `x_count` where `x` is a histogram or a summary.
    fn owner(&self, name: &str) -> String {
        let kind = |name: &str| {
            self.positions.get(name).and_then(|position| self.families[*position].kind)
        };
        let owner = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
            let stem = name.strip_suffix(part)?;
            let is_owner = match kind(stem)? {
                Kind::Histogram => true,
                Kind::Summary => *part != "_bucket",
                _ => false,
            };
            is_owner.then_some(stem)
        });
        owner.filter(|_| !self.positions.contains_key(name)).unwrap_or(name).to_owned()
    }

    fn family(&mut self, name: &str) -> &mut TextFamily {
        let position = *self.positions.entry(name.to_owned()).or_insert(self.families.len());
        if position == self.families.len() {
            self.families.push(TextFamily {
                name: name.to_owned(),
                help: None,
                kind: None,
                samples: Vec::new(),
            });
        }
        &mut self.families[position]
    }
}

/// Whether a sample is one that its family's type allows.
fn check_part(family: &TextFamily, sample: &Sample) -> Result<(), String> {
    let is_number = |label: &str| {
        let value = sample.labels.iter().find(|(name, _)| name == label).map(|(_, value)| value);
        value.is_some_and(|value| number(value).is_ok())
    };
    let part = &sample.name[family.name.len()..];
    match (family.kind, part) {
        (Some(Kind::Histogram), "") => {
            Err(format!("found `{}`, wanted parts of a histogram", sample.name))
        }
        (Some(Kind::Histogram), "_bucket") if !is_number("le") => {
            Err("found a bucket without a number in `le`".to_owned())
        }
        (Some(Kind::Summary), "") if !is_number("quantile") => {
            Err("found a part of a summary without a number in `quantile`".to_owned())
        }
        _ => Ok(()),
    }
}

/// Reads labels up to the closing brace, and answers what is behind it.
fn read_labels(text: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    let mut rest = text.trim_start_matches([' ', '\t']);
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, behind) = rest.split_once('=').ok_or("found no end of the labels")?;
        let name = name.trim_matches([' ', '\t']);
        // A label's name follows the rules of a metric's, but has no colon; Prometheus keeps `__name__` for itself.
        if !is_name(name) || name.contains(':') || name == "__name__" {
            return Err(format!("found `{name:.40}`, wanted the name of a label"));
        }
        if labels.iter().any(|(known, _)| known == name) {
            return Err(format!("found the label `{name}` a second time"));
        }
        let quoted = behind
            .trim_start_matches([' ', '\t'])
            .strip_prefix('"')
            .ok_or("found a value without quotes")?;
        let end = closing_quote(quoted).ok_or("found no end of a label's value")?;
        labels.push((name.to_owned(), unescape(&quoted[..end], Escapes::Label)?));
        rest = quoted[end + 1..].trim_start_matches([' ', '\t']);
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start_matches([' ', '\t']),
            None if rest.starts_with('}') => {}
            None => return Err("found no `,` or `}` behind a label".to_owned()),
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Escapes {
    Help,
    Label,
}

fn unescape(text: &str, escapes: Escapes) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, escapes) {
            ('\\', _) => match (letters.next(), escapes) {
                (Some('\\'), _) => out.push('\\'),
                (Some('n'), _) => out.push('\n'),
                (Some('"'), Escapes::Label) => out.push('"'),
                _ => return Err("found a `\\` that escapes nothing".to_owned()),
            },
            _ => out.push(letter),
        }
    }
    Ok(out)
}

fn kind(word: &str) -> Result<Kind, String> {
    let kinds = [Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Summary, Kind::Untyped];
    let found = kinds.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word));
    found.ok_or_else(|| {
        format!("found the type `{word:.40}`, wanted counter, gauge, histogram, summary or untyped")
    })
}

fn number(word: &str) -> Result<f64, String> {
    word.parse().map_err(|_| format!("found `{word:.40}`, wanted a number"))
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start_matches([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(text: &str) -> String {
        families(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_usual_file_is_read() {
        let text = "# a comment\n\n# HELP a First \\\\ \\n metric.\n# TYPE a gauge\na{one = \"1\" , two=\"\\\"\\\\\\n\",} 1.5\n  a 2\t\nb +Inf\nc{} NaN\n";
        let found = families(text.as_bytes()).unwrap();
        assert_eq!(found[0].help.as_deref(), Some("First \\ \n metric."));
        assert_eq!(found[0].kind, Some(Kind::Gauge));
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found[0].samples[0].labels, [label("one", "1"), label("two", "\"\\\n")]);
        assert_eq!(found[0].samples[1].value, 2.0);
        assert_eq!(
            (found[1].help.as_ref(), found[1].kind, found[1].samples[0].value),
            (None, None, f64::INFINITY)
        );
        assert!(found[2].samples[0].value.is_nan());
    }

    #[test]
    fn parts_of_histograms_and_summaries_stay_together() {
        let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 3\ns_count 2\ns_bucket 7\n";
        let found = families(text.as_bytes()).unwrap();
        let names: Vec<_> =
            found.iter().map(|family| (family.name.as_str(), family.samples.len())).collect();
        assert_eq!(names, [("h", 4), ("s", 3), ("s_bucket", 1)]);
    }

    #[test]
    fn each_kind_of_bad_line_is_refused_and_named() {
        for (text, expected) in [
            ("a 1\nb", "line 2: found no end of the line"),
            (
                "a 1 1700000000\n",
                "line 1: found `1700000000` behind the value, wanted nothing: files must not have timestamps",
            ),
            ("a\n", "line 1: found ``, wanted a number"),
            ("a one\n", "line 1: found `one`, wanted a number"),
            ("a 0x10p2\n", "line 1: found `0x10p2`, wanted a number"),
            ("1a 1\n", "line 1: found `1a`, wanted a metric name"),
            ("ä 1\n", "line 1: found `ä`, wanted a metric name"),
            ("{a=\"b\"} 1\n", "line 1: found ``, wanted a metric name"),
            ("a{b=\"c\" 1\n", "line 1: found no `,` or `}` behind a label"),
            ("a{b=\"c\\\"} 1\n", "line 1: found no end of a label's value"),
            ("a{b=\"\\x\"} 1\n", "line 1: found a `\\` that escapes nothing"),
            ("a{b=c} 1\n", "line 1: found a value without quotes"),
            ("a{b} 1\n", "line 1: found no end of the labels"),
            ("a{,} 1\n", "line 1: found no end of the labels"),
            ("a{b:c=\"d\"} 1\n", "line 1: found `b:c`, wanted the name of a label"),
            ("a{__name__=\"d\"} 1\n", "line 1: found `__name__`, wanted the name of a label"),
            ("a{b=\"1\",b=\"2\"} 1\n", "line 1: found the label `b` a second time"),
            (
                "a{b=\"1\",c=\"2\"} 1\na{c=\"2\",b=\"1\"} 2\n",
                "line 2: found `a{b=\"1\",c=\"2\"}` a second time",
            ),
            ("a 1\na{b=\"\"} 2\n", "line 2: found `a` a second time"),
            ("# HELP a x\n# HELP a x\n", "line 2: found a second help text of `a`"),
            ("# HELP a \\x\n", "line 1: found a `\\` that escapes nothing"),
            ("# TYPE a gauge\n# TYPE a gauge\n", "line 2: found a second type of `a`"),
            ("a 1\n# TYPE a gauge\n", "line 2: found the type of `a` behind its samples"),
            (
                "# TYPE a info\n",
                "line 1: found the type `info`, wanted counter, gauge, histogram, summary or untyped",
            ),
            ("# TYPE 9 gauge\n", "line 1: found `9`, wanted a metric name"),
            ("# TYPE h histogram\nh 1\n", "line 2: found `h`, wanted parts of a histogram"),
            ("# TYPE h histogram\nh_bucket 1\n", "line 2: found a bucket without a number in `le`"),
            (
                "# TYPE s summary\ns 1\n",
                "line 2: found a part of a summary without a number in `quantile`",
            ),
            ("<html>\n", "line 1: found `<html>`, wanted a metric name"),
        ] {
            assert_eq!(problem(text), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(
            families(b"a 1\nb{c=\"\xff\"} 1\n"),
            Err("line 2: found bytes that are not UTF-8".to_owned())
        );
    }

    #[test]
    fn an_empty_file_has_no_families() {
        assert_eq!(families(b""), Ok(Vec::new()));
        assert_eq!(families(b"\n\n# nothing\n"), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn no_bytes_end_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = families(&bytes);
        }

        #[test]
        fn no_almost_good_text_ends_the_parser(text in "(#( HELP| TYPE|x)?|a_(sum|count)?|[{}\",=\\\\ \n]|histogram|summary|1|é){0,30}") {
            let _ = families(text.as_bytes());
        }
    }
}
