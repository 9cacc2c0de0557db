//! `monstack version`

use std::fmt::Write;

use anyhow::Result;
use serde_json::json;

use super::Answer;
use crate::component::CATALOGUE;
use crate::exit::Exit;

/// Prints the versions of monstack and of the components it pins.
pub fn run() -> Result<Answer> {
    let version = env!("CARGO_PKG_VERSION");
    let pinned: serde_json::Map<String, serde_json::Value> = CATALOGUE
        .iter()
        .filter_map(|component| Some((component.name.to_owned(), component.release()?.into())))
        .collect();
    let mut text = format!("monstack {version}\n\npinned releases:\n");
    for (name, version) in &pinned {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:14} {}", version.as_str().unwrap_or_default());
    }
    Answer::new(&json!({ "monstack": version, "pinned": pinned }), text, Exit::DONE)
}
