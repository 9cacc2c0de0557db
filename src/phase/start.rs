//! Starts the services, or brings them to what is wanted, and waits until each answers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::programs::library_path;
use super::{Change, Context, Phase, files, preflight};
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::render::{self, Rendered};
use crate::report::Event;
use crate::resolve::{Found, Origin};
use crate::supervisor::{Observed, Spec, State, Status, client, hash_contents};
use crate::workdir;

/// Starts services.
pub struct StartServices;

/// Names the stack in the environment of each of its services.
pub const STACK_VARIABLE: &str = "MONSTACK_STACK_FOLDER";
/// How long all services together may take until they answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// A service that ended this often while it was waited for will not come.
const LOST: u32 = 4;
/// How many of a failing service's last lines are shown.
const LAST_WORDS: usize = 20;

impl Phase for StartServices {
    fn title(&self) -> &'static str {
        "Start services"
    }

    fn run(&self, cx: &mut Context<'_>) -> Result<Change> {
        let specs = specs(cx)?;
        let (layout, stack, hash) = (cx.layout.clone(), cx.stack.clone(), fingerprint(&specs));
        cx.state.keep(&layout, &stack, |record| record.services_hash = hash)?;
        let run = cx.layout.run();
        if actions(&run, &specs)?.is_empty() {
            return Ok(Change::None);
        }
        let began = Instant::now();
        let before = client::observed(&run)?;
        let generation = client::apply(&run, specs.clone())?;
        wait(cx, &specs, (generation, before, began))?;
        Ok(Change::Some)
    }

    fn dry_run(&self, cx: &mut Context<'_>) -> Result<()> {
        let specs = specs(cx)?;
        for (name, action) in actions(&cx.layout.run(), &specs)? {
            cx.state.would += 1;
            cx.report.event(Event::would(name, action));
        }
        Ok(())
    }
}

/// What the supervisor is asked to run.
pub fn specs(cx: &Context<'_>) -> Result<Vec<Spec>> {
    let (topology, input, rendered) = files::rendered(cx)?;
    let record = cx.state.record.as_ref().context("nothing is known of the stack yet")?;
    topology
        .services()
        .map(|service| {
            let component = service.component;
            let name = component.name;
            let command = render::service_spec(&topology, &cx.layout, &input, &service)?;
            let found = record.programs.get(name);
            let program = found.map_or_else(
                || PathBuf::from(component.programs[0].name),
                |found| found.program.clone(),
            );
            let own = own_files(&rendered, name);
            let secrets = component.service.secrets;
            let secrets: Vec<PathBuf> =
                secrets.iter().map(|name| cx.layout.secrets().join(name)).collect();
            let mut env = command.env;
            env.push((STACK_VARIABLE.to_owned(), cx.layout.root().display().to_string()));
            env.extend(found.and_then(library_path));
            Ok(Spec {
                name: name.to_owned(),
                program,
                args: command.args,
                env,
                dir: dir(cx, name, found),
                folders: folders(cx, name),
                files_hash: wanted_hash(&own, &secrets)?,
                files: own.iter().map(|file| file.path.clone()).chain(secrets).collect(),
                health: service.health(),
                reload: component.service.reload,
                reopen: component.service.reopen,
                logs: component.service.logs.iter().map(|log| cx.layout.logs().join(log)).collect(),
                log: cx.layout.logs().join(format!("{name}.log")),
            })
        })
        .collect()
}

/// Hash of the files as they are rendered, and of the secrets as they were written just now.
fn wanted_hash(own: &[&Rendered], secrets: &[PathBuf]) -> Result<String> {
    let mut contents: Vec<(&Path, Vec<u8>)> =
        own.iter().map(|file| (file.path.as_path(), file.contents.clone())).collect();
    for path in secrets {
        contents.push((path, workdir::read(path)?.unwrap_or_default()));
    }
    Ok(hash_contents(contents.into_iter()))
}

fn own_files<'a>(rendered: &'a [Rendered], component: &str) -> Vec<&'a Rendered> {
    rendered.iter().filter(|file| file.component == component).collect()
}

/// A program of a package works where the package was unpacked, for that is where it finds its shared files.
fn dir(cx: &Context<'_>, name: &str, found: Option<&Found>) -> PathBuf {
    match found {
        Some(found) if found.origin == Origin::Package => found.home.clone(),
        _ => cx.layout.data(name),
    }
}

/// Folders that a service needs: its data, the textfile folder in it, the logs.
fn folders(cx: &Context<'_>, name: &str) -> Vec<PathBuf> {
    let data = cx.layout.data(name);
    vec![data.clone(), data.join("textfile"), cx.layout.logs()]
}

fn fingerprint(specs: &[Spec]) -> String {
    let parts =
        specs.iter().map(|spec| (Path::new(&spec.name), spec.identity() + &spec.files_hash));
    hash_contents(parts)
}

/// What has to happen to each service so that `specs` run; nothing when all is well.
fn actions(run: &Path, specs: &[Spec]) -> Result<Vec<(String, String)>> {
    let services = client::current(run)?.map_or_else(Vec::new, |observed| observed.services);
    let wanted: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let mut actions: Vec<(String, String)> = services
        .iter()
        .filter(|status| !wanted.contains(status.name.as_str()))
        .map(|status| (status.name.clone(), "stop it".to_owned()))
        .collect();
    for spec in specs {
        let status = services.iter().find(|status| status.name == spec.name);
        if let Some(action) = action(spec, status) {
            actions.push((spec.name.clone(), action.to_owned()));
        }
    }
    Ok(actions)
}

fn action(spec: &Spec, status: Option<&Status>) -> Option<&'static str> {
    let Some(status) =
        status.filter(|status| status.process.is_some_and(|process| process.is_alive()))
    else {
        return Some("start it");
    };
    if status.spec != spec.identity() {
        return Some("start it anew, for its program, arguments or environment changed");
    }
    if status.loaded != spec.files_hash {
        return Some("let it load its changed files");
    }
    (status.state != State::Healthy).then_some("wait until it is healthy")
}

type Before = (u64, Option<Observed>, Instant);

fn wait(cx: &Context<'_>, specs: &[Spec], (generation, before, began): Before) -> Result<()> {
    let run = cx.layout.run();
    let mut healthy = BTreeSet::new();
    let restarts_before = |name: &str| {
        let status = before
            .as_ref()
            .and_then(|before| before.services.iter().find(|status| status.name == name));
        status.map_or(0, |status| status.restarts)
    };
    loop {
        cx.go_on()?;
        preflight::refuse_full(cx.layout.root())?;
        client::ensure(&run)?;
        let observed = client::current(&run)?.filter(|observed| observed.generation >= generation);
        for status in observed.iter().flat_map(|observed| &observed.services) {
            if status.state == State::Healthy {
                if healthy.insert(status.name.clone()) {
                    let seconds = began.elapsed().as_secs_f64();
                    cx.report
                        .event(Event::step(&status.name, format!("healthy after {seconds:.1} s")));
                }
            } else if status.restarts.saturating_sub(restarts_before(&status.name)) >= LOST {
                return Err(lost(cx, specs, status));
            }
        }
        // What was healthy once may have ended since, so all are looked at again together.
        let open = actions(&run, specs)?;
        if open.is_empty() {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(late(cx, specs, &open));
        }
        thread::sleep(Duration::from_millis(25));
    }
}

fn lost(cx: &Context<'_>, specs: &[Spec], status: &Status) -> anyhow::Error {
    let ended = status.last_exit.as_deref().unwrap_or("ended");
    let message =
        format!("`{}` does not stay up: {ended}{}", status.name, last_words(specs, &status.name));
    let error = failure(Exit::STEP, message);
    hinted(
        error,
        format!("look at `{}`", cx.layout.logs().join(format!("{}.log", status.name)).display()),
    )
}

fn late(cx: &Context<'_>, specs: &[Spec], open: &[(String, String)]) -> anyhow::Error {
    let late: Vec<&str> = open.iter().map(|(name, _)| name.as_str()).collect();
    let words: String = late.iter().map(|name| last_words(specs, name)).collect();
    let message = format!(
        "no healthy answer within {} s from {}{words}",
        PATIENCE.as_secs(),
        late.join(", ")
    );
    hinted(
        failure(Exit::TIMEOUT, message),
        format!("look at the logs in `{}`", cx.layout.logs().display()),
    )
}

/// The last lines that a service wrote, indented.
fn last_words(specs: &[Spec], name: &str) -> String {
    let Some(spec) = specs.iter().find(|spec| spec.name == name) else { return String::new() };
    let text = std::fs::read(&spec.log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(64 << 10)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n    ");
    if last.is_empty() { String::new() } else { format!("\n  last words of `{name}`:\n    {last}") }
}
