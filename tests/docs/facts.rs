//! Codes, checks, encoders, releases, ports: whatever is a table in the program and on a page.

use std::collections::BTreeSet;

use clap::ValueEnum;
use monstack::component::{CATALOGUE, Component, Release, Supply};
use monstack::render::encode::ENCODERS;
use monstack::verify::{Check, Part};
use regex::Regex;

use crate::page::{code, rows, section, text};

#[test]
fn every_exit_code_is_explained_and_no_other() {
    let constant = Regex::new(r"pub const (\w+): Self = Self\((\d+)\);").unwrap();
    let source = text("src/exit.rs");
    let wanted: Vec<(String, String)> = constant
        .captures_iter(&source)
        .map(|found| (found[2].to_owned(), format!("`{}`", &found[1])))
        .collect();
    assert!(wanted.len() > 10);
    let found: Vec<_> = rows(&text("docs/exit-codes.md"))
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn every_check_has_a_section_and_a_row() {
    let page = text("docs/verify.md");
    let readme = text("README.md");
    let checks = [
        Check::Targets,
        Check::Canary,
        Check::Logs,
        Check::Request,
        Check::Panels,
        Check::Alert,
        Check::Network,
    ];
    for check in checks.map(Check::name) {
        assert!(section(&page, &format!("`{check}`")).len() > 100, "`{check}`");
        assert!(rows(&readme).iter().any(|row| row[1] == format!("`{check}`")), "`{check}`");
    }
    let parts: BTreeSet<String> = Part::value_variants().iter().map(|part| part.name()).collect();
    let named = rows(&page).into_iter().map(|row| row[0].clone());
    let named: BTreeSet<String> = named.filter(|cell| cell.starts_with('`')).collect();
    assert_eq!(named, parts.iter().map(|part| format!("`{part}`")).collect());
}

#[test]
fn every_encoder_is_described_and_no_other() {
    let page = text("docs/templates.md");
    let wanted: Vec<String> = ENCODERS.iter().map(|(name, _)| format!("`{name}`")).collect();
    let table = rows(section(&page, "Values need an encoder"));
    let found: Vec<String> = table.into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(found, wanted);
}

#[test]
fn every_port_is_on_the_page() {
    let page = text("docs/security.md");
    let section = section(&page, "What binds where");
    let number = Regex::new(r"\b\d{2,5}\b").unwrap();
    let named: BTreeSet<&str> = number.find_iter(section).map(|found| found.as_str()).collect();
    for port in CATALOGUE.iter().flat_map(|component| component.ports) {
        for number in std::iter::once(port.number).chain(port.fallback) {
            assert!(named.contains(number.to_string().as_str()), "port {number}");
        }
    }
}

fn release(component: &Component) -> Option<&'static Release> {
    component.programs.iter().find_map(|program| match &program.supply {
        Supply::Native(native) => native.release.as_ref(),
        Supply::Python | Supply::Sibling => None,
    })
}

#[test]
fn releases_and_who_vouches_for_them_are_those_of_the_catalogue() {
    let page = text("docs/components.md");
    let found = rows(section(&page, "Checksums"));
    for component in CATALOGUE {
        let Some(release) = release(component) else { continue };
        let who = |arch: &str| {
            let is_ours = release.pins.iter().any(|(known, _)| *known == arch);
            if is_ours { "monstack" } else { "upstream" }.to_owned()
        };
        let name = format!("{} {}", component.name, release.version);
        let wanted = vec![name.clone(), who("amd64"), who("arm64")];
        assert!(found.contains(&wanted), "wanted the row {wanted:?}");
    }
}

#[test]
fn packages_and_what_is_required_are_those_of_the_catalogue() {
    let page = text("docs/components.md");
    let found = rows(section(&page, "The order"));
    for component in CATALOGUE {
        let named = |row: &&Vec<String>| row[0] == component.name;
        let row = found.iter().find(named).unwrap_or_else(|| panic!("`{}`", component.name));
        let needed = if component.required { "yes" } else { "no" };
        assert_eq!(row.last().map(String::as_str), Some(needed), "{row:?}");
        let program = component.programs[0].name;
        assert!(code(&row[1]).contains(program), "{row:?}");
        if let Supply::Native(native) = &component.programs[0].supply {
            let package = native.package.as_ref().map(|package| package.name.to_owned());
            assert_eq!(code(&row[4]).into_iter().next(), package, "{row:?}");
        }
    }
}
