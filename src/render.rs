//! Topology to files: pure, by Tera.
//!
//! A value reaches a file only through the encoder of that file's format (`{{ own.data | yaml }}`); one that was
//! not encoded is refused, so that no path, address or mail address can change what a file means.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, anyhow};

use crate::asset::Assets;
use crate::component::{File, Kind};
use crate::layout::Layout;
use crate::topology::{Service, Topology};

mod context;
pub mod encode;
mod engine;

use context::World;
use engine::Engine;

/// Folder of the component's own sources, below its files.
const SOURCE: &str = "source";

/// What rendering needs to know beside the topology and the layout.
#[derive(Clone, Default)]
pub struct Input {
    /// Secrets by name, for files that must embed one.
    pub secrets: BTreeMap<String, String>,
    /// Facts about the machine.
    pub facts: Facts,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.secrets.keys().collect();
        f.debug_struct("Input").field("secrets", &names).field("facts", &self.facts).finish()
    }
}

/// What is known about the machine that runs the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// User and group that nginx's workers become, where nginx is started by root.
    pub worker: Option<(String, String)>,
    /// Folder of a component's own resources, by component.
    pub homes: BTreeMap<String, PathBuf>,
    /// Folder of sources that the user has in place of ours, by component.
    pub sources: BTreeMap<String, PathBuf>,
}

/// A file as it is to be on a node.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The node that gets it.
    pub node: String,
    /// The component that reads it.
    pub component: &'static str,
    /// Where it lies.
    pub path: PathBuf,
    /// What it holds.
    pub contents: Vec<u8>,
    /// Who may read it.
    pub secrecy: Secrecy,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Anybody.
    Public,
    /// The owner alone, for it may embed a secret.
    Secret,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = match self.secrecy {
            Secrecy::Public => String::from_utf8_lossy(&self.contents),
            Secrecy::Secret => "(secret)".into(),
        };
        f.debug_struct("Rendered")
            .field("node", &self.node)
            .field("component", &self.component)
            .field("path", &self.path)
            .field("secrecy", &self.secrecy)
            .field("contents", &contents)
            .finish()
    }
}

/// How a service is started, and what checks its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Arguments of its program.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// A tool and its arguments that check the service's files.
    pub check: Option<(String, Vec<String>)>,
}

/// Every file of every node.
pub fn render(
    topology: &Topology,
    layout: &Layout,
    assets: &Assets<'_>,
    input: &Input,
) -> Result<Vec<Rendered>> {
    let world = World::new(topology, layout, input)?;
    let engine = Engine::new();
    let mut all = Vec::new();
    for service in topology.services() {
        for file in service.component.files {
            all.push(one(&world, &engine, assets, (&service, file))?);
        }
        if !input.facts.sources.contains_key(service.component.name) {
            all.extend(sources(layout, assets, &service));
        }
    }
    Ok(all)
}

/// How `service` is started; an environment variable that renders to nothing is left out.
pub fn service_spec(
    topology: &Topology,
    layout: &Layout,
    input: &Input,
    service: &Service<'_>,
) -> Result<Invocation> {
    let world = World::new(topology, layout, input)?;
    let engine = Engine::new();
    let context = world.context(service)?;
    let name = service.component.name;
    let text =
        |place: &str, source: &str| engine.plain(&format!("{place} of `{name}`"), source, &context);
    let list = |place: &str, sources: &[&str]| {
        sources.iter().map(|source| text(place, source)).collect::<Result<Vec<_>>>()
    };
    let wanted = &service.component.service;
    let mut env = Vec::new();
    for (key, source) in wanted.env {
        let value = text(&format!("environment variable `{key}`"), source)?;
        if !value.is_empty() {
            env.push(((*key).to_owned(), value));
        }
    }
    let check = match wanted.check {
        Some((tool, args)) => Some((tool.to_owned(), list("an argument of the check", args)?)),
        None => None,
    };
    Ok(Invocation { args: list("an argument", wanted.args)?, env, check })
}

fn one(
    world: &World<'_>,
    engine: &Engine,
    assets: &Assets<'_>,
    (service, file): (&Service<'_>, &File),
) -> Result<Rendered> {
    let asset = format!("templates/{}", file.template);
    let bytes = assets.get(&asset).ok_or_else(|| anyhow!("there is no asset `{asset}`"))?;
    let context = || match file.kind {
        Kind::Secret => world.secret_context(service),
        Kind::Template | Kind::Verbatim => world.context(service),
    };
    let contents = match file.kind {
        Kind::Verbatim => bytes.into_owned(),
        Kind::Template | Kind::Secret => {
            engine.file(assets, (&asset, &bytes), &context()?)?.into_bytes()
        }
    };
    let (node, component) = (&service.node.name, service.component.name);
    let (folder, secrecy) = match file.kind {
        Kind::Secret => (world.layout().rendered_secret(node, component), Secrecy::Secret),
        Kind::Template | Kind::Verbatim => {
            (world.layout().rendered(node, component), Secrecy::Public)
        }
    };
    Ok(Rendered { node: node.clone(), component, path: folder.join(file.to), contents, secrecy })
}

/// A component with a folder of its own among the assets (the app) gets it as it is.
fn sources(layout: &Layout, assets: &Assets<'_>, service: &Service<'_>) -> Vec<Rendered> {
    let (node, component) = (&service.node.name, service.component.name);
    let prefix = format!("{component}/");
    let folder = layout.rendered(node, component).join(SOURCE);
    let rendered = |path: String| {
        Some(Rendered {
            node: node.clone(),
            component,
            path: folder.join(path.strip_prefix(&prefix)?),
            contents: assets.get(&path)?.into_owned(),
            secrecy: Secrecy::Public,
        })
    };
    assets.list(&prefix).into_iter().filter_map(rendered).collect()
}

#[cfg(test)]
mod tests;
