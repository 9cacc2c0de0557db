//! Finds the program of each component.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;

use super::{Change, Context, Phase};
use crate::component::{CATALOGUE, Component, Supply};
use crate::config::model::ComponentSettings;
use crate::digest;
use crate::error::{failure, hint_of, hinted};
use crate::exit::Exit;
use crate::report::Event;
use crate::resolve::{self, Found, Pinning, Platform, Sources};
use crate::workdir;

/// Finds programs, or sees that those of the last run are still there.
pub struct FindPrograms;

/// After how many seconds a component that could not be had is looked for again.
const TRY_AGAIN: i64 = 3600;

impl Phase for FindPrograms {
    fn title(&self) -> &'static str {
        "Find programs"
    }

    fn run(&self, cx: &mut Context<'_>) -> Result<Change> {
        let hash = inputs(cx);
        if is_settled(cx, &hash) {
            return Ok(Change::None);
        }
        let (programs, missing) = find(cx)?;
        let layout = cx.layout.clone();
        let record = cx.state.record_for(&cx.stack);
        let known = |found: &BTreeMap<String, Found>| {
            found
                .iter()
                .map(|(name, found)| (name.clone(), found.program.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        let same =
            known(&record.programs) == known(&programs) && record.missing.keys().eq(missing.keys());
        record.programs = programs;
        record.missing = missing;
        record.programs_hash = hash;
        record.programs_at = Timestamp::now();
        record.save(&layout)?;
        Ok(Change::from(!same))
    }

    fn dry_run(&self, cx: &mut Context<'_>) -> Result<()> {
        let hash = inputs(cx);
        if is_settled(cx, &hash) {
            return Ok(());
        }
        let settings = settings(cx);
        for component in CATALOGUE {
            if let Some(change) = change(cx, component, &sources(cx, &settings)) {
                cx.state.would += 1;
                cx.report.event(Event::would(component.name, change));
            }
        }
        Ok(())
    }
}

/// What looking for the component's program anew would bring, as far as that can be told without fetching anything.
fn change(
    cx: &Context<'_>,
    component: &'static Component,
    sources: &Sources<'_>,
) -> Option<String> {
    let record = cx.state.record.as_ref();
    let known = record.and_then(|record| record.programs.get(component.name));
    let missed = record.is_some_and(|record| record.missing.contains_key(component.name));
    match resolve::at_hand(component, sources) {
        Ok(found) if known.is_some_and(|known| known.program == found.program) => None,
        Ok(found) => Some(format!("use {} {} from {}", found.name, found.version, found.source)),
        Err(_) if missed => None,
        Err(_) => Some("find or fetch its program".to_owned()),
    }
}

/// Hash of all that decides which programs are used.
fn inputs(cx: &Context<'_>) -> String {
    let requirements = requirements(cx);
    let pinned: Vec<_> =
        CATALOGUE.iter().map(|component| (component.name, component.release())).collect();
    let optional: Vec<PathBuf> = CATALOGUE
        .iter()
        .filter(|component| !component.required)
        .flat_map(|component| candidates(component, &cx.user.path))
        .collect();
    let mirror = cx.user.mirror.as_ref().map(ToString::to_string);
    let essence = (
        mirror,
        &cx.stack.components,
        requirements,
        pinned,
        cx.options.require_pinned,
        &cx.user.siblings,
        optional,
    );
    let json = serde_json::to_vec(&essence).unwrap_or_default();
    digest::sha256(json)
}

/// The hashed requirements of the app: the user's own, or those of the built-in one.
fn requirements(cx: &Context<'_>) -> Vec<u8> {
    let own =
        cx.stack.app.path.as_ref().map(|path| cx.user.base.join(path).join("requirements.txt"));
    let own = own.and_then(|path| workdir::read(&path).ok().flatten());
    own.unwrap_or_else(|| cx.assets.get("app/requirements.txt").unwrap_or_default().into_owned())
}

/// Files on PATH that could be the component's program: one that appears makes `up` look again.
fn candidates(component: &Component, path: &std::ffi::OsStr) -> Vec<PathBuf> {
    let names = component.programs.iter().flat_map(|program| {
        let aliases = match &program.supply {
            Supply::Native(native) => native.aliases,
            _ => &[],
        };
        std::iter::once(program.name).chain(aliases.iter().copied())
    });
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    names
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .filter(|file| file.is_file())
        .collect()
}

/// Whether the programs of the last run fit and are still there.
fn is_settled(cx: &Context<'_>, hash: &str) -> bool {
    let Some(record) = &cx.state.record else { return false };
    let complete = CATALOGUE.iter().all(|component| {
        record.programs.contains_key(component.name) || record.missing.contains_key(component.name)
    });
    let recent = Timestamp::now().as_second() - record.programs_at.as_second() < TRY_AGAIN;
    complete
        && record.programs_hash == hash
        && (record.missing.is_empty() || recent)
        && record.programs.values().all(resolve::still_there)
}

/// Whether the user said which program to use; then no other will do, and none neither.
fn is_named(cx: &Context<'_>, component: &Component) -> bool {
    cx.stack.components.get(component.name).is_some_and(|settings| settings.path.is_some())
}

/// An error with its way out, to be kept and shown later.
fn told(error: &anyhow::Error) -> String {
    let hint = hint_of(error).map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{error:#}{hint}")
}

/// The components' settings, with relative paths made absolute.
fn settings(cx: &Context<'_>) -> BTreeMap<String, ComponentSettings> {
    let mut settings = cx.stack.components.clone();
    for path in settings.values_mut().filter_map(|settings| settings.path.as_mut()) {
        *path = cx.user.base.join(&path);
    }
    settings
}

type Finding = (BTreeMap<String, Found>, BTreeMap<String, String>);

/// Where programs are looked for.
fn sources<'a>(
    cx: &'a Context<'_>,
    settings: &'a BTreeMap<String, ComponentSettings>,
) -> Sources<'a> {
    Sources {
        runner: cx.runner,
        http: cx.http,
        report: cx.report,
        settings,
        cache: cx.user.cache.clone(),
        lock: cx.user.lock.clone(),
        path: cx.user.path.clone(),
        sibling_dir: cx.user.siblings.clone(),
        mirror: cx.user.mirror.clone(),
        pinning: if cx.options.require_pinned { Pinning::Required } else { Pinning::FirstUse },
        requirements: requirements(cx),
        platform: Platform::here(),
        parallel: usize::from(cx.options.jobs),
        interrupted: cx.interrupted,
    }
}

fn find(cx: &Context<'_>) -> Result<Finding> {
    let settings = settings(cx);
    let sources = sources(cx, &settings);
    let components: Vec<&'static Component> = CATALOGUE.iter().collect();
    let mut found = BTreeMap::new();
    let mut missing = BTreeMap::new();
    let mut fatal = Vec::new();
    for (component, outcome) in resolve::resolve_all(&components, &sources) {
        match outcome {
            Ok(program) => {
                found.insert(component.name.to_owned(), program);
            }
            Err(error) if component.required || is_named(cx, component) => fatal.push(told(&error)),
            Err(error) => {
                cx.go_on()?;
                cx.report.event(Event::warning(
                    component.name,
                    "no program was found; the stack is degraded without it",
                ));
                missing.insert(component.name.to_owned(), told(&error));
            }
        }
    }
    cx.go_on()?;
    if fatal.is_empty() {
        return Ok((found, missing));
    }
    let error = failure(Exit::STEP, fatal.join("\n"));
    Err(hinted(
        error,
        "give the path of a program with `--set components.NAME.path=/path/to/program`, or put it on PATH",
    ))
}

/// Where a program that was unpacked without being installed finds its libraries, as an environment variable.
pub fn library_path(found: &Found) -> Option<(String, String)> {
    let folders = std::env::join_paths(&found.libraries).ok()?;
    (!found.libraries.is_empty())
        .then(|| ("LD_LIBRARY_PATH".to_owned(), folders.to_string_lossy().into_owned()))
}
