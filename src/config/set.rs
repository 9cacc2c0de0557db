//! Settings from the command line: `--set path=value`, written over the tree of the file. `null` takes a key away.

use super::parse::parse;
use super::rule::quoted;
use super::tree::{Data, Entry, Node, Place, Problem};

/// The path of a `--set` for messages; the value is left out, as it may be a secret in the wrong place.
pub fn shown(number: usize, set: &str) -> String {
    let path = halves(set).map_or(set, |(path, _)| path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-\"'".contains(c);
    if path.is_empty() || !path.chars().all(plain) {
        return format!("--set (number {})", number + 1);
    }
    format!("--set {path}")
}

/// Writes the value of `set`, which is the `--set` of this `number`, over the tree.
pub fn apply(tree: &mut Node, number: usize, set: &str) -> Vec<Problem> {
    let place = Place::Set(number);
    let fault = |message: &str| vec![Problem::new(place, message)];
    let Some((path, text)) = halves(set) else {
        return fault("wanted a path, `=` and a value, such as `name=demo`");
    };
    let Some(steps) = steps(path) else {
        return fault("wanted keys with dots between them, such as `components.loki.retention`");
    };
    if text.trim().is_empty() {
        // An empty variable of a script must not fall back to the default stack in silence.
        return fault("nothing follows the `=`; `null` would take the key away");
    }
    let parsed = parse(text, Some(number));
    let Some(node) = parsed.tree else { return parsed.problems };
    let written = write(tree, &steps, node);
    parsed.problems.into_iter().chain(written.err()).collect()
}

fn write(tree: &mut Node, steps: &[String], node: Node) -> Result<(), Problem> {
    let place = node.place;
    let Some((first, rest)) = steps.split_first() else {
        *tree = node;
        return Ok(());
    };
    if matches!(tree.data, Data::Null) {
        *tree = Node::empty(place);
    }
    let found = tree.kind();
    let Data::Map(entries) = &mut tree.data else {
        let message = format!("{} cannot be set inside {found}; set the whole", quoted(first));
        return Err(Problem::new(place, message));
    };
    let index = entries.iter().position(|entry| entry.key == *first).unwrap_or_else(|| {
        entries.push(Entry { key: first.clone(), place, node: Node::empty(place) });
        entries.len() - 1
    });
    write(&mut entries[index].node, rest, node)
}

/// Path and value: what is before and after the first `=` outside quotes.
fn halves(set: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (index, c) in set.char_indices() {
        match (quote, c) {
            (None, '=') => return Some((&set[..index], &set[index + 1..])),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// The keys of a path; a key with a dot in it is written in quotes.
fn steps(path: &str) -> Option<Vec<String>> {
    let (mut steps, mut step, mut quote) = (Vec::new(), String::new(), None);
    for c in path.trim().chars() {
        match (quote, c) {
            (None, '.') => steps.push(std::mem::take(&mut step)),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => step.push(c),
        }
    }
    steps.push(step);
    steps.iter().all(|step| !step.is_empty()).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str, sets: &[&str]) -> (serde_yaml::Value, Vec<String>) {
        let mut tree = parse(text, None).tree.unwrap();
        let problems =
            sets.iter().enumerate().flat_map(|(number, set)| apply(&mut tree, number, set));
        let problems = problems.map(|problem| problem.message).collect();
        (tree.value(), problems)
    }

    fn same(text: &str, sets: &[&str], wanted: &str) {
        let wanted: serde_yaml::Value = serde_yaml::from_str(wanted).unwrap();
        assert_eq!(after(text, sets), (wanted, vec![]));
    }

    #[test]
    fn a_value_is_yaml_and_wins_over_the_file() {
        same("", &["name=demo"], "name: demo");
        same("name: a", &["name=b", "name=c"], "name: c");
        same("a: {b: 1, c: 2}", &["a.b=[x@y.z]"], "a: {b: [x@y.z], c: 2}");
        same("a: [1]", &["a={b: c}"], "a: {b: c}");
        same("", &["a.b=x=y"], "a: {b: x=y}");
    }

    #[test]
    fn a_key_with_dots_is_quoted() {
        same("", &["'a.b'.c=1"], "a.b: {c: 1}");
        same("", &["\"a=b\".c=1"], "a=b: {c: 1}");
    }

    #[test]
    fn null_takes_a_key_away_but_nothing_does_not() {
        same("a: {b: 1, c: 2}", &["a.b=null"], "a: {c: 2}");
        same("a: {b: 1}", &["a=~", "a.c=2"], "a: {c: 2}");
        assert!(after("name: a", &["name="]).1[0].starts_with("nothing follows the `=`"));
    }

    #[test]
    fn a_text_or_a_list_has_no_keys() {
        let (_, problems) = after("a: x\nb: [1]", &["a.c=1", "b.0=2"]);
        let text = "`c` cannot be set inside text; set the whole";
        assert_eq!(problems, [text, "`0` cannot be set inside a list; set the whole"]);
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for set in ["", "name", "=x", "a..b=1", ".a=1", "a.=1", "'a=1"] {
            let (_, problems) = after("", &[set]);
            assert!(problems[0].starts_with("wanted "), "{set}: {problems:?}");
        }
        assert!(after("", &["a=[1"]).1[0].starts_with("not YAML"));
    }

    #[test]
    fn the_value_is_not_shown() {
        let webhook = "notify.slack.webhook=https://CANARY";
        assert_eq!(shown(0, webhook), "--set notify.slack.webhook");
        assert_eq!(shown(0, "name"), "--set name");
        assert_eq!(shown(1, "https://CANARY"), "--set (number 2)");
    }
}
