//! The stack file with every default filled in, and where each value comes from.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_yaml::Value;

use super::model::{AppSource, ComponentSettings, Notify, StackFile};
use super::option::{TIMED, default, release};
use super::parse::is_text;
use super::tree::joined;
use crate::component::CATALOGUE;

/// Where values were written, by dotted path; what is absent is a default.
pub type Origins = BTreeMap<String, String>;

/// A stack as it is shown: as YAML with the origin of each value, or as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The stack with all defaults; secrets are references only.
    pub stack: StackFile,
    /// Where its values were written.
    pub origins: Origins,
}

/// What `stack` comes to, ready to be shown.
pub fn show(stack: &StackFile, origins: &Origins) -> Shown {
    Shown { stack: effective(stack), origins: origins.clone() }
}

/// `stack` with every default filled in, those of the catalogue too.
pub fn effective(stack: &StackFile) -> StackFile {
    let mut stack = stack.clone();
    let mut all = std::mem::take(&mut stack.components);
    for component in CATALOGUE {
        let settings = all.entry(component.name.to_owned()).or_default();
        if settings.path.is_none() && settings.version.is_none() {
            settings.version = release(component).map(str::to_owned);
        }
        for row in TIMED.iter().filter(|row| row.component == component.name) {
            (row.field)(settings).get_or_insert(default(row, stack.target));
        }
    }
    all.retain(|_, settings| *settings != ComponentSettings::default());
    stack.components = all;
    if stack.app.path.is_none() {
        stack.app.source.get_or_insert(AppSource::Builtin);
    }
    fill_mail(&mut stack.notify);
    stack
}

fn fill_mail(notify: &mut Notify) {
    let Some(email) = &mut notify.email else { return };
    if email.from.is_none() {
        email.from = email.to.first().cloned();
    }
    if email.smtp.password.is_some() && email.smtp.user.is_none() {
        email.smtp.user.clone_from(&email.from);
    }
}

impl fmt::Display for Shown {
    /// YAML that can be loaded again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = serde_yaml::to_value(&self.stack).map_err(|_| fmt::Error)?;
        self.entries(f, &value, "")
    }
}

impl Shown {
    fn entries(&self, f: &mut fmt::Formatter<'_>, value: &Value, path: &str) -> fmt::Result {
        let depth = if path.is_empty() { 0 } else { path.split('.').count() };
        for (key, value) in value.as_mapping().into_iter().flatten() {
            let Some(key) = key.as_str() else { continue };
            let path = joined(path, key);
            write!(f, "{}{key}:", "  ".repeat(depth))?;
            match value {
                Value::Mapping(inner) if inner.is_empty() => writeln!(f, " {{}}")?,
                Value::Mapping(_) => {
                    writeln!(f)?;
                    self.entries(f, value, &path)?;
                }
                leaf => writeln!(f, " {} # {}", flow(leaf)?, self.origin(&path))?,
            }
        }
        Ok(())
    }

    /// Where the value at `path`, or the first of its items, was written.
    fn origin(&self, path: &str) -> &str {
        let first = joined(path, "0");
        let found = self.origins.get(path).or_else(|| self.origins.get(&first));
        found.map_or("default", String::as_str)
    }
}

/// A value in one line. A text that is not plain beyond doubt is written as JSON, which is YAML too.
fn flow(value: &Value) -> Result<String, fmt::Error> {
    match value {
        Value::String(text) if is_plain(text) => Ok(text.clone()),
        Value::Sequence(items) => {
            let items: Result<Vec<String>, _> = items.iter().map(flow).collect();
            Ok(format!("[{}]", items?.join(", ")))
        }
        other => serde_json::to_string(other).map_err(|_| fmt::Error),
    }
}

/// Whether `text` is text without quotes too, for us and for readers of older YAML.
fn is_plain(text: &str) -> bool {
    let odd = |c: char| !c.is_ascii_alphanumeric() && !"_-./@".contains(c);
    let old = ["yes", "no", "on", "off", "y", "n"];
    let begins = |c: char| c.is_ascii_alphanumeric() || c == '/';
    text.starts_with(begins)
        && !text.contains(odd)
        && !old.contains(&text.to_ascii_lowercase().as_str())
        && is_text(text)
}
