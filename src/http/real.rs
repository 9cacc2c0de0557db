//! The real `Http`, over ureq.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Response as Answer;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{Http, Method, Progress, Receiver, Request, Response};

mod download;

pub use download::{Broken, check_url, is_loopback};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take unless the request says otherwise.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest body that is read into memory.
const BODY_LIMIT: u64 = 64 << 20;
/// How long a download may stall between two reads.
const STALL: Duration = Duration::from_secs(20);

/// Asks servers over the network. A proxy of the environment is used for all but loopback addresses,
/// and certificates are checked against the machine's own store.
pub struct Real {
    interrupted: Arc<AtomicBool>,
    stall: Duration,
    near: Agent,
    far: OnceLock<(Config, Agent)>,
}

impl Default for Real {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Real {
    /// A client whose downloads end when `interrupted` becomes true.
    pub fn new(interrupted: Arc<AtomicBool>) -> Self {
        let near = builder().proxy(None).build();
        Self { interrupted, stall: STALL, near: near.into(), far: OnceLock::new() }
    }

    /// Changes how long a download may stall.
    #[must_use]
    pub fn stall(mut self, stall: Duration) -> Self {
        self.stall = stall;
        self
    }

    /// What asks `url`: this machine directly, others through the proxy if there is one.
    fn agent(&self, url: &str) -> &Agent {
        if is_loopback(url) { &self.near } else { &self.far().1 }
    }

    /// The way to other machines, made when it is first needed because reading certificates takes milliseconds.
    fn far(&self) -> &(Config, Agent) {
        self.far.get_or_init(|| {
            let config =
                builder().tls_config(TlsConfig::builder().root_certs(roots()).build()).build();
            let agent = Agent::new_with_config(config.clone());
            (config, agent)
        })
    }
}

fn builder() -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    Agent::config_builder()
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .http_status_as_error(false)
        .user_agent(concat!("monstack/", env!("CARGO_PKG_VERSION")))
}

/// The machine's certificates (`SSL_CERT_FILE` is honoured); Mozilla's where the machine has none, as in small containers.
fn roots() -> RootCerts {
    let native = rustls_native_certs::load_native_certs().certs;
    if native.is_empty() {
        return RootCerts::WebPki;
    }
    let all = native.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
    RootCerts::Specific(Arc::new(all))
}

impl Http for Real {
    fn send(&self, request: &Request) -> Result<Response> {
        let answer =
            self.answer(request).with_context(|| format!("no answer from `{}`", request.url))?;
        let status = answer.status().as_u16();
        let body = answer
            .into_body()
            .into_with_config()
            .limit(BODY_LIMIT)
            .read_to_vec()
            .with_context(|| format!("the answer of `{}` broke off", request.url))?;
        Ok(Response { status, body })
    }

    fn download(&self, url: &str, into: &mut dyn Write, progress: &mut Progress<'_>) -> Result<()> {
        download::download(self, url, (into, progress))
    }

    fn receive(&self, address: SocketAddr) -> Result<Box<dyn Receiver>> {
        if !address.ip().is_loopback() {
            bail!("`{address}` is not a loopback address");
        }
        let listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on `{address}`"))?;
        listener.set_nonblocking(true)?;
        Ok(Box::new(Listener { listener }))
    }
}

impl Real {
    fn answer(&self, request: &Request) -> Result<Answer<ureq::Body>, ureq::Error> {
        let timeout = Some(request.timeout.unwrap_or(ANSWER));
        let agent = self.agent(&request.url);
        match request.method {
            Method::Get => {
                let builder = request
                    .headers
                    .iter()
                    .fold(agent.get(&request.url), |builder, (name, value)| {
                        builder.header(name, value)
                    });
                builder.config().timeout_global(timeout).build().call()
            }
            Method::Post => {
                let builder = request
                    .headers
                    .iter()
                    .fold(agent.post(&request.url), |builder, (name, value)| {
                        builder.header(name, value)
                    });
                builder.config().timeout_global(timeout).build().send(&request.body[..])
            }
        }
    }
}

/// A listener that reads one `POST` per connection and answers 200.
struct Listener {
    listener: TcpListener,
}

impl Receiver for Listener {
    fn next(&mut self, timeout: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // A caller that breaks off is not the one we wait for.
                    if let Ok(body) = take_post(stream) {
                        return Some(body);
                    }
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        None
    }
}

fn take_post(mut stream: TcpStream) -> Result<Vec<u8>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(CONNECT))?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let (head, length) = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break (end + 4, content_length(&bytes[..end]));
        }
        read_some(&mut stream, &mut buffer, &mut bytes)?;
    };
    while bytes.len() < head + length {
        read_some(&mut stream, &mut buffer, &mut bytes)?;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(bytes.split_off(head))
}

fn read_some(stream: &mut TcpStream, buffer: &mut [u8], bytes: &mut Vec<u8>) -> Result<()> {
    let count = stream.read(buffer)?;
    if count == 0 || bytes.len() > 4 << 20 {
        bail!("the request broke off");
    }
    bytes.extend_from_slice(&buffer[..count]);
    Ok(())
}

fn content_length(head: &[u8]) -> usize {
    String::from_utf8_lossy(head)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_gets_what_is_posted() {
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap();
        drop(probe);
        let http = Real::default();
        let mut receiver = http.receive(address).unwrap();
        let sender = std::thread::spawn(move || {
            let request =
                Request::post(format!("http://{address}/"), "application/json", "{\"a\":1}");
            Real::default().send(&request).unwrap().status
        });
        assert_eq!(receiver.next(Duration::from_secs(10)).unwrap(), b"{\"a\":1}");
        assert_eq!(sender.join().unwrap(), 200);
        assert_eq!(receiver.next(Duration::from_millis(50)), None);
    }

    #[test]
    fn only_loopback_may_receive() {
        assert!(Real::default().receive("192.0.2.1:1".parse().unwrap()).is_err());
    }

    #[test]
    fn no_server_is_an_error_that_names_it() {
        let error = Real::default().send(&Request::get("http://127.0.0.1:1/x")).unwrap_err();
        assert_eq!(error.to_string(), "no answer from `http://127.0.0.1:1/x`");
    }
}
