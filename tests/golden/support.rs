//! Stacks to render, and programs to hand the files to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use monstack::asset::Assets;
use monstack::config::StackFile;
use monstack::layout::Layout;
use monstack::render::{Facts, Input, Rendered, render, service_spec};
use monstack::topology::{Seat, Topology};

/// A stack, and what rendering it needs.
pub struct Stack {
    pub topology: Topology,
    pub layout: Layout,
    pub input: Input,
}

/// The stack that people get without a stack file, below `root`.
pub fn default_stack(root: &Path) -> Stack {
    let topology = Topology::new(StackFile::default(), Seat::default());
    let homes = [("grafana".to_owned(), PathBuf::from("/opt/grafana"))].into();
    let input =
        Input { facts: Facts { worker: None, homes, ..Facts::default() }, ..Input::default() };
    Stack { topology, layout: Layout::new(root), input }
}

/// A stack with everything switched on, and with strings that mean something in every format.
pub fn odd_stack(root: &Path) -> Stack {
    let stack = serde_yaml::from_str(include_str!("odd.yml")).unwrap();
    let topology = Topology::new(stack, Seat { slot: 9, offset: 10_000, low_ports: true });
    let homes = [("grafana".to_owned(), PathBuf::from("/opt/gra fana"))].into();
    let secrets = [(
        "discord_webhook".to_owned(),
        "https://discord.example/api/webhooks/1/canary?a=%7B&b='\"#{{ x }}".to_owned(),
    )];
    let worker = Some(("www data".to_owned(), "adm\"in".to_owned()));
    let input =
        Input { secrets: secrets.into(), facts: Facts { worker, homes, ..Facts::default() } };
    Stack { topology, layout: Layout::new(root), input }
}

/// A folder name that no format takes as it is.
pub const ODD: &str = r#"it's "odd" 100% #1; {x [y]? é"#;

impl Stack {
    pub fn render(&self) -> Vec<Rendered> {
        let none = |_: &str| None;
        render(&self.topology, &self.layout, &Assets::new(&none), &self.input).unwrap()
    }

    /// How every service starts, one fact a line.
    pub fn services(&self) -> String {
        let mut all = String::new();
        for service in self.topology.services() {
            let spec = service_spec(&self.topology, &self.layout, &self.input, &service).unwrap();
            all += &format!("{} on {}\n", service.component.name, service.node.name);
            spec.args.iter().for_each(|arg| all += &format!("  arg {arg}\n"));
            spec.env.iter().for_each(|(name, value)| all += &format!("  env {name}={value}\n"));
            if let Some((tool, args)) = spec.check {
                all += &format!("  check {tool}\n");
                args.iter().for_each(|arg| all += &format!("    arg {arg}\n"));
            }
        }
        all
    }

    /// Writes everything, with the folders that programs expect.
    pub fn write(&self) {
        for file in self.render() {
            fs::create_dir_all(file.path.parent().unwrap()).unwrap();
            fs::write(&file.path, &file.contents).unwrap();
        }
        for service in self.topology.services() {
            fs::create_dir_all(self.layout.data(service.component.name)).unwrap();
        }
        fs::create_dir_all(self.layout.logs()).unwrap();
        fs::create_dir_all(self.layout.secrets()).unwrap();
    }

    /// Runs the check that the catalogue names for `component`.
    pub fn check(&self, component: &str, tool: &Path) -> Output {
        let service = self.topology.service(component).unwrap();
        let spec = service_spec(&self.topology, &self.layout, &self.input, &service).unwrap();
        Command::new(tool).args(spec.check.unwrap().1).output().unwrap()
    }
}

/// The program named `name`, or a loud word that a test is skipped.
pub fn program(name: &str) -> Option<PathBuf> {
    let own = std::env::var_os("MONSTACK_TEST_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = own.into_iter().chain(std::env::split_paths(&path).collect::<Vec<_>>());
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: `{name}` is neither in MONSTACK_TEST_BIN nor on PATH");
    }
    found
}

/// Fails with the program's own words unless it ended well.
pub fn succeeded(what: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{what} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Path of a file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Files below `folder`, sorted.
pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(walk(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}
