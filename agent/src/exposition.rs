//! The Prometheus text format, version 0.0.4.

use std::borrow::Cow;
use std::fmt::Write;

/// The exact media type of the text that [`render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
    /// Observations in quantiles.
    Summary,
    /// Not said.
    Untyped,
}

impl Kind {
    /// The word for it in a `# TYPE` line.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
            Kind::Untyped => "untyped",
        }
    }
}

/// All series of one metric name, already written as text.
#[derive(Clone, Debug)]
pub struct Family {
    name: Cow<'static, str>,
    text: String,
    header: usize,
}

impl Family {
    /// Begins a family; a name's characters that Prometheus forbids become `_`.
    pub fn new(name: impl Into<Cow<'static, str>>, kind: Kind, help: &str) -> Family {
        let name = valid_name(name.into());
        let mut text = String::with_capacity(256);
        text.extend(["# HELP ", &name, " "]);
        escape(&mut text, help, Quote::Help);
        text.extend(["\n# TYPE ", &name, " ", kind.word(), "\n"]);
        Family { header: text.len(), name, text }
    }

    /// Begins a family of counters.
    pub fn counter(name: impl Into<Cow<'static, str>>, help: &str) -> Family {
        Family::new(name, Kind::Counter, help)
    }

    /// Begins a family of gauges.
    pub fn gauge(name: impl Into<Cow<'static, str>>, help: &str) -> Family {
        Family::new(name, Kind::Gauge, help)
    }

    /// The metric's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has no series.
    pub fn is_empty(&self) -> bool {
        self.text.len() == self.header
    }

    /// Adds the one series of a family without labels.
    pub fn value(mut self, value: f64) -> Family {
        self.add::<&str, &str>(&[], value);
        self
    }

    /// Adds a series.
    pub fn add<N: AsRef<str>, V: AsRef<str>>(&mut self, labels: &[(N, V)], value: f64) {
        write_series(&mut self.text, &self.name, labels);
        self.end(value);
    }

    /// Adds a series whose name has the family's name as its beginning, such as `x_bucket` in `x`.
    pub fn add_part(&mut self, name: &str, labels: &[(String, String)], value: f64) {
        write_series(&mut self.text, name, labels);
        self.end(value);
    }

    fn end(&mut self, value: f64) {
        self.text.push(' ');
        write_number(&mut self.text, value);
        self.text.push('\n');
    }
}

/// Writes the families in the order of their names, without the empty ones.
pub fn render(mut families: Vec<Family>) -> String {
    families.retain(|family| !family.is_empty());
    families.sort_by(|one, other| one.name.cmp(&other.name));
    let mut text = String::with_capacity(families.iter().map(|family| family.text.len()).sum());
    text.extend(families.iter().map(|family| family.text.as_str()));
    text
}

/// Writes a series' name and labels.
pub fn write_series<N: AsRef<str>, V: AsRef<str>>(out: &mut String, name: &str, labels: &[(N, V)]) {
    out.push_str(name);
    for (index, (label, value)) in labels.iter().enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        out.extend([label.as_ref(), "=\""]);
        escape(out, value.as_ref(), Quote::Label);
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
}

/// Whether Prometheus takes this as a metric's name.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':'))
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

fn valid_name(name: Cow<'static, str>) -> Cow<'static, str> {
    if is_name(&name) {
        return name;
    }
    let clean = name.replace(
        |letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':',
        "_",
    );
    Cow::Owned(if is_name(&clean) { clean } else { format!("_{clean}") })
}

#[derive(Clone, Copy, PartialEq)]
enum Quote {
    Help,
    Label,
}

fn escape(out: &mut String, text: &str, quote: Quote) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quote == Quote::Label => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

/// Writes a number as node_exporter does: the shortest digits, with an exponent from a million on.
pub fn write_number(out: &mut String, value: f64) {
    // Writing to a string cannot fail, so the results are of no interest.
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value.fract() == 0.0 && value.abs() < 1e6 {
        let _ = write!(out, "{}", value as i64);
    } else {
        let digits = format!("{value:e}");
        let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
        match exponent.parse::<i32>().unwrap_or(0) {
            -4..=5 => _ = write!(out, "{value}"),
            exponent if exponent < 0 => _ = write!(out, "{mantissa}e-{:02}", -exponent),
            exponent => _ = write!(out, "{mantissa}e+{exponent:02}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collector::textfile::parse;

    fn number(value: f64) -> String {
        let mut out = String::new();
        write_number(&mut out, value);
        out
    }

    #[test]
    fn numbers_look_as_those_of_node_exporter() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (-1.0, "-1"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (2_466_170.0, "2.46617e+06"),
            (1_795_226_795.532_110_7, "1.7952267955321107e+09"),
            (18_446_744_073_709_551_615.0, "1.8446744073709552e+19"),
            (7.290_966, "7.290966"),
            (0.000_1, "0.0001"),
            (4.339_5e-5, "4.3395e-05"),
            (1e-100, "1e-100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn families_come_out_sorted_and_empty_ones_not_at_all() {
        let families = vec![
            Family::gauge("b", "Second.").value(2.0),
            Family::gauge("empty", "Nothing."),
            Family::counter("a", "First\nwith \\ in it.").value(1.0),
        ];
        assert_eq!(
            render(families),
            "# HELP a First\\nwith \\\\ in it.\n# TYPE a counter\na 1\n# HELP b Second.\n# TYPE b gauge\nb 2\n"
        );
    }

    #[test]
    fn a_name_from_the_kernel_is_made_valid() {
        assert_eq!(Family::gauge("node_memory_Foo-Bar\u{fffd}", "").name(), "node_memory_Foo_Bar_");
        assert_eq!(Family::gauge("0day", "").name(), "_0day");
        assert_eq!(Family::gauge("", "").name(), "_");
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_label_comes_back_from_the_text(label in any::<String>(), help in any::<String>(), value in any::<f64>()) {
            let mut family = Family::gauge("some_name", &help);
            family.add(&[("one", "1"), ("two", label.as_str())], value);
            let text = render(vec![family]);
            prop_assert_eq!(text.matches('\n').count(), 3);
            let parsed = parse::families(text.as_bytes()).unwrap();
            prop_assert_eq!(parsed.len(), 1);
            let sample = &parsed[0].samples[0];
            prop_assert_eq!(&sample.labels, &[("one".to_owned(), "1".to_owned()), ("two".to_owned(), label)]);
            prop_assert!(sample.value == value || (sample.value.is_nan() && value.is_nan()));
        }

        #[test]
        fn every_text_becomes_a_valid_name(text in any::<String>()) {
            let family = Family::gauge(text, "");
            prop_assert!(is_name(family.name()));
        }

        #[test]
        fn every_number_comes_back_from_the_text(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let back: f64 = number(value).parse().unwrap();
            prop_assert!(back == value || (back.is_nan() && value.is_nan()));
        }
    }
}
