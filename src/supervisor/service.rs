//! One service: started, asked how it is, started anew, stopped.

use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;

use super::child::{self, Handle};
use super::health::Probe;
use super::rotate::{self, Way};
use super::{Observed, Spec, State, Status, hash_files};
use crate::component::{Reload, Reopen};
use crate::http::Http;
use crate::process::{self, Identity};

/// The first wait before a service is started again; it doubles up to `LONGEST`.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A service that lived this long starts anew with the first wait.
const PROVEN: Duration = Duration::from_secs(60);
/// A service that answered once and then not for this long is started anew.
const HUNG: Duration = Duration::from_secs(30);

/// A service in the supervisor's hands.
pub struct Service {
    spec: Spec,
    child: Option<Child>,
    status: Status,
    probe: Option<Probe>,
    /// When it is killed, if it was asked to stop because it hangs.
    doomed: Option<Instant>,
    /// When it may be started, if it does not run.
    due: Instant,
    wait: Duration,
    started: Instant,
}

impl Service {
    /// Takes over a service: one that a former supervisor left running goes on.
    pub fn adopt(run: &Path, spec: Spec, told: Option<&Observed>) -> Self {
        let before =
            told.and_then(|told| told.services.iter().find(|status| status.name == spec.name));
        let handle = Handle::new(run, &spec.name);
        let running = handle.recorded();
        let fits = running.is_some() && before.is_some_and(|before| before.spec == spec.identity());
        if !fits {
            child::stop(&[handle]);
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
        let (child, probe, doomed) = (None, None, None);
        let mut service =
            Self { spec, child, status, probe, doomed, due: now, wait: FIRST, started: now };
        if fits && service.status.loaded != service.spec.files_hash {
            // Its files were changed while no supervisor ran.
            service.reload(run);
        }
        service
    }

    /// How it is.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Its processes, whatever became of its files.
    pub fn handle(&self, run: &Path) -> Handle {
        Handle::new(run, &self.spec.name).remember(self.status.process)
    }

    /// Takes a new spec: starts anew, reloads, or only remembers it.
    pub fn change(&mut self, run: &Path, spec: Spec) {
        let anew = spec.identity() != self.status.spec;
        let probe_moved = spec.health != self.spec.health;
        self.spec = spec;
        if probe_moved {
            self.probe = None;
        }
        if self.status.state == State::Waiting {
            // Somebody has just asked for it, and may have mended what ended it.
            (self.due, self.wait) = (Instant::now(), FIRST);
        } else if anew {
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
        child::stop(&[self.handle(run)]);
        self.reap();
        self.rest();
        (self.due, self.wait) = (Instant::now(), FIRST);
    }

    pub fn look(&mut self, run: &Path, http: &Arc<dyn Http>) {
        match self.status.process {
            Some(process) if process.is_alive() => self.check(&process, http),
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

    /// The service ended by itself, or because it hung.
    fn mourn(&mut self, run: &Path) {
        let ended = self.reap().unwrap_or_else(|| "ended".to_owned());
        child::kill(&self.handle(run));
        self.status.last_exit = Some(match self.doomed {
            Some(_) => format!("gave no healthy answer for {} s", HUNG.as_secs()),
            None => ended,
        });
        self.postpone();
    }

    fn postpone(&mut self) {
        if self.started.elapsed() > PROVEN {
            self.wait = FIRST;
        }
        self.due = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST);
        self.status.restarts += 1;
        self.rest();
    }

    fn rest(&mut self) {
        self.status.process = None;
        self.status.state = State::Waiting;
        (self.probe, self.doomed) = (None, None);
    }

    fn check(&mut self, leader: &Identity, http: &Arc<dyn Http>) {
        let probe = self.probe.get_or_insert_with(|| Probe::start(http, &self.spec.health));
        let seen = probe.seen();
        self.status.state = match (seen.healthy, seen.failing, self.status.state) {
            (Some(_), None, _) => State::Healthy,
            (_, Some(_), State::Healthy | State::Unhealthy) => State::Unhealthy,
            (_, _, before) => before,
        };
        let hangs = self.status.state == State::Unhealthy
            && seen.failing.is_some_and(|since| since.elapsed() > HUNG);
        match self.doomed {
            None if hangs => {
                // A stopped process would not even hear the request; it is killed when the grace is over.
                self.doomed = Some(Instant::now() + child::GRACE);
                let _ = process::signal(*leader, Signal::TERM);
            }
            Some(end) if Instant::now() > end => {
                let _ = process::signal(*leader, Signal::KILL);
            }
            _ => {}
        }
    }

    /// How our own child ended, if it did; an adopted one leaves no status.
    fn reap(&mut self) -> Option<String> {
        let mut child = self.child.take()?;
        child.wait().ok().map(|status| status.to_string())
    }

    pub fn rotate(&self) {
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

impl Drop for Service {
    /// A service that was stopped is taken note of, so that it does not stay behind as a zombie.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that could not be stopped goes on without us.
            let _ = child.try_wait();
        }
    }
}
