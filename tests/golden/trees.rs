//! Whole rendered trees.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use monstack::render::Secrecy;
use similar::TextDiff;

use crate::support::{ODD, Stack, default_stack, odd_stack, repository, walk};

#[test]
fn the_default_stack_is_as_it_was() {
    compare("default", &default_stack(Path::new("/srv/stack/.monstack/monstack")));
}

#[test]
fn a_stack_with_everything_and_odd_strings_is_as_it_was() {
    compare("odd", &odd_stack(&Path::new("/srv").join(ODD)));
}

#[test]
fn a_secret_is_in_secret_files_only() {
    for file in odd_stack(Path::new("/srv/odd")).render() {
        let text = String::from_utf8_lossy(&file.contents).into_owned();
        let secret = file.secrecy == Secrecy::Secret;
        assert!(secret || !text.contains("canary"), "{}", file.path.display());
        assert_eq!(secret, file.path.starts_with("/srv/odd/secrets"), "{}", file.path.display());
        assert!(!format!("{file:?}").contains("canary"));
    }
}

#[test]
fn debugging_the_input_shows_no_secret() {
    let shown = format!("{:?}", odd_stack(Path::new("/srv/odd")).input);
    assert!(shown.contains("discord_webhook") && !shown.contains("canary"), "{shown}");
}

fn compare(case: &str, stack: &Stack) {
    let folder = repository("tests/golden").join(case);
    let now = picture(stack);
    if std::env::var_os("MONSTACK_BLESS").is_some() {
        let _ = fs::remove_dir_all(&folder);
        for (path, text) in &now {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        return;
    }
    let relative = |path: &Path| path.strip_prefix(&folder).unwrap().display().to_string();
    let golden: BTreeMap<String, String> = walk(&folder)
        .iter()
        .map(|path| (relative(path), fs::read_to_string(path).unwrap()))
        .collect();
    let mut difference = String::new();
    for path in golden.keys().chain(now.keys()).collect::<std::collections::BTreeSet<_>>() {
        let empty = String::new();
        let (before, after) = (golden.get(path).unwrap_or(&empty), now.get(path).unwrap_or(&empty));
        if before != after {
            let diff = TextDiff::from_lines(before, after);
            difference += &diff.unified_diff().header(path, path).to_string();
        }
    }
    let way_out = "hint: `MONSTACK_BLESS=1 cargo test --test golden` rewrites the golden tree";
    assert!(difference.is_empty(), "`{case}` is rendered otherwise:\n{difference}\n{way_out}");
}

/// Rendered files by path, those that are copies named only; and how services start.
fn picture(stack: &Stack) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut files = String::new();
    for file in stack.render() {
        let path = file.path.strip_prefix(stack.layout.root()).unwrap().display().to_string();
        let copied = walk(&repository("templates")).into_iter().chain(walk(&repository("app")));
        let copied = copied.map(|path| fs::read(path).unwrap()).any(|it| it == file.contents);
        let how = if copied { "copied" } else { "rendered" };
        files += &format!("{:?} {how} {path}\n", file.secrecy).to_lowercase();
        if !copied {
            all.insert(path, String::from_utf8(file.contents).unwrap());
        }
    }
    // The app's files are its own affair; that they come along is asserted elsewhere.
    let files: Vec<_> = files.lines().filter(|line| !line.contains("/app/source/")).collect();
    all.insert("files.txt".to_owned(), files.join("\n") + "\n");
    all.insert("services.txt".to_owned(), stack.services());
    all
}
