//! Holds the pages to the program: what they name is there, and what is there they name.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/facts.rs"]
mod facts;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/page.rs"]
mod page;
#[path = "docs/stack_file.rs"]
mod stack_file;
