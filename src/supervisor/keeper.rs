//! The supervisor's own loop.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::fs::FlockOperation;

use super::health::Probe;
use super::rotate::{self, Way};
use super::{Desired, FORMAT, Observed, Paths, Spec, State, Status, child, hash_files};
use crate::component::{Reload, Reopen};
use crate::http::Http;
use crate::process::Identity;
use crate::workdir;

/// How often the supervisor looks.
const TICK: Duration = Duration::from_millis(100);
/// How often log files are measured.
const MEASURE: Duration = Duration::from_secs(5);
/// The first wait before a service is started again; it doubles up to `LONGEST`.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A service that lived this long starts anew with the first wait.
const PROVEN: Duration = Duration::from_secs(60);
/// A service that answered once and then not for this long is started anew.
const HUNG: Duration = Duration::from_secs(30);

/// Keeps the services of the stack whose `run` folder is given until it is told to stop or the folder goes away.
pub fn keep(run: &Path, http: &Arc<dyn Http>, stopped: &AtomicBool) -> Result<()> {
    let paths = Paths(run);
    let lock = File::create(paths.lock()).context("cannot open the supervisor's lock")?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let mut keeper = Keeper::new(run, http)?;
    workdir::write_json(&paths.supervisor(), &keeper.supervisor)?;
    loop {
        let desired = keeper.read_desired();
        let gone = !run.exists();
        if stopped.load(Ordering::Relaxed) || gone {
            keeper.stop_all();
            return Ok(());
        }
        if let Some(desired) = desired {
            keeper.take(desired);
        }
        keeper.look();
        keeper.tell();
        thread::sleep(TICK);
    }
}

struct Keeper {
    run: PathBuf,
    http: Arc<dyn Http>,
    supervisor: Identity,
    generation: u64,
    read: Option<(SystemTime, u64)>,
    services: BTreeMap<String, Service>,
    told: Option<Observed>,
    measured: Instant,
}

struct Service {
    spec: Spec,
    child: Option<Child>,
    status: Status,
    probe: Option<Probe>,
    /// When it may be started, if it does not run.
    due: Instant,
    wait: Duration,
    started: Instant,
}

impl Keeper {
    fn new(run: &Path, http: &Arc<dyn Http>) -> Result<Self> {
        Ok(Self {
            run: run.to_owned(),
            http: Arc::clone(http),
            supervisor: Identity::of(std::process::id())
                .context("cannot read `/proc/self/stat`")?,
            generation: 0,
            read: None,
            services: BTreeMap::new(),
            told: workdir::read_json(&Paths(run).observed())?,
            measured: Instant::now(),
        })
    }

    /// What is wanted, if that changed since the last look.
    fn read_desired(&mut self) -> Option<Desired> {
        let path = Paths(&self.run).desired();
        let metadata = fs::metadata(&path).ok()?;
        let stamp = Some((metadata.modified().ok()?, metadata.len()));
        if stamp == self.read {
            return None;
        }
        let desired: Desired = workdir::read_json(&path).ok()??;
        self.read = stamp;
        Some(desired)
    }

    fn take(&mut self, desired: Desired) {
        self.generation = desired.generation;
        let wanted: Vec<&str> = desired.services.iter().map(|spec| spec.name.as_str()).collect();
        let dropped: Vec<String> =
            self.services.keys().filter(|name| !wanted.contains(&name.as_str())).cloned().collect();
        self.drop_services(&dropped);
        for spec in desired.services {
            let name = spec.name.clone();
            match self.services.get_mut(&name) {
                Some(service) => service.change(&self.run, spec),
                None => {
                    let service = Service::adopt(&self.run, spec, self.told.as_ref());
                    self.services.insert(name, service);
                }
            }
        }
    }

    fn look(&mut self) {
        for service in self.services.values_mut() {
            service.look(&self.run, &self.http);
        }
        if self.measured.elapsed() > MEASURE {
            self.measured = Instant::now();
            self.services.values().for_each(Service::rotate);
        }
    }

    fn tell(&mut self) {
        let services = self.services.values().map(|service| service.status.clone()).collect();
        let observed = Observed {
            format: FORMAT,
            supervisor: self.supervisor,
            generation: self.generation,
            services,
        };
        // On a full disk the file stays old and is tried again at the next look.
        if self.told.as_ref() != Some(&observed)
            && workdir::write_json(&Paths(&self.run).observed(), &observed).is_ok()
        {
            self.told = Some(observed);
        }
    }

    /// Stops services and forgets them; their ends are taken note of, so that none stays behind as a zombie.
    fn drop_services(&mut self, names: &[String]) {
        child::stop(&self.run, names);
        for mut service in names.iter().filter_map(|name| self.services.remove(name)) {
            service.reap();
        }
    }

    fn stop_all(&mut self) {
        let names: Vec<String> = self.services.keys().cloned().collect();
        self.drop_services(&names);
        if self.run.exists() {
            self.tell();
        }
    }
}

impl Service {
    /// Takes over a service: one that a former supervisor left running goes on.
    fn adopt(run: &Path, spec: Spec, told: Option<&Observed>) -> Self {
        let before =
            told.and_then(|told| told.services.iter().find(|status| status.name == spec.name));
        let running = child::recorded(run, &spec.name);
        let fits = running.is_some() && before.is_some_and(|before| before.spec == spec.identity());
        if !fits {
            child::stop(run, std::slice::from_ref(&spec.name));
        }
        let mut status = Status {
            name: spec.name.clone(),
            state: State::Waiting,
            process: None,
            since: Timestamp::now(),
            restarts: before.map_or(0, |before| before.restarts),
            last_exit: before.and_then(|before| before.last_exit.clone()),
            spec: spec.identity(),
            loaded: String::new(),
        };
        if let (true, Some(before)) = (fits, before) {
            status = Status { state: State::Starting, process: running, ..before.clone() };
        } else if before.is_some_and(|before| before.process.is_some()) && running.is_none() {
            status.restarts += 1;
            status.last_exit = Some("ended while no supervisor ran".to_owned());
        }
        let now = Instant::now();
        Self { spec, child: None, status, probe: None, due: now, wait: FIRST, started: now }
    }

    /// Takes a new spec: starts anew, reloads, or only remembers it.
    fn change(&mut self, run: &Path, spec: Spec) {
        let anew = spec.identity() != self.status.spec;
        let probe_moved = spec.health != self.spec.health;
        self.spec = spec;
        if probe_moved {
            self.probe = None;
        }
        if anew {
            self.stop(run);
        } else if self.status.loaded != self.spec.files_hash {
            self.reload(run);
        }
    }

    fn reload(&mut self, run: &Path) {
        match (self.spec.reload, self.status.process) {
            (Reload::Signal(signal), Some(leader)) => {
                self.status.loaded = hash_files(&self.spec.files);
                child::signal(&leader, signal);
            }
            _ => self.stop(run),
        }
    }

    fn stop(&mut self, run: &Path) {
        child::stop(run, std::slice::from_ref(&self.spec.name));
        self.reap();
        self.status.process = None;
        self.status.state = State::Waiting;
        self.probe = None;
        (self.due, self.wait) = (Instant::now(), FIRST);
    }

    fn look(&mut self, run: &Path, http: &Arc<dyn Http>) {
        match self.status.process {
            Some(process) if process.is_alive() => self.check(run, http),
            Some(_) => self.mourn(run),
            None if Instant::now() >= self.due => self.start(run),
            None => {}
        }
    }

    fn start(&mut self, run: &Path) {
        self.status.loaded = hash_files(&self.spec.files);
        self.status.spec = self.spec.identity();
        self.status.since = Timestamp::now();
        self.started = Instant::now();
        match child::start(run, &self.spec) {
            Ok(child) => {
                self.status.process = Identity::of(child.id());
                self.child = Some(child);
                self.status.state = State::Starting;
                self.probe = None;
            }
            Err(error) => {
                self.status.last_exit = Some(format!("{error:#}"));
                self.postpone();
            }
        }
    }

    /// The service ended by itself.
    fn mourn(&mut self, run: &Path) {
        let ended = self.reap().unwrap_or_else(|| "ended".to_owned());
        child::kill(run, &self.spec.name);
        self.status.last_exit = Some(ended);
        self.postpone();
    }

    fn postpone(&mut self) {
        if self.started.elapsed() > PROVEN {
            self.wait = FIRST;
        }
        self.due = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST);
        self.status.restarts += 1;
        self.status.process = None;
        self.status.state = State::Waiting;
        self.probe = None;
    }

    fn check(&mut self, run: &Path, http: &Arc<dyn Http>) {
        let probe = self.probe.get_or_insert_with(|| Probe::start(http, &self.spec.health));
        let seen = probe.seen();
        self.status.state = match (seen.healthy, seen.failing, self.status.state) {
            (Some(_), None, _) => State::Healthy,
            (_, Some(_), State::Healthy | State::Unhealthy) => State::Unhealthy,
            (_, _, before) => before,
        };
        if self.status.state == State::Unhealthy
            && seen.failing.is_some_and(|since| since.elapsed() > HUNG)
        {
            child::stop(run, std::slice::from_ref(&self.spec.name));
            self.reap();
            self.status.last_exit =
                Some(format!("gave no healthy answer for {} s", HUNG.as_secs()));
            self.postpone();
        }
    }

    /// How our own child ended, if it did; an adopted one leaves no status.
    fn reap(&mut self) -> Option<String> {
        let mut child = self.child.take()?;
        child.wait().ok().map(|status| status.to_string())
    }

    fn rotate(&self) {
        let own = if self.spec.reopen == Reopen::Never { Way::Cut } else { Way::Rename };
        let rotated = self
            .spec
            .logs
            .iter()
            .filter(|log| rotate::rotate(log, rotate::LIMIT, own).unwrap_or(false))
            .count();
        if let (true, Reopen::Signal(signal), Some(leader)) =
            (rotated > 0, self.spec.reopen, self.status.process)
        {
            child::signal(&leader, signal);
        }
        // A log that cannot be rotated, on a full disk say, is tried again at the next look.
        let _ = rotate::rotate(&self.spec.log, rotate::LIMIT, Way::Cut);
    }
}
