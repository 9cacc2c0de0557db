//! Loopback addresses and ports of a `local` stack: chosen once, kept in its record, told apart from other stacks'.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::fs::FlockOperation;

use super::{Change, Context, Phase};
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::process::{self, Listener};
use crate::report::Event;
use crate::supervisor::client;
use crate::topology::{Seat, Topology};
use crate::workdir;

/// Takes addresses and ports.
pub struct TakeAddresses;

/// Port on the node `control`, which runs nothing on `local`, that the run which chose a slot holds until it ends.
const HOLD: u16 = 7766;

/// What is added to every port where somebody listens on one of them on all addresses.
const OFFSETS: &[u16] =
    &[0, 10_000, 20_000, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000];

/// How long a port may be held by somebody who is about to go.
const PASSING: Duration = Duration::from_secs(1);

impl Phase for TakeAddresses {
    fn title(&self) -> &'static str {
        "Take addresses"
    }

    fn run(&self, cx: &mut Context<'_>) -> Result<Change> {
        let guard = workdir::append(&cx.user.slots.join("guard"), workdir::PLAIN)?;
        rustix::fs::flock(&guard, FlockOperation::LockExclusive)?;
        if let Some(seat) = seated(cx) {
            refuse_busy(cx, seat)?;
            claim(&cx.user.slots, seat.slot, cx.layout.root())?;
            return Ok(Change::None);
        }
        let (seat, hold) = choose(cx)?;
        cx.state.hold = Some(Arc::new(hold));
        claim(&cx.user.slots, seat.slot, cx.layout.root())?;
        let layout = cx.layout.clone();
        let record = cx.state.record_for(&cx.stack);
        record.seat = Some(seat);
        record.nodes = record.topology().nodes;
        record.save(&layout)?;
        cx.report.event(Event::step(
            "addresses",
            format!("127.77.{}.1 to 127.77.{}.5", seat.slot, seat.slot),
        ));
        Ok(Change::Some)
    }

    fn dry_run(&self, cx: &mut Context<'_>) -> Result<()> {
        if let Some(seat) = seated(cx) {
            return refuse_busy(cx, seat);
        }
        let (seat, _) = choose(cx)?;
        cx.state.would += 1;
        cx.state.record_for(&cx.stack).seat = Some(seat);
        cx.report.event(Event::would(
            "addresses",
            format!("take 127.77.{}.1 to 127.77.{}.5", seat.slot, seat.slot),
        ));
        Ok(())
    }
}

/// The stack's addresses, unless another stack got them while this one was half taken down.
fn seated(cx: &Context<'_>) -> Option<Seat> {
    let seat = cx.state.record.as_ref()?.seat?;
    (!taken_slots(&cx.user.slots, cx.layout.root()).contains(&seat.slot)).then_some(seat)
}

/// A port that cannot be had, and why.
enum Busy {
    /// Somebody listens on this port on every address.
    Everywhere(String),
    /// Somebody listens on this very address.
    Here(String),
}

/// Fails when somebody else holds a port of a stack that has its addresses already.
fn refuse_busy(cx: &Context<'_>, seat: Seat) -> Result<()> {
    let topology = Topology::new(cx.stack.clone(), seat);
    let deadline = Instant::now() + PASSING;
    loop {
        let ours = own_processes(&cx.layout.run());
        let (Busy::Here(holder) | Busy::Everywhere(holder)) = match first_busy(&topology, &ours) {
            None => return Ok(()),
            // A service of ours that is just ending has a port, but is no process any more.
            Some(_) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            Some(busy) => busy,
        };
        let error = failure(Exit::STEP, holder);
        return Err(hinted(
            error,
            "stop that program, or move the stack with `monstack down --keep-data` and `monstack up`",
        ));
    }
}

/// Pids of the stack's own services.
fn own_processes(run: &Path) -> Vec<u32> {
    let leaders: Vec<u32> = client::members(run).iter().map(|member| member.pid).collect();
    process::descendants(&leaders).into_iter().collect()
}

fn choose(cx: &Context<'_>) -> Result<(Seat, TcpListener)> {
    let low_ports = can_bind_low_ports();
    let taken = taken_slots(&cx.user.slots, cx.layout.root());
    // A stack that lost its record, but not its services, stays where it was.
    let ours = own_processes(&cx.layout.run());
    let own = own_slots(&cx.user.slots, cx.layout.root());
    let mut reason = String::new();
    for &offset in OFFSETS {
        for slot in own.iter().copied().chain(1..=254).filter(|slot| !taken.contains(slot)) {
            // A slot that another run has just chosen is not free, though nobody listens on its ports yet.
            let Ok(hold) = TcpListener::bind((Ipv4Addr::new(127, 77, slot, 1), HOLD)) else {
                continue;
            };
            let seat = Seat { slot, offset, low_ports };
            match first_busy(&Topology::new(cx.stack.clone(), seat), &ours) {
                None => {
                    if offset > 0 {
                        let moved =
                            format!("{reason}; the ports of this stack are moved up by {offset}");
                        cx.report.event(Event::warning("ports", moved));
                    }
                    return Ok((seat, hold));
                }
                Some(Busy::Here(_)) => {}
                Some(Busy::Everywhere(holder)) => {
                    reason = holder;
                    break;
                }
            }
        }
    }
    let error = failure(Exit::STEP, format!("no free loopback addresses were found: {reason}"));
    Err(hinted(
        error,
        "stop the program that holds the port, or take down a stack you no longer need",
    ))
}

fn first_busy(topology: &Topology, ours: &[u32]) -> Option<Busy> {
    let addresses = topology.services().flat_map(|service| {
        let address = |port| SocketAddr::from((service.node.address, service.number(port)));
        service.component.ports.iter().map(address).collect::<Vec<_>>()
    });
    let taken: Vec<SocketAddr> = addresses.filter(is_taken).collect();
    if taken.is_empty() {
        return None;
    }
    // Sockets are listed once, for that means reading the descriptors of every process.
    let listeners = process::listeners().unwrap_or_default();
    taken.into_iter().find_map(|address| busy(address, &listeners, ours))
}

fn is_taken(address: &SocketAddr) -> bool {
    matches!(TcpListener::bind(address), Err(error) if error.kind() == ErrorKind::AddrInUse)
}

/// Who holds a taken address, unless it is the stack itself.
fn busy(address: SocketAddr, listeners: &[Listener], ours: &[u32]) -> Option<Busy> {
    let mut holders: Vec<&Listener> =
        listeners.iter().filter(|listener| listener.covers(address)).collect();
    holders.sort_by_key(|holder| holder.address.ip().is_unspecified());
    if holders.iter().any(|holder| holder.pid.is_some_and(|pid| ours.contains(&pid))) {
        return None;
    }
    let who = |holder: &Listener| match (&holder.program, holder.pid) {
        (Some(program), Some(pid)) => format!("`{program}` (pid {pid})"),
        _ => format!("a program of user {}", holder.user),
    };
    Some(match holders.first() {
        Some(holder) if holder.address.ip().is_unspecified() => Busy::Everywhere(format!(
            "port {} is held on every address by {}",
            address.port(),
            who(holder)
        )),
        Some(holder) => Busy::Here(format!("`{address}` is held by {}", who(holder))),
        None => Busy::Here(format!("`{address}` is held by another program")),
    })
}

fn can_bind_low_ports() -> bool {
    let address = SocketAddr::from((Ipv4Addr::new(127, 77, 255, 1), 80));
    !matches!(TcpListener::bind(address), Err(error) if error.kind() == ErrorKind::PermissionDenied)
}

/// Slots of other stacks of this user that still exist.
fn taken_slots(slots: &Path, own: &Path) -> Vec<u8> {
    slots_of(slots, |root| root != own && root.join("stack.json").exists())
}

/// Slots that the stack took before.
fn own_slots(slots: &Path, own: &Path) -> Vec<u8> {
    slots_of(slots, |root| root == own)
}

fn slots_of(slots: &Path, is_wanted: impl Fn(&Path) -> bool) -> Vec<u8> {
    let Ok(entries) = fs::read_dir(slots) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|slot| owner(slots, *slot).is_some_and(|root| is_wanted(&root)))
        .collect()
}

fn owner(slots: &Path, slot: u8) -> Option<std::path::PathBuf> {
    let text = fs::read_to_string(slots.join(slot.to_string())).ok()?;
    Some(text.trim_end_matches('\n').into())
}

fn claim(slots: &Path, slot: u8, root: &Path) -> Result<()> {
    let line = format!("{}\n", root.display());
    workdir::write(&slots.join(slot.to_string()), line.as_bytes(), workdir::PLAIN).map(|_| ())
}

/// Gives the stack's slot back, and any other it took and lost track of.
pub fn release(slots: &Path, root: &Path) -> Result<()> {
    own_slots(slots, root)
        .iter()
        .try_for_each(|slot| workdir::remove(&slots.join(slot.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_held_on_every_address_is_told_from_one_held_here() {
        let wild = TcpListener::bind("0.0.0.0:0").unwrap();
        let address =
            SocketAddr::from((Ipv4Addr::new(127, 77, 251, 3), wild.local_addr().unwrap().port()));
        let listeners = process::listeners().unwrap();
        assert!(is_taken(&address));
        assert!(
            matches!(busy(address, &listeners, &[]), Some(Busy::Everywhere(text)) if text.contains("on every"))
        );
        assert!(busy(address, &listeners, &[std::process::id()]).is_none());
        drop(wild);
        let here = TcpListener::bind((Ipv4Addr::new(127, 77, 251, 3), 0)).unwrap();
        let address = here.local_addr().unwrap();
        let listeners = process::listeners().unwrap();
        assert!(
            matches!(busy(address, &listeners, &[]), Some(Busy::Here(text)) if text.contains("127.77.251.3"))
        );
    }

    #[test]
    fn a_slot_of_a_stack_that_is_gone_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let slots = folder.path().join("slots");
        let root = folder.path().join("other");
        fs::create_dir(&root).unwrap();
        claim(&slots, 7, &root).unwrap();
        assert_eq!(taken_slots(&slots, folder.path()), Vec::<u8>::new());
        fs::write(root.join("stack.json"), "{}").unwrap();
        assert_eq!(taken_slots(&slots, folder.path()), [7]);
        assert_eq!(taken_slots(&slots, &root), Vec::<u8>::new());
        release(&slots, &root).unwrap();
        assert_eq!(owner(&slots, 7), None);
    }
}
