//! Where nodes come from: the phases of each target, listed once.

use crate::phase::files::WriteFiles;
use crate::phase::leftovers::{ProveEmpty, RemoveFiles};
use crate::phase::preflight::Preflight;
use crate::phase::programs::FindPrograms;
use crate::phase::prove::Prove;
use crate::phase::seat::TakeAddresses;
use crate::phase::start::StartServices;
use crate::phase::stop::StopServices;
use crate::phase::{Options, Phase};

type Phases = Vec<Box<dyn Phase>>;

/// The phases of `up` on this machine.
pub fn up(options: Options) -> Phases {
    let mut phases = files();
    phases.push(Box::new(StartServices));
    if !options.no_verify {
        phases.push(Box::new(Prove));
    }
    phases
}

/// The phases of `render`: all that `up` does before anything runs.
pub fn files() -> Phases {
    vec![Box::new(Preflight), Box::new(FindPrograms), Box::new(TakeAddresses), Box::new(WriteFiles)]
}

/// The phases of `down`.
pub fn down() -> Phases {
    vec![Box::new(StopServices), Box::new(RemoveFiles), Box::new(ProveEmpty)]
}
