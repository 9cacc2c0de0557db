//! `docs/stack-file.md` against the schema that the types make.

use std::collections::{BTreeMap, BTreeSet};

use monstack::component::CATALOGUE;
use monstack::config::{self, Source};
use serde_json::Value;

use crate::page::{blocks, code, pages, rows, section, text};

const PAGE: &str = "docs/stack-file.md";

/// Keys by dotted path, with their defaults; any component is `NAME`, and a secret is not looked into.
fn keys() -> BTreeMap<String, Value> {
    let schema = config::schema();
    let mut keys = BTreeMap::new();
    collect(&schema, &schema, ("", &mut keys));
    keys
}

fn collect(schema: &Value, node: &Value, (path, keys): (&str, &mut BTreeMap<String, Value>)) {
    for (key, property) in node["properties"].as_object().into_iter().flatten() {
        let key = if path == "components" { "NAME" } else { key };
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        keys.insert(path.clone(), property["default"].clone());
        let reference = property["$ref"].as_str().unwrap_or_default();
        if reference.ends_with("/SecretRef") {
            continue;
        }
        let target = schema.pointer(reference.trim_start_matches('#')).unwrap_or(property);
        let target = if reference.is_empty() { property } else { target };
        collect(schema, target, (&path, keys));
    }
}

/// Rows of a section by the one key in backticks of their first cell.
fn described(heading: &str) -> BTreeMap<String, String> {
    let text = text(PAGE);
    let rows = rows(section(&text, heading)).into_iter();
    let key = |row: &[String]| row[0].trim_matches('`').to_owned();
    rows.map(|row| (key(&row), row.join(" | "))).collect()
}

#[test]
fn every_key_is_described_and_no_other() {
    let wanted: BTreeSet<String> = keys().into_keys().collect();
    let found: BTreeSet<String> = described("Every key").into_keys().collect();
    assert_eq!(found, wanted);
}

#[test]
fn the_defaults_are_those_of_the_types() {
    let described = described("Every key");
    for (path, default) in keys() {
        let default = match &default {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        if !path.starts_with("components.") {
            assert!(code(&described[&path]).contains(&default), "`{path}`: `{default}`");
        }
    }
}

#[test]
fn each_component_has_the_keys_and_defaults_of_its_row() {
    let properties = &config::schema()["properties"]["components"]["properties"];
    let wanted: Vec<Vec<String>> = CATALOGUE
        .iter()
        .map(|component| {
            let own = &properties[component.name]["properties"];
            assert!(own["path"].is_object(), "the page says that every component has `path`");
            let cell = |key: &str| match own[key]["default"].as_str() {
                Some(default) => format!("`{default}`"),
                None => "-".to_owned(),
            };
            let keys = ["version", "retention", "scrape_interval"].map(cell);
            std::iter::once(component.name.to_owned()).chain(keys).collect()
        })
        .collect();
    let text = text(PAGE);
    let mut found = rows(section(&text, "Which component has which key"));
    let mut wanted = wanted;
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn every_place_of_a_secret_is_described() {
    let places = &config::schema()["$defs"]["SecretRef"]["properties"];
    let wanted: BTreeSet<String> = places.as_object().unwrap().keys().cloned().collect();
    let found: BTreeSet<String> = described("Secrets").into_keys().collect();
    assert_eq!(found, wanted);
}

#[test]
fn every_stack_file_on_a_page_can_be_loaded() {
    let mut count = 0;
    for page in pages().into_iter().filter(|page| page.starts_with("docs/")) {
        for block in blocks(&text(&page), "yaml") {
            count += 1;
            let source = Source { text: Some(&block), file: &page, sets: &[] };
            let loaded = config::load(source);
            assert!(loaded.is_ok(), "{:#}", loaded.unwrap_err());
        }
    }
    assert!(count > 0);
}
