//! The stack file, as written and as checked.

use anyhow::Result;
use serde_yaml::Value;

use crate::error::{Note, failure};
use crate::exit::Exit;
use tree::{Data, Node, Place, Problem};

mod check;
pub mod duration;
mod meaning;
pub mod model;
mod option;
mod parse;
mod rule;
mod schema;
mod set;
mod show;
mod suggest;
mod tree;

pub use duration::Duration;
pub use model::StackFile;
pub use schema::schema;
pub use show::{Origins, Shown, effective, show};

/// First line of a stack file: tells editors which schema completes it.
pub const MODELINE: &str = "# yaml-language-server: $schema=.monstack/schema.json";

const HINT: &str =
    "`monstack config schema` shows what is allowed, `monstack config validate` checks again";

/// What a stack is read from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Text of the stack file; without one the built-in default stack holds.
    pub text: Option<&'a str>,
    /// Its name for messages.
    pub file: &'a str,
    /// Values of `--set`, each `path=value`; they win over the file, later ones over earlier ones.
    pub sets: &'a [String],
}

/// A stack that was read, and where each of its values was written.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The stack.
    pub stack: StackFile,
    /// Places such as `monstack.yml:3:5` by dotted path.
    pub origins: Origins,
}

/// Reads a stack; the error lists all problems at once, each with its place.
pub fn load(source: Source<'_>) -> Result<StackFile> {
    load_with_origins(source).map(|loaded| loaded.stack)
}

/// Reads a stack like `load`, and remembers where each value was written.
pub fn load_with_origins(source: Source<'_>) -> Result<Loaded> {
    let tree = checked(source)?;
    let mut value = tree.value();
    match &mut value {
        Value::Mapping(keys) => {
            keys.retain(|key, _| !key.as_str().is_some_and(|key| key.starts_with("x-")));
        }
        other => *other = Value::Mapping(serde_yaml::Mapping::new()),
    }
    // The reason is left out, for serde repeats the values that it does not like.
    let stack = serde_yaml::from_value(value).map_err(|_| {
        failure(Exit::USAGE, format!("`{}` passed its checks but could not be read", source.file))
    })?;
    let mut origins = Origins::new();
    tree.leaves("", &mut |path, place| {
        if !path.starts_with("x-") {
            origins.insert(path, shown(place, source));
        }
    });
    Ok(Loaded { stack, origins })
}

/// `text`, if it can be the name of a stack.
pub fn stack_name(text: &str) -> Result<String, String> {
    rule::STACK_NAME.check(text).map(|()| text.to_owned())
}

/// The text of a stack file from its bytes; `file` is its name for messages.
pub fn decode(bytes: Vec<u8>, file: &str) -> Result<String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let hint = format!("iconv -f UTF-16 -t UTF-8 {file}");
        return Err(failure(Exit::USAGE, format!("`{file}` is UTF-16, wanted UTF-8"))).hint(hint);
    }
    let error = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let before = String::from_utf8_lossy(before);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let message = format!(
        "`{file}` is not a monitoring stack:\n  {file}:{line}:{column}: this byte is not UTF-8"
    );
    Err(failure(Exit::USAGE, message)).hint(format!("save `{file}` as UTF-8"))
}

/// The tree of file and settings, if nothing is wrong with it.
fn checked(source: Source<'_>) -> Result<Node> {
    let parsed = parse::parse(source.text.unwrap_or_default(), None);
    let mut problems = parsed.problems;
    let readable = parsed.tree.is_some();
    let mut tree = parsed.tree.unwrap_or(Node { place: Place::START, data: Data::Null });
    for (number, set) in source.sets.iter().enumerate() {
        problems.extend(set::apply(&mut tree, number, set));
    }
    if readable {
        problems.extend(check::check(&tree, &schema()));
        problems.extend(meaning::check(&tree));
    }
    if problems.is_empty() {
        return Ok(tree);
    }
    Err(failure(Exit::USAGE, refusal(source, problems))).hint(HINT)
}

fn refusal(source: Source<'_>, mut problems: Vec<Problem>) -> String {
    problems.sort();
    problems.dedup();
    let in_file = problems.iter().any(|problem| matches!(problem.place, Place::File { .. }));
    let what = if in_file { format!("`{}`", source.file) } else { "what `--set` makes".to_owned() };
    let lines: String = problems
        .iter()
        .map(|problem| format!("\n  {}: {}", shown(problem.place, source), problem.message))
        .collect();
    format!("{what} is not a monitoring stack:{lines}")
}

fn shown(place: Place, source: Source<'_>) -> String {
    match place {
        Place::File { line, column } => format!("{}:{line}:{column}", source.file),
        Place::Set(number) => {
            source.sets.get(number).map_or_else(String::new, |set| set::shown(number, set))
        }
    }
}
