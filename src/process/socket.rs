//! Listening TCP sockets, and the processes that hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{name, pids};

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// A listening TCP socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// Where it listens; an IPv4 address that was given in its IPv6 form is shown as IPv4.
    pub address: SocketAddr,
    /// The process that holds it, the lowest number if several do; unknown for other users' processes.
    pub pid: Option<u32>,
    /// Short name of that process.
    pub program: Option<String>,
    /// The user it belongs to.
    pub user: u32,
}

impl Listener {
    /// Whether a connection to `address` reaches this socket.
    pub fn covers(&self, address: SocketAddr) -> bool {
        let takes = match self.address.ip() {
            own if own == address.ip().to_canonical() => true,
            IpAddr::V4(own) => own.is_unspecified() && address.ip().to_canonical().is_ipv4(),
            // Linux lets the wildcard of IPv6 take IPv4 too, unless the program says otherwise.
            IpAddr::V6(own) => own.is_unspecified(),
        };
        takes && self.address.port() == address.port()
    }
}

/// All listening TCP sockets of this machine.
pub fn listeners() -> Result<Vec<Listener>> {
    let sockets = sockets()?;
    Ok(join(&sockets, &holders(pids())))
}

/// The listening TCP sockets that the processes `pids` hold.
pub fn listeners_of(pids: &BTreeSet<u32>) -> Result<Vec<Listener>> {
    let holders = holders(pids.iter().copied());
    let mut sockets = sockets()?;
    sockets.retain(|socket| holders.contains_key(&socket.inode));
    Ok(join(&sockets, &holders))
}

/// The socket that keeps others from listening on `address`: it has the address itself or a wildcard.
pub fn holder(address: SocketAddr) -> Option<Listener> {
    let mut sockets = sockets().ok()?;
    sockets.retain(|socket| socket.listener(&BTreeMap::new()).covers(address));
    let mut found = join(&sockets, &holders(pids()));
    found.sort_by_key(|listener| (listener.address.ip().is_unspecified(), listener.pid.is_none()));
    found.into_iter().next()
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: SocketAddr,
    user: u32,
    inode: u64,
}

impl Socket {
    fn listener(&self, holders: &BTreeMap<u64, u32>) -> Listener {
        let pid = holders.get(&self.inode).copied();
        Listener { address: self.address, pid, program: pid.and_then(name), user: self.user }
    }
}

fn join(sockets: &[Socket], holders: &BTreeMap<u64, u32>) -> Vec<Listener> {
    let mut all: Vec<_> = sockets.iter().map(|socket| socket.listener(holders)).collect();
    all.sort();
    all
}

fn sockets() -> Result<Vec<Socket>> {
    let path = "/proc/net/tcp";
    let four = fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))?;
    // There is no such file where IPv6 is switched off.
    let six = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    Ok(four.lines().chain(six.lines()).filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    Some(Socket {
        address: address(fields.get(1)?)?,
        user: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The kernel prints an address as words of 32 bits in the order of the machine, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for start in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Inodes of sockets with the process that holds each; of several the one with the lowest number.
fn holders(pids: impl Iterator<Item = u32>) -> BTreeMap<u64, u32> {
    let mut found: BTreeMap<u64, u32> = BTreeMap::new();
    for pid in pids {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        for link in links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()) {
            if let Some(inode) = link.to_str().and_then(inode) {
                found.entry(inode).and_modify(|known| *known = pid.min(*known)).or_insert(pid);
            }
        }
    }
    found
}

fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::process::Command;

    fn at(address: &str) -> Listener {
        Listener { address: address.parse().unwrap(), pid: None, program: None, user: 0 }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        // The kernel of a little-endian machine wrote these.
        if cfg!(target_endian = "big") {
            return;
        }
        for (text, wanted) in [
            ("0100007F:1F90", "127.0.0.1:8080"),
            ("03014D7F:2382", "127.77.1.3:9090"),
            ("00000000:07E8", "0.0.0.0:2024"),
            ("00000000000000000000000000000000:0050", "[::]:80"),
            ("00000000000000000000000001000000:0050", "[::1]:80"),
            ("0000000000000000FFFF00000100007F:0050", "127.0.0.1:80"),
            ("B80D0120000000000000000001000000:01BB", "[2001:db8::1]:443"),
        ] {
            assert_eq!(address(text).unwrap(), wanted.parse().unwrap(), "{text}");
        }
        for text in ["", ":", "0100007F", "0100007:50", "0100007F:XYZW", "0100007FFF:0050"] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn only_listening_sockets_are_taken() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when";
        let listen = "   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 528 1 0 100 0 0 10 0";
        let wait = "   1: 020200C0:E6E4 507100CB:0050 06 00000000:00000000 03:000010EF 00000000     0        0 0 3 0";
        assert_eq!(parse(head), None);
        assert_eq!(parse(wait), None);
        let wanted = Socket { address: "0.0.0.0:2024".parse().unwrap(), user: 1000, inode: 528 };
        assert_eq!(parse(listen), Some(wanted));
    }

    #[test]
    fn a_socket_of_this_process_is_found_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let own = std::process::id();
        let found = holder(address).unwrap();
        assert_eq!((found.address, found.pid), (address, Some(own)));
        assert_eq!(found.program, name(own));
        assert_eq!(found.user, rustix::process::geteuid().as_raw());
        assert!(listeners().unwrap().contains(&found));
        assert!(listeners_of(&BTreeSet::from([own])).unwrap().contains(&found));
        assert_eq!(listeners_of(&BTreeSet::from([1])).unwrap().contains(&found), own == 1);
        drop(listener);
        assert_eq!(holder(address), None);
    }

    #[test]
    fn of_several_holders_the_lowest_number_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let own = std::process::id();
        let shared = OwnedFd::from(listener.try_clone().unwrap());
        let mut child = Command::new("sleep").arg("60").stdin(shared).spawn().unwrap();
        let pid = child.id();
        let both = holder(address).unwrap().pid;
        let of_child = listeners_of(&BTreeSet::from([pid])).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(both, Some(own.min(pid)));
        assert!(of_child.iter().any(|one| one.address == address && one.pid == Some(pid)));
    }

    #[test]
    fn a_wildcard_holds_the_port_on_every_address() {
        let address = "127.77.1.3:9090".parse().unwrap();
        assert!(at("127.77.1.3:9090").covers(address));
        assert!(at("0.0.0.0:9090").covers(address));
        assert!(at("[::]:9090").covers(address));
        assert!(!at("0.0.0.0:9091").covers(address));
        assert!(!at("127.77.1.4:9090").covers(address));
        assert!(!at("[::1]:9090").covers(address));
        assert!(!at("0.0.0.0:9090").covers("[::1]:9090".parse().unwrap()));
        assert!(at("127.0.0.1:80").covers("[::ffff:127.0.0.1]:80".parse().unwrap()));
    }

    #[test]
    fn inodes_come_from_socket_links_only() {
        assert_eq!(inode("socket:[528]"), Some(528));
        for link in ["/dev/null", "pipe:[528]", "socket:[]", "socket:[x]", "anon_inode:[eventpoll]"]
        {
            assert_eq!(inode(link), None, "{link}");
        }
    }
}
