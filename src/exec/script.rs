//! A `Runner` for tests: canned answers, and a record of what was asked.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use super::{Cmd, Runner};

/// Answers commands by the beginning of their text; anything else fails as "not found".
#[derive(Default)]
pub struct Script {
    answers: Vec<(String, std::result::Result<String, String>)>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    /// Commands that begin with `prefix` print `output` and succeed.
    #[must_use]
    pub fn answer(mut self, prefix: &str, output: &str) -> Self {
        self.answers.push((prefix.to_owned(), Ok(output.to_owned())));
        self
    }

    /// Commands that begin with `prefix` fail with `message`.
    #[must_use]
    pub fn fail(mut self, prefix: &str, message: &str) -> Self {
        self.answers.push((prefix.to_owned(), Err(message.to_owned())));
        self
    }

    /// All commands so far, as text.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Runner for Script {
    fn run(&self, cmd: &Cmd, on_line: &mut dyn FnMut(&str)) -> Result<()> {
        let text = Cmd { alias: None, ..cmd.clone() }.to_string();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(text.clone());
        match self.answers.iter().find(|(prefix, _)| text.starts_with(prefix)) {
            Some((_, Ok(output))) => output.lines().for_each(on_line),
            Some((_, Err(message))) => bail!("`{text}` failed: {message}"),
            None => bail!("program `{}` was not found", cmd.program.display()),
        }
        Ok(())
    }
}
