//! kill -9 of monstack itself, at the start of each phase and at random instants with a fixed seed.
//!
//! `MONSTACK_CHAOS_ROUNDS` sets how often (12), `MONSTACK_CHAOS_SEED` which instants are chosen (1). Of more than 12
//! rounds, those that kill the search for programs begin with an empty cache.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::dice::{Dice, setting};
use crate::common::judge::{NAME, assert_gone, assert_whole, slot, take_down};
use crate::common::{Sandbox, is_lab_skipped};

/// Milliseconds that the search for programs may take on an empty cache.
const COLD: u64 = 25_000;
/// Milliseconds that each phase may take on a warm cache; a random instant lies in them.
const UP: [u64; 6] = [20, 60, 200, 400, 1800, 12_000];
const DOWN: [u64; 3] = [1300, 150, 60];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Up,
    Down,
}

/// The instant of a kill: so long after the start of the process (phase 0) or of a phase.
#[derive(Clone, Copy, Debug)]
struct Instance {
    verb: Verb,
    phase: usize,
    delay: Duration,
    cache: Cache,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Warm,
    Cold,
}

/// What is there before the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Whole,
}

#[derive(Default)]
struct Figures {
    killed: [u32; 2],
    missed: u32,
    cold: u32,
    converged: u32,
    emptied: u32,
    slowest: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { killed: [up, down], missed, cold, converged, emptied, slowest } = self;
        write!(f, "killed `up` {up} times ({cold} with an empty cache) and `down` {down} times, ")?;
        write!(f, "{missed} had ended before; then `up` converged {converged} times ")?;
        write!(f, "(slowest {:.1} s), `down` emptied {emptied} times", slowest.as_secs_f64())
    }
}

/// First the start of each phase, then instants by chance.
fn instances(rounds: u64, dice: &mut Dice) -> Vec<Instance> {
    let starts = |verb, phases| {
        let delay = Duration::ZERO;
        (1..=phases).map(move |phase| Instance { verb, phase, delay, cache: Cache::Warm })
    };
    let mut all: Vec<Instance> =
        starts(Verb::Up, UP.len()).chain(starts(Verb::Down, DOWN.len())).collect();
    while (all.len() as u64) < rounds {
        let (verb, limits) =
            if dice.below(3) > 0 { (Verb::Up, &UP[..]) } else { (Verb::Down, &DOWN[..]) };
        let phase = usize::try_from(dice.below(limits.len() as u64 + 1)).unwrap();
        let cache =
            if (verb, phase) == (Verb::Up, 2) && rounds > 12 { Cache::Cold } else { Cache::Warm };
        let warm = phase.checked_sub(1).map_or(30, |index| limits[index]);
        let limit = if cache == Cache::Cold { COLD } else { warm };
        let delay = Duration::from_micros(dice.below(limit * 1000));
        all.push(Instance { verb, phase, delay, cache });
    }
    all
}

/// Runs `monstack ARGS` and kills it at the instant; says whether it lived that long.
fn run_and_kill(sandbox: &Sandbox, args: &[&str], instance: Instance) -> bool {
    let mut child = sandbox.command(args).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mark = format!("[{}/", instance.phase);
    if instance.phase == 0 || lines.any(|line| line.starts_with(&mark)) {
        std::thread::sleep(instance.delay);
    }
    let lived = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    lived
}

#[test]
fn killing_monstack_at_any_instant_loses_nothing() {
    if is_lab_skipped("killing monstack") {
        return;
    }
    let rounds = setting("MONSTACK_CHAOS_ROUNDS", 12);
    let mut dice = Dice::new();
    let mut sandbox = Sandbox::new();
    let mut figures = Figures::default();
    for (round, instance) in instances(rounds, &mut dice).into_iter().enumerate() {
        let before = match instance.verb {
            _ if instance.cache == Cache::Cold => Before::Nothing,
            Verb::Up if dice.below(2) == 0 => Before::Nothing,
            _ => Before::Whole,
        };
        eprintln!("round {round}: {instance:?} {before:?}");
        prepare(&sandbox, before);
        if instance.cache == Cache::Warm {
            kill_and_go_on(&sandbox, (round, instance), &mut dice, &mut figures);
            continue;
        }
        let cold = tempfile::tempdir().unwrap();
        let warm = std::mem::replace(&mut sandbox.cache, cold.path().to_owned());
        kill_and_go_on(&sandbox, (round, instance), &mut dice, &mut figures);
        prepare(&sandbox, Before::Nothing);
        sandbox.cache = warm;
        figures.cold += 1;
    }
    eprintln!("{rounds} rounds: {figures}");
    prepare(&sandbox, Before::Nothing);
}

/// One kill, and then either `up` or `down`, by chance.
fn kill_and_go_on(
    sandbox: &Sandbox,
    (round, instance): (usize, Instance),
    dice: &mut Dice,
    figures: &mut Figures,
) {
    let slot = slot(sandbox);
    let days = format!("components.prometheus.retention={}d", round + 1);
    let lived = match instance.verb {
        Verb::Up => run_and_kill(sandbox, &["up", "--set", &days], instance),
        Verb::Down => run_and_kill(sandbox, &["down", "--yes", "--confirm", NAME], instance),
    };
    if lived {
        figures.killed[instance.verb as usize] += 1;
    } else {
        figures.missed += 1;
    }
    if dice.below(2) == 0 {
        empty(sandbox, slot);
        figures.emptied += 1;
        return;
    }
    let began = Instant::now();
    sandbox.run(&["up", "--no-verify", "--set", &days]).code(0);
    if instance.cache == Cache::Warm {
        figures.slowest = figures.slowest.max(began.elapsed());
    }
    assert_whole(sandbox, &["--set", &days]);
    figures.converged += 1;
}

fn prepare(sandbox: &Sandbox, before: Before) {
    match before {
        Before::Nothing => empty(sandbox, slot(sandbox)),
        Before::Whole => {
            sandbox.run(&["up", "--no-verify"]).code(0);
            assert_whole(sandbox, &[]);
        }
    }
}

/// `down` of whatever a kill left; where that was nothing at all, it says so.
fn empty(sandbox: &Sandbox, slot: Option<u8>) {
    if sandbox.stack(NAME).exists() {
        take_down(sandbox);
    } else {
        sandbox.run(&["down", "--yes", "--confirm", NAME]).code(6);
    }
    assert_gone(sandbox, slot);
}
