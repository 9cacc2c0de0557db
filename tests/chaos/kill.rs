//! kill -9 of monstack itself, at the start of each phase and at random instants with a fixed seed.
//!
//! `MONSTACK_CHAOS_ROUNDS` sets how often (12), `MONSTACK_CHAOS_SEED` which instants are chosen (1).

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::judge::{NAME, assert_gone, assert_whole, slot, take_down};
use crate::common::{Sandbox, is_lab_skipped};

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
    converged: u32,
    emptied: u32,
    slowest: Duration,
}

/// Numbers that are the same in every run with the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// First the start of each phase, then instants by chance.
fn instances(rounds: u64, dice: &mut Dice) -> Vec<Instance> {
    let starts = |verb, phases| {
        (1..=phases).map(move |phase| Instance { verb, phase, delay: Duration::ZERO })
    };
    let mut all: Vec<Instance> =
        starts(Verb::Up, UP.len()).chain(starts(Verb::Down, DOWN.len())).collect();
    while (all.len() as u64) < rounds {
        let (verb, limits) =
            if dice.below(3) > 0 { (Verb::Up, &UP[..]) } else { (Verb::Down, &DOWN[..]) };
        let phase = usize::try_from(dice.below(limits.len() as u64 + 1)).unwrap();
        let limit = phase.checked_sub(1).map_or(30, |index| limits[index]);
        let delay = Duration::from_micros(dice.below(limit * 1000));
        all.push(Instance { verb, phase, delay });
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
    let rounds = number("MONSTACK_CHAOS_ROUNDS", 12);
    let mut dice = Dice(number("MONSTACK_CHAOS_SEED", 1).max(1));
    let sandbox = Sandbox::new();
    let mut figures = Figures::default();
    for (round, instance) in instances(rounds, &mut dice).into_iter().enumerate() {
        let before = match instance.verb {
            Verb::Up if dice.below(2) == 0 => Before::Nothing,
            _ => Before::Whole,
        };
        let days = format!("components.prometheus.retention={}d", round + 1);
        eprintln!("round {round}: {instance:?} {before:?}");
        prepare(&sandbox, before);
        let slot = slot(&sandbox);
        let lived = match instance.verb {
            Verb::Up => run_and_kill(&sandbox, &["up", "--set", &days], instance),
            Verb::Down => run_and_kill(&sandbox, &["down", "--yes", "--confirm", NAME], instance),
        };
        if lived {
            figures.killed[instance.verb as usize] += 1;
        } else {
            figures.missed += 1;
        }
        if dice.below(2) == 0 {
            empty(&sandbox, slot);
            figures.emptied += 1;
        } else {
            let began = Instant::now();
            sandbox.run(&["up", "--no-verify", "--set", &days]).code(0);
            figures.slowest = figures.slowest.max(began.elapsed());
            assert_whole(&sandbox, &["--set", &days]);
            figures.converged += 1;
        }
    }
    let [up, down] = figures.killed;
    eprintln!(
        "{rounds} rounds: killed `up` {up} times and `down` {down} times, {} had ended before; \
         then `up` converged {} times (slowest {:.1} s), `down` emptied {} times",
        figures.missed,
        figures.converged,
        figures.slowest.as_secs_f64(),
        figures.emptied
    );
    empty(&sandbox, slot(&sandbox));
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
