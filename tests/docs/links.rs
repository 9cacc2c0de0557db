//! Links between pages, and the map of the code.

use std::path::Path;

use regex::Regex;

use crate::page::{code, pages, prose, root, text};

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut broken = Vec::new();
    for page in pages() {
        for found in link.captures_iter(&prose(&text(&page))) {
            let target = &found[1];
            if !target.contains("://") && !leads(&page, target) {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

fn leads(page: &str, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = root().join(page).parent().map(Path::to_owned).unwrap_or_default();
    let path = if path.is_empty() { root().join(page) } else { folder.join(path) };
    let Ok(text) = std::fs::read_to_string(&path) else {
        return anchor.is_empty() && path.is_dir();
    };
    anchor.is_empty() || headings(&text).iter().any(|heading| heading == anchor)
}

/// Headings as GitHub turns them into anchors.
fn headings(text: &str) -> Vec<String> {
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    let slug = |line: &str| {
        let title: String = line.trim_start_matches('#').trim().chars().filter(kept).collect();
        title.to_lowercase().replace(' ', "-")
    };
    prose(text).lines().filter(|line| line.starts_with('#')).map(slug).collect()
}

#[test]
fn every_module_is_on_the_map() {
    let map = code(&text("ARCHITECTURE.md"));
    let module = Regex::new(r"(?m)^pub mod (\w+);").unwrap();
    let library = text("src/lib.rs");
    let modules = module.captures_iter(&library).map(|found| format!("src/{}.rs", &found[1]));
    let absent: Vec<String> = modules.filter(|module| !map.contains(module)).collect();
    assert_eq!(absent, Vec::<String>::new(), "give each a row in `ARCHITECTURE.md`");
    let named = map.iter().filter(|name| name.starts_with("src/") && !name.contains(' '));
    let gone: Vec<&String> = named.filter(|name| !root().join(name).exists()).collect();
    assert_eq!(gone, Vec::<&String>::new());
}
