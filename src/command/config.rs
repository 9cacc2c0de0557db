//! `monstack config`

use anyhow::Result;
use serde_json::json;

use super::Answer;
use super::session::{load, read_stack_file};
use crate::cli::{Config, Global};
use crate::config;
use crate::exit::Exit;

/// Shows or checks the stack file, or prints its schema.
pub fn run(global: &Global, args: &Config) -> Result<Answer> {
    if matches!(args, Config::Schema) {
        let schema = config::schema();
        return Answer::new(&schema, format!("{schema:#}\n"), Exit::DONE);
    }
    let (_, file, text) = read_stack_file(global)?;
    let loaded = load(global, file.as_deref(), text.as_deref())?;
    let name = file.map_or("the default stack".to_owned(), |file| format!("`{}`", file.display()));
    match args {
        Config::Validate => {
            let text = format!("{name} is a monitoring stack named `{}`\n", loaded.stack.name);
            Answer::new(
                &json!({ "file": name, "stack": loaded.stack.name, "valid": true }),
                text,
                Exit::DONE,
            )
        }
        _ => {
            let shown = config::show(&loaded.stack, &loaded.origins);
            Answer::new(&shown, shown.to_string(), Exit::DONE)
        }
    }
}
