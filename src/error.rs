//! Errors with a way out: what failed, why, what to type next, and the exit code.

use std::error::Error;
use std::fmt;

use anyhow::Result;

use crate::exit::Exit;

/// An error to which a hint or an exit code was added; it displays as the error it wraps.
#[derive(Debug)]
struct Noted {
    source: anyhow::Error,
    hint: Option<String>,
    exit: Option<Exit>,
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl Error for Noted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

/// Adds a hint or an exit code to the error of a result.
pub trait Note<T> {
    /// Says what the user can type next.
    fn hint(self, hint: impl Into<String>) -> Result<T>;
    /// Decides the exit code; the outermost code wins.
    fn exit(self, exit: Exit) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> Note<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> Result<T> {
        self.map_err(|error| hinted(error.into(), hint))
    }

    fn exit(self, exit: Exit) -> Result<T> {
        self.map_err(|error| coded(error.into(), exit))
    }
}

/// Makes an error that ends the program with `exit`.
pub fn failure(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    coded(anyhow::Error::msg(message.into()), exit)
}

/// Adds a hint to `error`.
pub fn hinted(error: anyhow::Error, hint: impl Into<String>) -> anyhow::Error {
    Noted { source: error, hint: Some(hint.into()), exit: None }.into()
}

/// Gives `error` an exit code.
pub fn coded(error: anyhow::Error, exit: Exit) -> anyhow::Error {
    Noted { source: error, hint: None, exit: Some(exit) }.into()
}

/// The exit code that `error` leads to.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    notes(error).find_map(|note| note.exit).unwrap_or(Exit::FAILURE)
}

/// What the user can type next, where the error knows it.
pub fn hint_of(error: &anyhow::Error) -> Option<&str> {
    notes(error).find_map(|note| note.hint.as_deref())
}

/// The messages of `error`, outermost first, without repetition.
pub fn messages(error: &anyhow::Error) -> Vec<String> {
    let mut all: Vec<String> = error.chain().map(ToString::to_string).collect();
    all.dedup();
    all
}

fn notes(error: &anyhow::Error) -> impl Iterator<Item = &Noted> {
    std::iter::successors(error.downcast_ref::<Noted>(), |note| note.source.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn hint_and_exit_survive_context() {
        let error = Err::<(), _>(anyhow::anyhow!("disk full"))
            .hint("free some space")
            .exit(Exit::STEP)
            .context("phase `Render` failed")
            .unwrap_err();
        assert_eq!(exit_of(&error), Exit::STEP);
        assert_eq!(hint_of(&error), Some("free some space"));
        assert_eq!(messages(&error), ["phase `Render` failed", "disk full"]);
    }

    #[test]
    fn an_error_without_notes_is_unclassified() {
        let error = anyhow::anyhow!("odd");
        assert_eq!(exit_of(&error), Exit::FAILURE);
        assert_eq!(hint_of(&error), None);
    }
}
