//! The supervisor's own loop.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use super::child::{self, Handle};
use super::service::Service;
use super::{Desired, FORMAT, Observed, Paths, client};
use crate::http::Http;
use crate::process::Identity;
use crate::workdir;

/// How often the supervisor looks.
const TICK: Duration = Duration::from_millis(100);
/// How often log files are measured.
const MEASURE: Duration = Duration::from_secs(5);
/// How long somebody who only looks whether a supervisor runs may hold its lock.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// Keeps the services of the stack whose `run` folder is given until it is told to stop or the folder goes away.
pub fn keep(run: &Path, http: &Arc<dyn Http>, stopped: &AtomicBool) -> Result<()> {
    let paths = Paths(run);
    let lock = File::create(paths.lock()).context("cannot open the supervisor's lock")?;
    if !workdir::lock_within(&lock, LOOKED_AT) {
        return Ok(());
    }
    let mut keeper = Keeper::new(run, http)?;
    workdir::write_json(&paths.supervisor(), &keeper.supervisor)?;
    loop {
        if is_gone(run, &lock) {
            keeper.stop_all(|service| Handle::homeless(service.status().process));
            return Ok(());
        }
        if stopped.load(Ordering::Relaxed) {
            keeper.stop_all(|service| service.handle(run));
            keeper.tell();
            return Ok(());
        }
        if let Some(desired) = keeper.read_desired() {
            keeper.take(desired);
        }
        keeper.look();
        keeper.tell();
        thread::sleep(TICK);
    }
}

/// Whether the folder was removed or moved away; one of the same name may be there already.
fn is_gone(run: &Path, lock: &File) -> bool {
    !run.exists() || rustix::fs::fstat(lock).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Tells whether a file is still the one that was read or written.
type Stamp = (SystemTime, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

struct Keeper {
    run: PathBuf,
    http: Arc<dyn Http>,
    supervisor: Identity,
    generation: u64,
    read: Option<Stamp>,
    written: Option<Stamp>,
    services: BTreeMap<String, Service>,
    told: Option<Observed>,
    measured: Instant,
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
            written: None,
            services: BTreeMap::new(),
            told: workdir::read_json(&Paths(run).observed())?,
            measured: Instant::now(),
        })
    }

    /// What is wanted, if that changed since the last look.
    fn read_desired(&mut self) -> Option<Desired> {
        let path = Paths(&self.run).desired();
        let stamp = Some(stamp(&path)?);
        if stamp == self.read {
            return None;
        }
        let desired: Desired = workdir::read_json(&path).ok()??;
        self.read = stamp;
        Some(desired)
    }

    fn take(&mut self, desired: Desired) {
        self.generation = desired.generation;
        let wanted: BTreeSet<&str> =
            desired.services.iter().map(|spec| spec.name.as_str()).collect();
        let kept = |name: &str| wanted.contains(name);
        // Those that a former supervisor kept and this one has not met are dropped too.
        let strange = client::service_names(&self.run).into_iter();
        let strange = strange.filter(|name| !kept(name) && !self.services.contains_key(name));
        let mut dropped: Vec<Handle> = strange.map(|name| Handle::new(&self.run, &name)).collect();
        let known = self.services.iter().filter(|(name, _)| !kept(name));
        dropped.extend(known.map(|(_, service)| service.handle(&self.run)));
        child::stop(&dropped);
        self.services.retain(|name, _| kept(name));
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
        let services = self.services.values().map(|service| service.status().clone()).collect();
        let observed = Observed {
            format: FORMAT,
            supervisor: self.supervisor,
            generation: self.generation,
            services,
        };
        let path = Paths(&self.run).observed();
        let is_told = self.told.as_ref() == Some(&observed) && self.written == stamp(&path);
        // On a full disk the file stays old and is tried again at the next look.
        if !is_told && workdir::replace_json(&path, &observed).is_ok() {
            self.told = Some(observed);
            self.written = stamp(&path);
        }
    }

    fn stop_all(&mut self, handle: impl Fn(&Service) -> Handle) {
        child::stop(&self.services.values().map(handle).collect::<Vec<_>>());
        self.services.clear();
    }
}
