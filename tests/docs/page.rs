//! Reading Markdown, as far as these tests need it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The top of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Text of the file at `path` below the top.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

/// Paths of all pages below the top, sorted; what is built or fetched is left out.
pub fn pages() -> Vec<String> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    let relative = |path: PathBuf| path.strip_prefix(root()).ok()?.to_str().map(str::to_owned);
    let mut found: Vec<String> = found.into_iter().filter_map(relative).collect();
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    const ELSEWHERE: &[&str] = &["target", "__pycache__"];
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !ELSEWHERE.contains(&name.as_str()) {
            walk(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The part below a heading of the second level, up to the next one.
pub fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let line = format!("\n## {heading}\n");
    let start = text.find(&line).unwrap_or_else(|| panic!("there is no section `{heading}`"));
    let rest = &text[start + line.len()..];
    rest.find("\n## ").map_or(rest, |end| &rest[..end])
}

/// Cells of each row of the tables in `text`, without the rows above the bodies.
pub fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let line = line.replace("\\|", "\u{0}");
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('\u{0}', "|")).collect::<Vec<_>>()
    };
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    let is_rule = |line: &str| line.starts_with("|--") || line.starts_with("|:-");
    let body = lines.iter().enumerate().filter(|(index, line)| {
        !is_rule(line) && !lines.get(index + 1).is_some_and(|next| is_rule(next))
    });
    body.map(|(_, line)| cells(line)).collect()
}

/// What stands between backticks.
pub fn code(text: &str) -> BTreeSet<String> {
    let span = Regex::new("`([^`\n]+)`").unwrap();
    span.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Blocks of `text` that are fenced and marked as `language`.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let block = Regex::new(&format!("(?ms)^```{language}\n(.*?)^```$")).unwrap();
    block.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// `text` without its fenced blocks.
pub fn prose(text: &str) -> String {
    Regex::new("(?ms)^```.*?^```$").unwrap().replace_all(text, "").into_owned()
}
