//! `docs/commands.md` against the command line, and every command line on every page.

use std::collections::BTreeSet;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, Parser};
use monstack::cli::Cli;
use regex::Regex;

use crate::page::{blocks, code, pages, section, text};

/// All commands that are shown, with the words that call them.
fn commands() -> Vec<(String, Command)> {
    let mut all = Vec::new();
    collect(&Cli::command(), "monstack", &mut all);
    all
}

fn collect(parent: &Command, words: &str, all: &mut Vec<(String, Command)>) {
    for command in parent.get_subcommands().filter(|command| !command.is_hide_set()) {
        let words = format!("{words} {}", command.get_name());
        all.push((words.clone(), command.clone()));
        collect(command, &words, all);
    }
}

fn globals() -> Vec<Arg> {
    let command = Cli::command();
    command.get_arguments().filter(|argument| argument.is_global_set()).cloned().collect()
}

/// What a page has to say of an argument.
fn words(argument: &Arg) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(argument.get_short().map(|short| format!("-{short}")));
    words.extend(argument.get_long().map(|long| format!("--{long}")));
    words.extend(argument.get_env().map(|name| name.to_string_lossy().into_owned()));
    if argument.is_positional() {
        words.push(argument.get_id().as_str().to_uppercase());
    }
    let values = argument.get_possible_values();
    if argument.get_action().takes_values() {
        words.extend(values.iter().map(|value| value.get_name().to_owned()));
    }
    words
}

/// Words of `arguments` that are in no code of the section.
fn absent(section: &str, arguments: &[Arg]) -> Vec<String> {
    let code: Vec<String> = code(section).into_iter().collect();
    let all = code.join("\n").replace("\\|", "|");
    let is_there = |word: &String| {
        let start = if word.starts_with('-') { "" } else { r"\b" };
        Regex::new(&format!(r"(?m){start}{}\b", regex::escape(word))).unwrap().is_match(&all)
    };
    arguments.iter().flat_map(words).filter(|word| !is_there(word)).collect()
}

/// Options that a section names and that are none of `arguments`.
fn invented(section: &str, arguments: &[Arg]) -> Vec<String> {
    let known: BTreeSet<&str> = arguments.iter().filter_map(Arg::get_long).collect();
    let option = Regex::new(r"--([a-z][a-z-]*)").unwrap();
    let named = option.captures_iter(section).map(|found| found[1].to_owned());
    named.filter(|name| !known.contains(name.as_str())).collect()
}

#[test]
fn every_command_option_and_variable_is_on_the_page_and_no_other() {
    let page = text("docs/commands.md");
    let globals = globals();
    for (words, command) in commands() {
        let section = section(&page, &format!("`{words}`"));
        let own: Vec<Arg> = command.get_arguments().cloned().collect();
        assert_eq!(absent(section, &own), Vec::<String>::new(), "`{words}`");
        let known = [own, globals.clone()].concat();
        assert_eq!(invented(section, &known), Vec::<String>::new(), "`{words}`");
    }
    let heading = Regex::new("(?m)^## `(monstack [^`]+)`$").unwrap();
    let named: BTreeSet<&str> =
        heading.captures_iter(&page).map(|found| found.get(1).unwrap().as_str()).collect();
    let there = commands();
    assert_eq!(named, there.iter().map(|(words, _)| words.as_str()).collect());
}

#[test]
fn every_global_option_is_on_the_page() {
    let page = text("docs/commands.md");
    let section = section(&page, "Global options");
    assert_eq!(absent(section, &globals()), Vec::<String>::new());
    let beside = ["help", "version"].map(|name| Arg::new(name).long(name)).to_vec();
    let known = [globals(), beside].concat();
    assert_eq!(invented(section, &known), Vec::<String>::new());
}

#[test]
fn every_command_is_in_the_readme() {
    let readme = code(&text("README.md"));
    let command = Cli::command();
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    for name in shown.map(Command::get_name) {
        let words = format!("monstack {name}");
        assert!(readme.iter().any(|code| code.starts_with(&words)), "`{words}`");
    }
}

#[test]
fn every_command_line_on_a_page_is_one_that_monstack_takes() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        for line in lines(&text(&page)) {
            count += 1;
            if let Some(reason) = refusal(&line) {
                wrong.push(format!("{page}: `monstack{line}`: {reason}"));
            }
        }
    }
    assert!(count > 100, "only {count} command lines were found");
    assert_eq!(wrong, Vec::<String>::new());
}

/// What follows `monstack` in blocks for a shell and between backticks.
fn lines(text: &str) -> Vec<String> {
    let call = Regex::new(r"(?m)(?:^|[\s(/])monstack( [^|;&>)\n]+)").unwrap();
    let blocks = blocks(text, "sh");
    let typed = blocks.iter().flat_map(|block| call.captures_iter(block));
    let span = Regex::new("`monstack( [^`\n]+)`").unwrap();
    let named = span.captures_iter(text);
    typed.chain(named).map(|found| found[1].to_owned()).collect()
}

fn refusal(line: &str) -> Option<String> {
    let mut words = vec!["monstack".to_owned()];
    words.extend(split(line));
    if words[1].starts_with("__") {
        return None;
    }
    let error = Cli::try_parse_from(&words).err()?;
    // The bare name of a command speaks of the command.
    if words.len() == 2 && error.kind() == ErrorKind::MissingRequiredArgument {
        return None;
    }
    let shown = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ErrorKind::DisplayVersion,
    ];
    (!shown.contains(&error.kind())).then(|| error.kind().to_string())
}

/// Words of a line as a shell splits them, as far as pages need it.
fn split(line: &str) -> Vec<String> {
    let word = Regex::new(r#"(?:'[^']*'|"[^"]*"|[^\s'"])+"#).unwrap();
    let bare = |word: &str| word.replace(['\'', '"'], "");
    word.find_iter(line).map(|found| bare(found.as_str())).collect()
}
