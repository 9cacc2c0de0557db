//! Checks a tree by the JSON Schema of the types, so that the types alone say what is allowed.

use serde_json::{Map, Value};

use super::option;
use super::rule::{Rule, quoted};
use super::suggest::{all, either, hint, nearest};
use super::tree::{Data, Entry, Node, Place, Problem, joined};

/// All that is wrong with `tree` by `schema`.
pub fn check(tree: &Node, schema: &Value) -> Vec<Problem> {
    let mut walk = Walk { root: schema, problems: Vec::new() };
    if matches!(tree.data, Data::Null) {
        return walk.problems;
    }
    walk.node(schema, tree, Spot { path: "", owner: tree.place });
    walk.problems
}

struct Walk<'a> {
    root: &'a Value,
    problems: Vec<Problem>,
}

/// Where a value stands: its dotted path, and the place of its key.
#[derive(Clone, Copy)]
struct Spot<'a> {
    path: &'a str,
    owner: Place,
}

impl<'a> Walk<'a> {
    fn node(&mut self, schema: &'a Value, node: &Node, spot: Spot<'_>) {
        let schema = self.resolved(schema);
        let choices = choices(schema);
        match (&node.data, schema["type"].as_str().unwrap_or_default()) {
            (Data::Null, _) => {
                let key = last(spot.path);
                let message = format!("{key} has no value; give it one, or remove it");
                self.problem(spot.owner, message);
            }
            (Data::Text(text), _) if !choices.is_empty() => {
                if !choices.contains(&text.as_str()) {
                    let near = hint(text, &choices);
                    self.problem(node.place, format!("unknown value {}{near}", quoted(text)));
                }
            }
            (Data::Map(entries), "object") => self.map(schema, entries, spot),
            (Data::List(items), "array") => self.list(schema, (items, node.place), spot),
            (Data::Text(text), "string") => self.text(schema, text, node.place),
            (Data::Integer(number), "integer") => self.number(schema, *number, node.place),
            _ => self.problem(node.place, mismatch(schema, node)),
        }
    }

    fn map(&mut self, schema: &'a Value, entries: &[Entry], spot: Spot<'_>) {
        for entry in entries {
            let path = joined(spot.path, &entry.key);
            match schema["properties"].get(&entry.key) {
                None if is_free(schema, &entry.key) => {}
                None => self.unknown(schema, entry, spot),
                Some(_) if entry.is_taken_away() => {}
                Some(property) => {
                    self.node(property, &entry.node, Spot { path: &path, owner: entry.place });
                }
            }
        }
        let held: Vec<&Entry> = entries.iter().filter(|entry| !entry.is_taken_away()).collect();
        self.missing(schema, &held, spot);
        self.too_many(schema, &held, spot);
    }

    fn unknown(&mut self, schema: &'a Value, entry: &Entry, spot: Spot<'_>) {
        let (key, known) = (entry.key.as_str(), keys(&schema["properties"]));
        let stranger = spot.path.starts_with("components.").then(|| option::owners(key)).flatten();
        let message = if schema["writeOnly"] == true {
            // What stands here may be the secret itself, so it is not repeated.
            let near =
                nearest(key, &known).map_or_else(|| either(&known), |near| format!("`{near}`"));
            format!("unknown key of a secret; wanted {near}")
        } else if spot.path == "components" {
            format!("unknown component {}{}", quoted(key), hint(key, &known))
        } else if let Some(owners) = stranger {
            format!("{owners}, not of {}", last(spot.path))
        } else if let Some(home) = self.home(key, spot.path) {
            format!("unknown key {}; it belongs under {home}", quoted(key))
        } else {
            format!("unknown key {}{}", quoted(key), hint(key, &known))
        };
        self.problem(entry.place, message);
    }

    fn missing(&mut self, schema: &Value, held: &[&Entry], spot: Spot<'_>) {
        for key in words(&schema["required"]) {
            if !held.iter().any(|entry| entry.key == key) {
                self.problem(spot.owner, format!("{} lacks the key `{key}`", last(spot.path)));
            }
        }
        if schema["minProperties"].as_u64().is_some_and(|least| (held.len() as u64) < least) {
            let known = either(&keys(&schema["properties"]));
            self.problem(spot.owner, format!("{} lacks a key; wanted {known}", last(spot.path)));
        }
    }

    fn too_many(&mut self, schema: &Value, held: &[&Entry], spot: Spot<'_>) {
        let exclusive = words(&schema["not"]["required"]);
        let found: Vec<_> = held.iter().filter(|entry| exclusive.contains(&&*entry.key)).collect();
        if let [.., later] = found.as_slice()
            && found.len() == exclusive.len()
        {
            self.problem(later.place, format!("{} exclude each other; keep one", all(&exclusive)));
        }
        let known = keys(&schema["properties"]);
        let found: Vec<_> = held.iter().filter(|entry| known.contains(&&*entry.key)).collect();
        if let [.., later] = found.as_slice()
            && schema["maxProperties"].as_u64().is_some_and(|most| found.len() as u64 > most)
        {
            let found: Vec<&str> = found.iter().map(|entry| entry.key.as_str()).collect();
            let message = format!("{} has {}; keep one", last(spot.path), all(&found));
            self.problem(later.place, message);
        }
    }

    fn list(&mut self, schema: &'a Value, (items, place): (&[Node], Place), spot: Spot<'_>) {
        if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
            self.problem(
                place,
                format!("{} is an empty list; wanted one item or more", last(spot.path)),
            );
        }
        for item in items {
            self.node(&schema["items"], item, Spot { path: "", owner: item.place });
        }
    }

    fn text(&mut self, schema: &Value, text: &str, place: Place) {
        if schema["minLength"].as_u64().is_some_and(|least| (text.chars().count() as u64) < least) {
            self.problem(place, "this text is empty".to_owned());
        }
        if let Some(Err(reason)) = rule(schema).map(|rule| rule.check(text)) {
            self.problem(place, reason);
        }
    }

    fn number(&mut self, schema: &Value, number: i64, place: Place) {
        let (least, most) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
        let (least, most) = (least.unwrap_or(i64::MIN), most.unwrap_or(i64::MAX));
        if !(least..=most).contains(&number) {
            self.problem(
                place,
                format!("`{number}` is out of range; wanted `{least}` to `{most}`"),
            );
        }
    }

    /// Where `key` is known: below `path` if anywhere there, else anywhere; nothing if that are too many places.
    fn home(&self, key: &str, path: &str) -> Option<String> {
        let mut homes = Vec::new();
        self.homes(self.root, key, ("", &mut homes));
        let below: Vec<&String> = homes.iter().filter(|home| home.starts_with(path)).collect();
        let homes = if below.is_empty() { homes.iter().collect() } else { below };
        let homes: Vec<&str> = homes.into_iter().map(String::as_str).collect();
        (1..=2).contains(&homes.len()).then(|| either(&homes))
    }

    fn homes(&self, schema: &'a Value, key: &str, (path, homes): (&str, &mut Vec<String>)) {
        let properties = self.resolved(schema)["properties"].as_object();
        for (name, property) in properties.into_iter().flatten() {
            if name == key && !path.is_empty() {
                homes.push(path.to_owned());
            }
            self.homes(property, key, (&joined(path, name), homes));
        }
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    fn problem(&mut self, place: Place, message: String) {
        self.problems.push(Problem { place, message });
    }
}

fn mismatch(schema: &Value, node: &Node) -> String {
    if let Some(message) = schema["errorMessage"].as_str() {
        return message.to_owned();
    }
    let choices = choices(schema);
    let wanted = match schema["type"].as_str().unwrap_or_default() {
        _ if !choices.is_empty() => either(&choices),
        "object" => format!("a mapping with {}", either(&keys(&schema["properties"]))),
        "array" => "a list such as `[one, two]`".to_owned(),
        "integer" => "a whole number".to_owned(),
        _ => match rule(schema) {
            Some(rule) => rule.wanted.to_owned(),
            None => "text; put it in quotes".to_owned(),
        },
    };
    format!("found {}, wanted {wanted}", node.kind())
}

/// The values that are allowed, where there are only a few.
fn choices(schema: &Value) -> Vec<&str> {
    let cases = schema["oneOf"].as_array().into_iter().flatten();
    cases.filter_map(|case| case["const"].as_str()).chain(words(&schema["enum"])).collect()
}

fn rule(schema: &Value) -> Option<&'static Rule> {
    Rule::named(schema["format"].as_str()?)
}

/// Whether a key is allowed by a pattern, which is always a beginning here.
fn is_free(schema: &Value, key: &str) -> bool {
    let begins =
        |pattern: &str| pattern.strip_prefix('^').is_some_and(|start| key.starts_with(start));
    keys(&schema["patternProperties"]).into_iter().any(begins)
}

fn keys(properties: &Value) -> Vec<&str> {
    properties.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The last key of a path, for a message.
fn last(path: &str) -> String {
    match path.rsplit('.').next() {
        Some(key) if !key.is_empty() => quoted(key),
        _ => "this".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::schema::schema;
    use super::*;

    /// What this module understands, and what only tells people and editors something.
    const KEYWORDS: &[&str] = &[
        "$ref",
        "additionalProperties",
        "const",
        "enum",
        "format",
        "items",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "not",
        "oneOf",
        "pattern",
        "patternProperties",
        "properties",
        "required",
        "type",
    ];
    const NOTES: &[&str] = &[
        "$defs",
        "$schema",
        "default",
        "description",
        "errorMessage",
        "examples",
        "patternErrorMessage",
        "title",
        "writeOnly",
    ];

    fn subschemas(schema: &Value) -> Vec<&Value> {
        let named = ["properties", "patternProperties", "$defs"];
        let named = named.iter().filter_map(|key| schema[*key].as_object()).flat_map(Map::values);
        let listed = schema["oneOf"].as_array().into_iter().flatten();
        let one = ["items", "not"].iter().filter_map(|key| schema.get(*key));
        let inner: Vec<_> = named.chain(listed).chain(one).collect();
        inner.into_iter().flat_map(|inner| [vec![inner], subschemas(inner)].concat()).collect()
    }

    #[test]
    fn every_keyword_of_the_schema_is_checked_here() {
        let schema = schema();
        let all = subschemas(&schema);
        let used: BTreeSet<&str> = all
            .iter()
            .chain([&&schema])
            .flat_map(|schema| schema.as_object().unwrap().keys())
            .map(String::as_str)
            .collect();
        let known: BTreeSet<&str> = KEYWORDS.iter().chain(NOTES).copied().collect();
        assert_eq!(used.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new());
        for schema in all {
            assert!(schema.get("pattern").is_none() || rule(schema).is_some(), "{schema}");
            assert!(schema.get("properties").is_none() || schema["additionalProperties"] == false);
        }
    }
}
