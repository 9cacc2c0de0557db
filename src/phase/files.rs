//! Writes every file of the stack, and checks those that have a checker before anything reads them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use similar::TextDiff;

use super::programs::library_path;
use super::{Change, Context, Phase};
use crate::component::{CATALOGUE, Component, Supply};
use crate::error::Note;
use crate::exec::Cmd;
use crate::exit::Exit;
use crate::layout::secret::{GENERATED, REFERRED};
use crate::render::{self, Facts, Input, Rendered, Secrecy};
use crate::report::Event;
use crate::resolve::Found;
use crate::secret;
use crate::supervisor::hash_contents;
use crate::topology::Topology;
use crate::workdir;

/// Renders and writes.
pub struct WriteFiles;

impl Phase for WriteFiles {
    fn title(&self) -> &'static str {
        "Write files"
    }

    fn run(&self, cx: &mut Context<'_>) -> Result<Change> {
        let mut changed = keep_secrets(cx)?;
        let (topology, input, files) = rendered(cx)?;
        for file in &files {
            let secret = file.secrecy == Secrecy::Secret;
            let mode = if secret { workdir::SECRET } else { workdir::PLAIN };
            let folder = file.path.parent().unwrap_or(Path::new("."));
            if secret {
                workdir::make_private_folder(folder)?;
            }
            if workdir::write(&file.path, &file.contents, mode)? {
                changed = true;
                cx.report.event(Event::step(file.component, format!("wrote {}", name(&file.path))));
            }
        }
        for stale in stale(cx, &files) {
            workdir::remove(&stale)?;
            changed = true;
        }
        check_once(cx, (&topology, &input), &files)?;
        Ok(Change::from(changed))
    }

    fn dry_run(&self, cx: &mut Context<'_>) -> Result<()> {
        for name in GENERATED {
            if cx.layout.secrets().join(name).exists() {
                continue;
            }
            cx.state.would += 1;
            cx.report.event(Event::would("secrets", format!("make `{name}`")));
        }
        for name in REFERRED {
            let wanted =
                cx.state.secrets.get(*name).map(|secret| secret.expose().as_bytes().to_vec());
            if workdir::read(&cx.layout.secrets().join(name))? != wanted {
                cx.state.would += 1;
                cx.report.event(Event::would("secrets", format!("change `{name}`")));
            }
        }
        let (_, _, files) = rendered(cx)?;
        for file in &files {
            if let Some(difference) = difference(file)? {
                cx.state.would += 1;
                cx.report.event(Event::would(file.component, difference));
            }
        }
        for stale in stale(cx, &files) {
            cx.state.would += 1;
            cx.report.event(Event::would("files", format!("remove {}", stale.display())));
        }
        Ok(())
    }
}

/// Topology, what the templates are given, and the files made from both.
pub fn rendered(cx: &Context<'_>) -> Result<(Topology, Input, Vec<Rendered>)> {
    let mut state = cx.state.record.clone().unwrap_or_else(|| super::Record::new(cx.stack.clone()));
    state.stack = cx.stack.clone();
    let topology = state.topology();
    let input = input(cx, &state.programs);
    let files = render::render(&topology, &cx.layout, cx.assets, &input)?;
    Ok((topology, input, files))
}

fn input(cx: &Context<'_>, programs: &std::collections::BTreeMap<String, Found>) -> Input {
    // A plan may be made before programs were looked for; then the folder of the cache stands for the program's own.
    let home = |name: &str| {
        programs.get(name).map_or_else(|| cx.user.cache.join(name), |found| found.home.clone())
    };
    let homes = CATALOGUE
        .iter()
        .map(|component| (component.name.to_owned(), home(component.name)))
        .collect();
    let shipped = |component: &&Component| matches!(component.programs[0].supply, Supply::Python);
    let own = cx.stack.app.path.as_ref().map(|path| cx.user.base.join(path));
    let sources = CATALOGUE
        .iter()
        .filter(shipped)
        .filter_map(|component| Some((component.name.to_owned(), own.clone()?)))
        .collect();
    let secrets = cx
        .state
        .secrets
        .iter()
        .map(|(name, secret)| (name.clone(), secret.expose().to_owned()))
        .collect();
    Input { secrets, facts: Facts { worker: worker(), homes, sources } }
}

/// User and group of nginx's workers, needed only where its master runs as root.
fn worker() -> Option<(String, String)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let group =
        if groups.lines().any(|line| line.starts_with("nogroup:")) { "nogroup" } else { "nobody" };
    Some(("nobody".to_owned(), group.to_owned()))
}

/// Writes the secrets that were read, and makes those that have no source yet; says whether any changed.
fn keep_secrets(cx: &mut Context<'_>) -> Result<bool> {
    let mut changed = false;
    for (name, secret) in &cx.state.secrets {
        changed |= workdir::write(
            &cx.layout.secrets().join(name),
            secret.expose().as_bytes(),
            workdir::SECRET,
        )?;
    }
    for name in REFERRED.iter().filter(|name| !cx.state.secrets.contains_key(**name)) {
        workdir::remove(&cx.layout.secrets().join(name))?;
    }
    for name in GENERATED {
        let path = cx.layout.secrets().join(name);
        if !path.exists() {
            let password = secret::generate_password()?;
            changed |= workdir::write(&path, password.expose().as_bytes(), workdir::SECRET)?;
        }
    }
    Ok(changed)
}

/// Files of an earlier run that are rendered no more.
fn stale(cx: &Context<'_>, files: &[Rendered]) -> Vec<PathBuf> {
    let wanted: BTreeSet<&Path> = files.iter().map(|file| file.path.as_path()).collect();
    let mut found = Vec::new();
    collect(&cx.layout.root().join("rendered"), &mut found);
    collect(&cx.layout.secrets().join("rendered"), &mut found);
    found.retain(|path| !wanted.contains(path.as_path()) && !is_by_product(path));
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Compiled Python lies beside its source and is not ours to judge.
fn is_by_product(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "__pycache__")
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        // A link is a file here: what it leads to is not ours.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder { collect(&entry.path(), found) } else { found.push(entry.path()) }
    }
}

/// Checks the files unless they passed before: a run that wrote them may have been killed or refused there.
fn check_once(
    cx: &mut Context<'_>,
    (topology, input): (&Topology, &Input),
    files: &[Rendered],
) -> Result<()> {
    let Some(record) = &cx.state.record else { return Ok(()) };
    let files = files.iter().map(|file| (file.path.as_path(), &file.contents));
    let hash = format!("{}-{}", hash_contents(files), record.programs_hash);
    if record.checked == hash {
        return Ok(());
    }
    check(cx, topology, input)?;
    let layout = cx.layout.clone();
    let record = cx.state.record_for(&cx.stack);
    record.checked = hash;
    record.save(&layout)
}

/// Gives each configuration to its checker.
fn check(cx: &Context<'_>, topology: &Topology, input: &Input) -> Result<()> {
    let Some(record) = &cx.state.record else { return Ok(()) };
    for service in topology.services() {
        let component = service.component;
        let Some(found) = record.programs.get(component.name) else { continue };
        let spec = render::service_spec(topology, &cx.layout, input, &service)?;
        let Some((tool, args)) = spec.check else { continue };
        let Some(program) = found.tools.get(&tool) else { continue };
        workdir::make_folder(&cx.layout.data(component.name))?;
        workdir::make_folder(&cx.layout.logs())?;
        let mut cmd = Cmd::read(program).args(args);
        cmd.env.extend(library_path(found));
        cx.runner
            .run(&cmd, &mut |_| {})
            .with_context(|| format!("the files of `{}` are refused by `{tool}`", component.name))
            .hint("a template of yours may be wrong; `monstack plan` shows the files, `monstack version` the versions")
            .exit(Exit::STEP)?;
        cx.report.event(Event::step(component.name, "files checked"));
        cx.go_on()?;
    }
    Ok(())
}

/// What writing a file would change, as a unified diff; the contents of secret files stay hidden.
pub fn difference(file: &Rendered) -> Result<Option<String>> {
    let old = workdir::read(&file.path)?;
    let verb = match &old {
        Some(old) if *old == file.contents => return Ok(None),
        Some(_) => "change",
        None => "write",
    };
    let head = format!("{verb} {}", file.path.display());
    if file.secrecy == Secrecy::Secret {
        return Ok(Some(format!("{head} (contents hidden, for it may hold a secret)")));
    }
    let Some(old) = old else {
        return Ok(Some(format!(
            "{head} ({} lines)",
            String::from_utf8_lossy(&file.contents).lines().count()
        )));
    };
    let (old, new) = (String::from_utf8_lossy(&old), String::from_utf8_lossy(&file.contents));
    let diff = TextDiff::from_lines(old.as_ref(), new.as_ref());
    Ok(Some(format!("{head}\n{}", diff.unified_diff().context_radius(2).header("now", "then"))))
}
