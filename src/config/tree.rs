//! A stack file as written: values with the place of each.

use serde_yaml::{Mapping, Value};

/// Where something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file; line and column count from 1.
    File { line: usize, column: usize },
    /// In the `--set` of this number, from 0.
    Set(usize),
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The place.
    pub place: Place,
    /// What was found and what was wanted.
    pub message: String,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value begins.
    pub place: Place,
    /// The value.
    pub data: Data,
}

/// A value as YAML 1.2 has them.
#[derive(Clone, Debug)]
pub enum Data {
    /// Nothing at all, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key begins.
    pub place: Place,
    /// The value.
    pub node: Node,
}

impl Place {
    /// The first place of a file.
    pub const START: Self = Self::File { line: 1, column: 1 };
}

impl Problem {
    /// A problem at `place`.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl Node {
    /// A mapping without entries.
    pub fn empty(place: Place) -> Self {
        Self { place, data: Data::Map(Vec::new()) }
    }

    /// The entry of a mapping with this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().find(|entry| entry.key == key)
    }

    /// The entries of a mapping that were not taken away; none of anything else.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let entries = match &self.data {
            Data::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().filter(|entry| !entry.is_taken_away())
    }

    /// How many values there are in it, itself included.
    pub fn size(&self) -> usize {
        let inner: usize = match &self.data {
            Data::List(items) => items.iter().map(Self::size).sum(),
            Data::Map(entries) => entries.iter().map(|entry| entry.node.size()).sum(),
            _ => 0,
        };
        inner + 1
    }

    /// What it is, in words; never the value of a text, which may be a secret.
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a truth value",
            Data::Integer(_) | Data::Float(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }

    /// The value without its places, for typed reading.
    pub fn value(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(truth) => Value::Bool(*truth),
            Data::Integer(number) => Value::Number((*number).into()),
            Data::Float(number) => Value::Number((*number).into()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Sequence(items.iter().map(Self::value).collect()),
            Data::Map(_) => {
                let pair = |entry: &Entry| (Value::String(entry.key.clone()), entry.node.value());
                Value::Mapping(self.entries().map(pair).collect::<Mapping>())
            }
        }
    }

    /// Calls `visit` with the dotted path and the place of each value that holds no others.
    pub fn leaves(&self, path: &str, visit: &mut impl FnMut(String, Place)) {
        match &self.data {
            Data::Map(_) => {
                self.entries().for_each(|entry| entry.node.leaves(&joined(path, &entry.key), visit))
            }
            Data::List(items) => (0..)
                .zip(items)
                .for_each(|(index, item)| item.leaves(&joined(path, &format!("{index}")), visit)),
            _ => visit(path.to_owned(), self.place),
        }
    }
}

impl Entry {
    /// Whether `--set path=null` took it away.
    pub fn is_taken_away(&self) -> bool {
        matches!((&self.node.data, self.node.place), (Data::Null, Place::Set(_)))
    }
}

/// `path` and `key` with a dot between them.
pub fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
