//! The catalogue: what each component is, in one table. A new component is a row, a folder in `templates/` and a role.

mod catalogue;

pub use catalogue::CATALOGUE;

/// One component of the stack.
#[derive(Debug)]
pub struct Component {
    /// Its name in the stack file, in paths and in `status`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Which nodes run it.
    pub place: Place,
    /// Whether the `local` target fails without it; an optional one leaves the stack degraded.
    pub required: bool,
    /// Programs that can fill the role, best first.
    pub programs: &'static [Program],
    /// Ports it listens on; health is asked on the first.
    pub ports: &'static [Port],
    /// Files it is given.
    pub files: &'static [File],
    /// Path on the first port that answers 200 when it is healthy.
    pub health: &'static str,
    /// How Prometheus scrapes it.
    pub job: Option<Job>,
    /// How it runs.
    pub service: Service,
}

/// Which nodes run a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The node of this name (and its copies, for `app`).
    On(&'static str),
    /// Every node; on `local` the node `app`, for there is one machine.
    Everywhere,
}

/// A port of the table that feeds firewall rules, probes and diagrams.
#[derive(Debug)]
pub struct Port {
    /// Its name, unique within the component.
    pub name: &'static str,
    /// The TCP port.
    pub number: u16,
    /// Used on `local` where binding a port below 1024 is refused.
    pub fallback: Option<u16>,
    /// Who may connect.
    pub from: &'static [Peer],
    /// Whether something listens all the time; the receiver of test alerts listens during `verify` only.
    pub lasting: bool,
}

/// Who may connect to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Anybody.
    Everyone,
    /// The addresses of administrators.
    Admin,
    /// The node of this name.
    Node(&'static str),
    /// Every node of the stack.
    EveryNode,
    /// Processes of the same node; the port binds to loopback.
    Loopback,
}

/// A file that a component is given.
#[derive(Debug)]
pub struct File {
    /// Path below `templates/`.
    pub template: &'static str,
    /// Path below the component's folder on the node.
    pub to: &'static str,
    /// How it is made.
    pub kind: Kind,
}

/// How a file is made from its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rendered by Tera.
    Template,
    /// Copied as it is.
    Verbatim,
    /// Rendered by Tera, may embed a secret: lives below `secrets/` with mode 0600.
    Secret,
}

/// A scrape job of Prometheus.
#[derive(Debug)]
pub struct Job {
    /// Name of the job.
    pub name: &'static str,
    /// Name of the component's port.
    pub port: &'static str,
    /// Path of the metrics.
    pub path: &'static str,
}

/// How a component runs as a process.
#[derive(Debug)]
pub struct Service {
    /// Arguments, each a Tera template with the same variables as the component's files.
    pub args: &'static [&'static str],
    /// Environment, values as Tera templates.
    pub env: &'static [(&'static str, &'static str)],
    /// What makes it take up changed files.
    pub reload: Reload,
    /// What makes it reopen its own log files after they were renamed.
    pub reopen: Reopen,
    /// Secrets it reads from files below `secrets/`; a changed one is taken up like a changed file.
    pub secrets: &'static [&'static str],
    /// Log files it writes itself, below the stack's log folder.
    pub logs: &'static [&'static str],
    /// A tool beside the program, and arguments, that check its files before they are used.
    pub check: Option<(&'static str, &'static [&'static str])>,
}

/// What makes a component reopen its own log files after they were renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reopen {
    /// Nothing: its files are copied and cut instead.
    Never,
    /// It notices by itself.
    Itself,
    /// A signal.
    Signal(Signal),
}

/// What makes a component take up changed files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reload {
    /// A signal.
    Signal(Signal),
    /// Stopping and starting it.
    Restart,
}

/// Signals that services understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
}

/// A program that can fill a role.
#[derive(Debug)]
pub struct Program {
    /// Name of the executable.
    pub name: &'static str,
    /// Arguments that make it print its version.
    pub version_args: &'static [&'static str],
    /// What its version text begins with, before the version itself: another program of the same name is not taken for it.
    pub version_mark: &'static str,
    /// How it is had.
    pub supply: Supply,
}

/// How a program is had.
#[derive(Debug)]
pub enum Supply {
    /// A native program of another project.
    Native(Native),
    /// A virtual environment of Python made from the app's hashed requirements.
    Python,
    /// A program of this project, found beside `monstack` itself.
    Sibling,
}

/// A native program: pinned release, distribution package.
#[derive(Debug)]
pub struct Native {
    /// Further names it goes by on PATH.
    pub aliases: &'static [&'static str],
    /// Further programs that come with it and that monstack uses.
    pub tools: &'static [&'static str],
    /// The pinned release.
    pub release: Option<Release>,
    /// The package of Debian and Ubuntu.
    pub package: Option<Package>,
}

/// A pinned release. `{version}` and `{arch}` (`amd64`, `arm64`) are filled in.
#[derive(Debug)]
pub struct Release {
    /// The pinned version.
    pub version: &'static str,
    /// URL of the archive (`.tar.gz` or `.zip`).
    pub url: &'static str,
    /// URL of upstream's checksum file.
    pub checksums: &'static str,
    /// SHA-256 of the archive per architecture, where we know it ourselves.
    pub pins: &'static [(&'static str, &'static str)],
    /// Path of the program in the archive; its tools lie beside it.
    pub program: &'static str,
}

/// A package of Debian and Ubuntu.
#[derive(Debug)]
pub struct Package {
    /// Name of the package.
    pub name: &'static str,
    /// Path of the program in the package, without the leading `/`.
    pub program: &'static str,
    /// Folders below `/usr/` that are compiled into the program and looked for where it was unpacked instead.
    pub shared: &'static [&'static str],
}

impl Component {
    /// The row with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|component| component.name == name)
    }

    /// The pinned release of its first program, where there is one.
    pub fn release(&self) -> Option<&'static str> {
        match &self.programs.first()?.supply {
            Supply::Native(native) => native.release.as_ref().map(|release| release.version),
            Supply::Python | Supply::Sibling => None,
        }
    }

    /// The port of this component with this name.
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_jobs_and_ports_are_unique() {
        let names: BTreeSet<_> = CATALOGUE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        let jobs: Vec<_> =
            CATALOGUE.iter().filter_map(|row| row.job.as_ref()).map(|job| job.name).collect();
        assert_eq!(jobs.iter().collect::<BTreeSet<_>>().len(), jobs.len());
        let ports: Vec<_> =
            CATALOGUE.iter().flat_map(|row| row.ports).map(|port| port.number).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
    }

    #[test]
    fn each_job_names_a_port_of_its_row() {
        for row in CATALOGUE {
            if let Some(job) = &row.job {
                assert!(row.port(job.port).is_some(), "{} has no port `{}`", row.name, job.port);
            }
        }
    }

    #[test]
    fn every_low_port_has_a_fallback() {
        for port in CATALOGUE.iter().flat_map(|row| row.ports) {
            assert!(port.number >= 1024 || port.fallback.is_some(), "port {}", port.number);
        }
    }
}
