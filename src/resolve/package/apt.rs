//! `apt-get` and `dpkg-deb`, as commands that read the system's sources and write below the cache only.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::super::attempt::Wanted;
use super::super::cache::{self, Lock};
use super::super::{Sources, disk, search};
use crate::error::exit_of;
use crate::exec::Cmd;
use crate::exit::Exit;
use crate::report::Event;

/// How long package lists that this program refreshed are used.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// How long a failed refresh is not tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// Room that a refresh needs; on a full disk `apt-get update` waits for ever.
const ROOM: u64 = 200 << 20;
/// How long one command may take; package lists are tens of megabytes.
const TIMEOUT: Duration = Duration::from_secs(300);
/// What the machine does after a refresh of its own lists is not done after ours.
const CONFIGURATION: &str = "#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
";

/// Which package lists are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// Those of the machine.
    System,
    /// Our own, made from the machine's sources.
    Own,
}

impl fmt::Display for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "by the machine's package lists",
            Self::Own => "by fresh package lists",
        })
    }
}

/// A package that would be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub arch: String,
}

impl Planned {
    /// Whether it holds shared libraries. The C library is left out: another one than the loader's crashes.
    pub(super) fn is_library(&self) -> bool {
        self.name.starts_with("lib") && self.name != "libc6" && self.arch != "all"
    }

    /// The version without the epoch before it.
    pub(super) fn upstream_version(&self) -> &str {
        self.version.split_once(':').map_or(&self.version, |(_, version)| version)
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.version)
    }
}

/// The tools of the distribution.
pub(super) struct Apt<'a> {
    get: PathBuf,
    extract: PathBuf,
    folder: PathBuf,
    sources: &'a Sources<'a>,
}

impl<'a> Apt<'a> {
    /// The tools, if this is Debian, Ubuntu or one of their kin.
    pub(super) fn find(wanted: &Wanted<'a>) -> Result<Self> {
        let sources = wanted.sources;
        let tool = |name: &str| {
            search::first(&sources.path, name)
                .with_context(|| format!("there is no `{name}`, so this is not Debian or Ubuntu"))
        };
        let folder = sources.cache.join("apt");
        Ok(Self { get: tool("apt-get")?, extract: tool("dpkg-deb")?, folder, sources })
    }

    /// Makes what apt wants to find, and refreshes our own lists unless they are fresh.
    pub(super) fn prepare(&self, lists: Lists) -> Result<()> {
        let own = Lock::take(&self.folder.join(".configuration.lock"), self.sources)?;
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            disk::make_folder(&self.place(lists).join(folder))?;
        }
        cache::write(&self.configuration(), CONFIGURATION.as_bytes())?;
        drop(own);
        match lists {
            Lists::System => Ok(()),
            Lists::Own => self.refresh(),
        }
    }

    fn refresh(&self) -> Result<()> {
        let _alone = Lock::take(&self.folder.join(".lists.lock"), self.sources)?;
        let (done, failed) = (self.marker("refreshed"), self.marker("failed"));
        let since =
            |marker: &Path, long: Duration| cache::age(marker).is_some_and(|age| age < long);
        if since(&done, FRESH) || since(&failed, AGAIN) {
            return Ok(());
        }
        disk::need_room(&self.folder, ROOM)?;
        let event = Event::step("apt", "refreshing package lists below the cache");
        self.sources.report.event(event);
        let refreshed = self.run(&self.apt(Lists::Own).args(["update"]));
        self.sources.check()?;
        // A source of somebody else's may be broken; whether the rest will do is seen when it is used.
        cache::write(if refreshed.is_ok() { &done } else { &failed }, b"")
    }

    /// What installing `package` would install: itself and what is missing.
    pub(super) fn plan(&self, lists: Lists, package: &str) -> Result<Vec<Planned>> {
        let cmd = self.apt(lists).args(["-s", "install", "--no-install-recommends", package]);
        let text = self.sources.runner.read(&cmd).or_else(|error| self.failed(error))?;
        Ok(text.lines().filter_map(planned).collect())
    }

    /// Downloads packages into `folder`; apt checks them against the signed lists.
    pub(super) fn download(&self, lists: Lists, packages: &[String], folder: &Path) -> Result<()> {
        let cmd = self.apt(lists).args(["download"]).args(packages).dir(folder);
        self.run(&cmd)?;
        if disk::entries(folder).len() < packages.len() {
            bail!("`apt-get download` did not bring {}", packages.join(", "));
        }
        Ok(())
    }

    /// Unpacks a package into `folder`.
    pub(super) fn extract(&self, package: &Path, folder: &Path) -> Result<()> {
        let cmd = Cmd::write(&self.extract).args(["-x"]).args([package, folder]).timeout(TIMEOUT);
        self.run(&cmd)
    }

    fn run(&self, cmd: &Cmd) -> Result<()> {
        self.sources.runner.run(cmd, &mut |_| {}).or_else(|error| self.failed(error))
    }

    /// The error with apt's own words and without the command, which is long.
    fn failed<T>(&self, error: anyhow::Error) -> Result<T> {
        match exit_of(&error) {
            Exit::INTERRUPTED => Err(error),
            Exit::TIMEOUT => bail!("apt took more than {} s", TIMEOUT.as_secs()),
            _ => disk::failed("apt", &self.folder, &error),
        }
    }

    /// A file whose age says when the lists were refreshed, or could not be.
    fn marker(&self, name: &str) -> PathBuf {
        self.place(Lists::Own).join(name)
    }

    fn place(&self, lists: Lists) -> PathBuf {
        self.folder.join(match lists {
            Lists::System => "system",
            Lists::Own => "own",
        })
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("apt.conf")
    }

    /// `apt-get` with everything that it writes below the cache.
    fn apt(&self, lists: Lists) -> Cmd {
        let place = self.place(lists);
        let mut options = vec![
            format!("Dir::Cache={}", place.join("cache").display()),
            "Dir::State::status=/var/lib/dpkg/status".to_owned(),
            "Debug::NoLocking=1".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=1".to_owned(),
            "Acquire::http::Timeout=15".to_owned(),
            "Acquire::https::Timeout=15".to_owned(),
        ];
        if lists == Lists::Own {
            options.push(format!("Dir::State={}", place.join("state").display()));
        }
        if rustix::process::geteuid().is_root() {
            // The user `_apt`, as whom root's apt fetches, cannot write into the cache of another user.
            options.push("APT::Sandbox::User=root".to_owned());
        }
        let cmd = Cmd::write(&self.get).args(["-q", "-c"]).args([self.configuration()]);
        options
            .iter()
            .fold(cmd, |cmd, option| cmd.args(["-o", option]))
            .env("LC_ALL", "C")
            .timeout(TIMEOUT)
    }
}

/// A line `Inst name [old version] (version origin [arch])` of a simulation.
fn planned(line: &str) -> Option<Planned> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    let (_, rest) = rest.split_once('(')?;
    let (inside, _) = rest.split_once(')')?;
    let (version, _) = inside.split_once(' ')?;
    let (_, arch) = inside.rsplit_once('[')?;
    let arch = arch.trim_end_matches(']');
    let name = name.split(':').next().unwrap_or(name);
    Some(Planned { name: name.to_owned(), version: version.to_owned(), arch: arch.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_says_what_is_missing() {
        let text = "\
Reading package lists...
Inst libssl3 [3.0.11-1] (3.0.15-1~deb12u1 Debian:12/stable [amd64]) []
Inst nginx-common (1.22.1-9+deb12u10 Debian-Security:12/oldstable-security [all])
Inst libfoo:i386 (1:2.0-1 Debian:12/stable [i386])
Inst nginx (1.22.1-9+deb12u10 Debian-Security:12/oldstable-security [amd64])
Conf nginx (1.22.1-9+deb12u10 Debian-Security:12/oldstable-security [amd64])";
        let plan: Vec<_> = text.lines().filter_map(planned).collect();
        let shown: Vec<_> = plan.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "libssl3=3.0.15-1~deb12u1",
                "nginx-common=1.22.1-9+deb12u10",
                "libfoo=1:2.0-1",
                "nginx=1.22.1-9+deb12u10",
            ]
        );
        let libraries: Vec<_> = plan.iter().map(Planned::is_library).collect();
        assert_eq!(libraries, [true, false, true, false]);
        assert_eq!(plan[2].upstream_version(), "2.0-1");
    }
}
