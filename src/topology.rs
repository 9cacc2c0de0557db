//! The stack as nodes and services: valid if it exists.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::component::{CATALOGUE, Component, Place, Port};
use crate::config::StackFile;

/// Names of the nodes, in the order of their addresses (`.1` and up).
pub const NODES: &[&str] = &["control", "grafana", "prometheus", "loki", "app"];

/// A stack: nodes, what runs on them, settings.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The stack file it was made from, with all defaults filled in.
    pub stack: StackFile,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Where it sits on this machine.
    pub seat: Seat,
    /// Components that cannot be had here, with the reason.
    pub missing: BTreeMap<&'static str, String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Where a `local` stack sits: its loopback addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Third byte of the addresses 127.77.S.N, 1 to 254.
    pub slot: u8,
    /// Added to every port.
    pub offset: u16,
    /// Whether ports below 1024 can be bound.
    pub low_ports: bool,
}

impl Default for Seat {
    fn default() -> Self {
        Self { slot: 1, offset: 0, low_ports: false }
    }
}

/// A component on a node.
#[derive(Clone, Debug)]
pub struct Service<'a> {
    /// The row of the catalogue.
    pub component: &'static Component,
    /// The node it runs on.
    pub node: &'a Node,
    seat: Seat,
}

impl Topology {
    /// The topology of a checked stack file, seated at `seat`.
    pub fn new(stack: StackFile, seat: Seat) -> Self {
        let nodes = (1u8..)
            .zip(NODES)
            .map(|(number, name)| Node {
                name: (*name).to_owned(),
                address: Ipv4Addr::new(127, 77, seat.slot, number),
            })
            .collect();
        Self { stack, nodes, seat, missing: BTreeMap::new() }
    }

    /// Everything that runs, in the order of the catalogue; missing components are left out.
    pub fn services(&self) -> impl Iterator<Item = Service<'_>> {
        CATALOGUE
            .iter()
            .filter(|component| !self.missing.contains_key(component.name))
            .flat_map(|component| self.nodes_of(component).map(move |node| (component, node)))
            .map(|(component, node)| Service { component, node, seat: self.seat })
    }

    /// The first service of this name, unless it is missing.
    pub fn service(&self, name: &str) -> Option<Service<'_>> {
        self.services().find(|service| service.component.name == name)
    }

    fn nodes_of(&self, component: &'static Component) -> impl Iterator<Item = &Node> {
        let home = match component.place {
            Place::On(name) => name,
            Place::Everywhere => "app",
        };
        self.nodes.iter().filter(move |node| node.name == home)
    }
}

impl Service<'_> {
    /// The number that `port` has here.
    pub fn number(&self, port: &Port) -> u16 {
        let number = match port.fallback {
            Some(fallback) if self.seat.offset > 0 || !self.seat.low_ports => fallback,
            _ => port.number,
        };
        number + self.seat.offset
    }

    /// `address:port` of the port named `name`; of the first one if there is none of that name.
    pub fn listen(&self, name: &str) -> String {
        let port = self.component.port(name).or(self.component.ports.first());
        format!("{}:{}", self.node.address, port.map_or(0, |port| self.number(port)))
    }

    /// URL of the first port.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen("http"))
    }

    /// URL that answers 200 when the service is healthy.
    pub fn health(&self) -> String {
        format!("{}{}", self.url(), self.component.health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(seat: Seat) -> Topology {
        Topology::new(StackFile::default(), seat)
    }

    #[test]
    fn nodes_have_loopback_addresses_of_the_slot() {
        let topology = topology(Seat { slot: 9, offset: 0, low_ports: true });
        assert_eq!(topology.nodes[4].address.to_string(), "127.77.9.5");
        assert_eq!(topology.service("nginx").unwrap().url(), "http://127.77.9.5:80");
    }

    #[test]
    fn an_unprivileged_stack_serves_the_app_on_8080() {
        let topology = topology(Seat::default());
        assert_eq!(topology.service("nginx").unwrap().url(), "http://127.77.1.5:8080");
    }

    #[test]
    fn an_offset_moves_every_port() {
        let topology = topology(Seat { slot: 1, offset: 10_000, low_ports: true });
        assert_eq!(topology.service("prometheus").unwrap().listen("http"), "127.77.1.3:19090");
        assert_eq!(topology.service("nginx").unwrap().listen("http"), "127.77.1.5:18080");
    }

    #[test]
    fn a_missing_component_does_not_run() {
        let mut topology = topology(Seat::default());
        topology.missing.insert("loki", "no program".to_owned());
        assert!(topology.service("loki").is_none());
    }
}
