//! Reads YAML into a tree with places. Size, depth and the growth by aliases are bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::rule::quoted;
use super::tree::{Data, Entry, Node, Place, Problem};

/// More values than this are no stack file, but an attempt to fill the memory by aliases.
const MOST_VALUES: usize = 10_000;
const DEEPEST: usize = 32;
const LONGEST: usize = 1 << 20;

/// What was read: a tree as far as there is one, and what is wrong with the text.
pub struct Parsed {
    /// The tree; absent if the text is not YAML.
    pub tree: Option<Node>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Reads `text`; `set` is the number of the `--set` that it is the value of, if it is none of the file.
pub fn parse(text: &str, set: Option<usize>) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        lines: text.lines().collect(),
        set,
        anchors: HashMap::new(),
        size: 0,
        problems: Vec::new(),
    };
    let tree = if text.len() > LONGEST {
        Err(Problem::new(reader.start(), format!("more than {LONGEST} bytes are no stack file")))
    } else {
        reader.stream()
    };
    let mut problems = reader.problems;
    let tree = tree.map_err(|problem| problems.push(problem)).ok();
    Parsed { tree, problems }
}

/// Whether `word` is text even without quotes.
pub fn is_text(word: &str) -> bool {
    matches!(scalar(word, ScalarStyle::Plain), Data::Text(_))
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    lines: Vec<&'a str>,
    set: Option<usize>,
    anchors: HashMap<usize, Node>,
    size: usize,
    problems: Vec<Problem>,
}

type Step<T> = Result<T, Problem>;

impl<'a> Reader<'a> {
    /// The only document of the text; an empty mapping if there is none.
    fn stream(&mut self) -> Step<Node> {
        let mut tree = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if tree.is_some() => {
                    let message = "a second document begins here; a stack file is one document";
                    return Err(Problem::new(self.place(span.start), message));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => tree = Some(self.node(event, span, 0)?),
            }
        }
        Ok(tree.unwrap_or_else(|| Node { place: self.start(), data: Data::Null }))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Step<Node> {
        let place = self.place(span.start);
        self.size += 1;
        self.bound(place)?;
        if depth > DEEPEST {
            return Err(Problem::new(place, format!("more than {DEEPEST} levels are too deep")));
        }
        let (data, anchor, tag) = match event {
            Event::Alias(anchor) => return self.alias(anchor, place),
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style), anchor, tag),
            Event::SequenceStart(anchor, tag) => (self.list(depth)?, anchor, tag),
            Event::MappingStart(anchor, tag) => (self.map(depth)?, anchor, tag),
            _ => return Err(Problem::new(place, "not YAML: a value is missing here")),
        };
        if tag.is_some() {
            self.problems.push(Problem::new(place, "tags (`!`) are not read here; remove the tag"));
        }
        let node = Node { place, data };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Step<Data> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Data::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Step<Data> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let place = self.place(span.start);
            if depth == 0 && self.follows_tab(span.start) {
                self.problems.push(Problem::new(place, "a tab stands before the key; use spaces"));
            }
            let key = match event {
                Event::MappingEnd => return Ok(Data::Map(entries)),
                Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                    let message =
                        "merging (`<<`) is not read here; an alias stands for a whole value";
                    self.problems.push(Problem::new(place, message));
                    None
                }
                Event::Scalar(text, ..) => Some(text.into_owned()),
                event => {
                    self.node(event, span, depth + 1)?;
                    self.problems.push(Problem::new(place, "a key is plain text"));
                    None
                }
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            let Some(key) = key else { continue };
            match entries.iter().find(|entry| entry.key == key).map(|entry| entry.place) {
                Some(first) => self.duplicate(&key, place, first),
                None => entries.push(Entry { key, place, node }),
            }
        }
    }

    fn duplicate(&mut self, key: &str, place: Place, first: Place) {
        let message = match first {
            Place::File { line, .. } => {
                format!("the key {} is here again; it was on line {line}", quoted(key))
            }
            Place::Set(_) => format!("the key {} is here twice", quoted(key)),
        };
        self.problems.push(Problem::new(place, message));
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Step<Node> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Problem::new(place, "this alias (`*`) is part of what it stands for"));
        };
        self.size += node.size();
        self.bound(place)?;
        Ok(node.clone())
    }

    fn bound(&self, place: Place) -> Step<()> {
        if self.size <= MOST_VALUES {
            return Ok(());
        }
        let message = format!("more than {MOST_VALUES} values, those by aliases (`*`) counted");
        Err(Problem::new(place, message))
    }

    fn next(&mut self) -> Step<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Problem::new(self.place(*error.marker()), explanation(&error))),
            None => Err(Problem::new(self.start(), "not YAML: it ends too early")),
        }
    }

    /// Whether there is only white space before `mark`, and a tab in it; below the first level the parser refuses that itself.
    fn follows_tab(&self, mark: Marker) -> bool {
        let line = self.lines.get(mark.line().saturating_sub(1)).copied().unwrap_or_default();
        let before = || line.chars().take(mark.col());
        before().all(char::is_whitespace) && before().any(|c| c == '\t')
    }

    fn start(&self) -> Place {
        self.set.map_or(Place::START, Place::Set)
    }

    fn place(&self, mark: Marker) -> Place {
        let in_file = Place::File { line: mark.line().max(1), column: mark.col() + 1 };
        self.set.map_or(in_file, Place::Set)
    }
}

/// The parser's reason, with the way out where there is a usual one.
fn explanation(error: &ScanError) -> String {
    let reason = error.info();
    let way_out = if reason.contains("tab") || reason.contains("whitespace") {
        "; use spaces"
    } else if reason.contains("unexpected character") || reason.contains("mapping values") {
        "; put the value in quotes, or start a new line"
    } else if reason.contains("quoted scalar") {
        "; look for a quote that is not closed"
    } else if reason.contains("expected key") {
        "; check the indentation"
    } else {
        ""
    };
    format!("not YAML: {reason}{way_out}")
}

/// The value of a scalar by the core schema of YAML 1.2: `yes` is text.
fn scalar(text: &str, style: ScalarStyle) -> Data {
    if style != ScalarStyle::Plain {
        return Data::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        _ => {}
    }
    integer(text)
        .map(Data::Integer)
        .or_else(|| float(text).map(Data::Float))
        .unwrap_or_else(|| Data::Text(text.to_owned()))
}

fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return unsigned(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return unsigned(digits, 8);
    }
    text.parse().ok()
}

fn unsigned(digits: &str, radix: u32) -> Option<i64> {
    i64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']))
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    // Rust also reads words such as `infinity`, which are text in YAML.
    let number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let show = |problem: &Problem| match problem.place {
            Place::File { line, column } => format!("{line}:{column} {}", problem.message),
            Place::Set(_) => unreachable!(),
        };
        parse(text, None).problems.iter().map(show).collect()
    }

    fn value(text: &str) -> serde_yaml::Value {
        let parsed = parse(text, None);
        assert_eq!(parsed.problems, []);
        parsed.tree.unwrap().value()
    }

    #[test]
    fn scalars_are_what_yaml_1_2_says() {
        for text in ["yes", "on", "infinity", "nan", "1_000", "0x", "0x-1", "1.2.3", "'1'", "e5"] {
            assert!(value(text).is_string(), "{text}");
        }
        for (text, number) in [("0x1f", 31), ("0o17", 15), ("017", 17), ("+5", 5), ("-5", -5)] {
            assert_eq!(value(text).as_i64(), Some(number), "{text}");
        }
        for text in ["1.5", "-1e3", ".5", ".inf", "-.inf", ".nan", "99999999999999999999"] {
            assert!(value(text).is_f64(), "{text}");
        }
        assert!(
            value("~").is_null() && value("").is_null() && value("# only a comment\n").is_null()
        );
    }

    #[test]
    fn aliases_stand_for_their_value() {
        assert_eq!(value("a: &x {b: 1}\nc: *x\n"), value("a: {b: 1}\nc: {b: 1}\n"));
    }

    #[test]
    fn a_billion_laughs_are_refused_at_once() {
        let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..30 {
            let before = level - 1;
            let many = vec![format!("*a{before}"); 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{many}]\n"));
        }
        let found = problems(&text);
        assert!(found[0].contains("more than 10000 values, those by aliases"), "{found:?}");
    }

    #[test]
    fn an_alias_of_itself_is_refused() {
        let fault = "1:8 this alias (`*`) is part of what it stands for";
        assert_eq!(problems("a: &x [*x]\n"), [fault]);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        assert!(problems(&"- ".repeat(100))[0].ends_with("more than 32 levels are too deep"));
        assert!(problems(&"[".repeat(100_000))[0].starts_with("1:"));
        assert!(problems(&"#".repeat(LONGEST + 1))[0].ends_with("bytes are no stack file"));
    }

    #[test]
    fn keys_are_plain_and_unique() {
        let found = problems("a: 1\nb: 2\na: 3\n? [c]\n: 4\n");
        assert_eq!(
            found,
            ["3:1 the key `a` is here again; it was on line 1", "4:3 a key is plain text"]
        );
    }

    #[test]
    fn tabs_do_not_indent() {
        assert_eq!(problems("\ta: 1\n"), ["1:2 a tab stands before the key; use spaces"]);
        assert!(problems("a:\n\tb: 1\n")[0].ends_with("; use spaces"));
        assert_eq!(problems("a: 1\n\n\t# comment\n\nb: [\n \t1\n ]\n"), Vec::<String>::new());
    }

    #[test]
    fn columns_count_characters() {
        let found = problems("\u{feff}{\u{e4}\u{f6}\u{fc}: 1, \u{e4}\u{f6}\u{fc}: 2}\r\n");
        assert_eq!(found[0].split(' ').next(), Some("1:10"));
    }
}
