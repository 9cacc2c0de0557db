//! Check 7: the stack listens on exactly the declared ports of its own addresses, and each answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::context::{Context, Sheet};
use super::verdict::{Item, Outcome};
use crate::process::{self, Listener};

/// How long a connection over loopback may take.
const CONNECT: Duration = Duration::from_secs(2);
const WAY_OUT: &str = "run `monstack status`, then `monstack up`";

/// Ports of the table, with what each is called.
type Declared = BTreeMap<SocketAddr, String>;

/// How the machine is looked at.
struct Probe<'a> {
    connect: &'a dyn Fn(SocketAddr) -> io::Result<()>,
    holder: &'a dyn Fn(SocketAddr) -> Option<Listener>,
}

/// Checks the ports.
pub fn check(cx: &Context<'_>, sheet: &mut Sheet) -> Result<()> {
    let connect = |address| TcpStream::connect_timeout(&address, CONNECT).map(drop);
    check_with(cx, sheet, &Probe { connect: &connect, holder: &process::holder })
}

fn check_with(cx: &Context<'_>, sheet: &mut Sheet, probe: &Probe<'_>) -> Result<()> {
    let (lasting, passing) = declared(cx)?;
    let listening: BTreeSet<SocketAddr> =
        cx.subject.listeners.iter().map(|listener| listener.address).collect();
    sheet.items =
        lasting.iter().map(|(address, name)| judge(*address, name, &listening, probe)).collect();
    let known = |address| lasting.contains_key(address) || passing.contains_key(address);
    let extra: Vec<&Listener> =
        cx.subject.listeners.iter().filter(|listener| !known(&listener.address)).collect();
    sheet.items.extend(extra.iter().map(|listener| strange(listener)));
    let answer = sheet.items.iter().filter(|item| item.outcome == Outcome::Proven).count();
    sheet.fact("declared", lasting.len());
    sheet.fact("answering", answer);
    sheet.fact("listening", listening.len());
    sheet.fact("extra", extra.len());
    sheet.summary =
        format!("{answer} of {} declared ports answer, {} others", lasting.len(), extra.len());
    Ok(())
}

/// The ports where something listens all the time, and those where something may.
fn declared(cx: &Context<'_>) -> Result<(Declared, Declared)> {
    let (mut lasting, mut passing) = (Declared::new(), Declared::new());
    for service in cx.subject.topology.services() {
        for port in service.component.ports {
            let text = service.listen(port.name);
            let address =
                text.parse().with_context(|| format!("`{text}` is not an address and port"))?;
            let table = if port.lasting { &mut lasting } else { &mut passing };
            table.insert(address, format!("{} {}", service.component.name, port.name));
        }
    }
    Ok((lasting, passing))
}

fn judge(
    address: SocketAddr,
    name: &str,
    listening: &BTreeSet<SocketAddr>,
    probe: &Probe<'_>,
) -> Item {
    let name = format!("{name} {address}");
    if !listening.contains(&address) {
        let reason = match (probe.holder)(address) {
            None => "nothing listens there".to_owned(),
            Some(holder) => {
                format!("no process of the stack listens there, but {}", holder_name(&holder))
            }
        };
        return Item::failed(name, reason, WAY_OUT);
    }
    match (probe.connect)(address) {
        Ok(()) => Item::proven(name, "answers"),
        Err(error) => Item::failed(name, format!("it does not answer: {error}"), WAY_OUT),
    }
}

/// A socket that the table does not know.
fn strange(listener: &Listener) -> Item {
    let reason = if listener.address.ip().is_unspecified() {
        "it listens on every address of this machine, so others may reach it"
    } else {
        "it listens where no port is declared"
    };
    Item::failed(format!("{} {}", holder_name(listener), listener.address), reason, WAY_OUT)
}

fn holder_name(listener: &Listener) -> String {
    match (&listener.program, listener.pid) {
        (Some(program), Some(pid)) => format!("`{program}` (pid {pid})"),
        _ => format!("a process of the user {}", listener.user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixture::{Fixture, listener};
    use std::net::TcpListener;

    const ALL: &[(&str, &str)] = &[
        ("prometheus", "127.77.1.3:9090"),
        ("alertmanager", "127.77.1.3:9093"),
        ("loki", "127.77.1.4:3100"),
        ("loki", "127.77.1.4:9096"),
        ("grafana", "127.77.1.2:3000"),
        ("node_exporter", "127.77.1.5:9100"),
        ("monstack-agent", "127.77.1.5:9101"),
        ("gunicorn", "127.77.1.5:8000"),
        ("nginx", "127.77.1.5:8080"),
        ("nginx", "127.77.1.5:9102"),
        ("alloy", "127.77.1.5:12345"),
    ];

    fn healthy() -> Fixture {
        let mut fixture = Fixture::new();
        fixture.listeners = ALL.iter().map(|(name, address)| listener(name, address)).collect();
        fixture
    }

    fn run(fixture: &Fixture) -> (Sheet, Outcome) {
        let probe = Probe { connect: &|_| Ok(()), holder: &|_| None };
        let (sheet, error) = fixture.check(|cx, sheet| check_with(cx, sheet, &probe));
        assert!(error.is_none(), "{error:?}");
        let outcome = Outcome::of(&sheet.items);
        (sheet, outcome)
    }

    fn reason(fixture: &Fixture) -> String {
        run(fixture).1.reason().unwrap_or_default().to_owned()
    }

    #[test]
    fn exactly_the_declared_ports_are_proven() {
        let (sheet, outcome) = run(&healthy());
        assert_eq!(outcome, Outcome::Proven, "{:?}", sheet.items);
        assert_eq!(sheet.facts["declared"], ALL.len());
        assert_eq!(sheet.facts["answering"], ALL.len());
        assert_eq!(sheet.facts["extra"], 0);
    }

    #[test]
    fn the_receiver_of_test_alerts_may_listen() {
        let mut fixture = healthy();
        fixture.listeners.push(listener("monstack", "127.77.1.3:9099"));
        assert_eq!(run(&fixture).1, Outcome::Proven);
    }

    #[test]
    fn a_port_where_nothing_listens_is_named() {
        let mut fixture = healthy();
        fixture.listeners.remove(0);
        assert_eq!(reason(&fixture), "prometheus http 127.77.1.3:9090: nothing listens there");
    }

    #[test]
    fn a_stranger_on_a_declared_port_is_named() {
        let mut fixture = healthy();
        fixture.listeners.remove(0);
        let stranger = |address: SocketAddr| Some(listener("other", &address.to_string()));
        let probe = Probe { connect: &|_| Ok(()), holder: &stranger };
        let (sheet, _) = fixture.check(|cx, sheet| check_with(cx, sheet, &probe));
        assert_eq!(
            Outcome::of(&sheet.items).reason(),
            Some(
                "prometheus http 127.77.1.3:9090: \
                 no process of the stack listens there, but `other` (pid 4711)"
            )
        );
    }

    #[test]
    fn a_further_port_is_named_with_its_process() {
        let mut fixture = healthy();
        fixture.listeners.push(listener("prometheus", "127.77.1.3:6060"));
        assert_eq!(
            reason(&fixture),
            "`prometheus` (pid 4711) 127.77.1.3:6060: it listens where no port is declared"
        );
        assert_eq!(run(&fixture).0.facts["extra"], 1);
    }

    #[test]
    fn a_wildcard_address_is_a_fault_even_on_a_declared_port() {
        for wildcard in ["0.0.0.0:9090", "[::]:9090"] {
            let mut fixture = healthy();
            fixture.listeners[0] = listener("prometheus", wildcard);
            let reason = reason(&fixture);
            assert!(
                reason.ends_with(&format!(
                    "`prometheus` (pid 4711) {wildcard}: it listens on every address of this machine, \
                     so others may reach it"
                )),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_component_that_is_missing_declares_nothing() {
        let mut fixture = healthy();
        fixture.without("loki", "none");
        fixture.listeners.retain(|one| one.program.as_deref() != Some("loki"));
        assert_eq!(run(&fixture).1, Outcome::Proven);
        fixture.listeners.push(listener("loki", "127.77.1.4:3100"));
        assert!(
            reason(&fixture).starts_with("`loki` (pid 4711) 127.77.1.4:3100: it listens where")
        );
    }

    #[test]
    fn a_port_that_does_not_answer_is_a_fault() {
        let real = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = real.local_addr().unwrap();
        let fixture = healthy();
        let connect = |address: SocketAddr| {
            if address.port() == 9090 {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            TcpStream::connect(open).map(drop)
        };
        let probe = Probe { connect: &connect, holder: &|_| None };
        let (sheet, _) = fixture.check(|cx, sheet| check_with(cx, sheet, &probe));
        assert_eq!(
            Outcome::of(&sheet.items).reason().unwrap(),
            "prometheus http 127.77.1.3:9090: it does not answer: connection refused"
        );
    }
}
