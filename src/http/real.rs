//! The real `Http`, over ureq.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ureq::Agent;
use ureq::http::Response as Answer;

use super::{Http, Method, Progress, Receiver, Request, Response};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take unless the request says otherwise.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest body that is read into memory.
const BODY_LIMIT: u64 = 64 << 20;
/// How long a download may stall between two reads.
const STALL: Duration = Duration::from_secs(20);

/// Asks servers over the network.
pub struct Real {
    agent: Agent,
}

impl Default for Real {
    fn default() -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            .http_status_as_error(false)
            .user_agent(concat!("monstack/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into() }
    }
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
        let answer = self
            .agent
            .get(url)
            .config()
            .timeout_recv_response(Some(STALL))
            .build()
            .call()
            .with_context(|| format!("cannot download `{url}`"))?;
        if answer.status() != 200 {
            bail!("`{url}` answered {}", answer.status());
        }
        let total = answer.body().content_length();
        let mut reader = answer.into_body().into_reader();
        let mut buffer = vec![0; 64 << 10];
        let mut done = 0;
        loop {
            let count = reader
                .read(&mut buffer)
                .with_context(|| format!("the download of `{url}` broke off"))?;
            if count == 0 {
                break;
            }
            into.write_all(&buffer[..count])?;
            done += count as u64;
            progress(done, total);
        }
        match total {
            Some(total) if total != done => {
                bail!("`{url}` broke off after {done} of {total} bytes")
            }
            _ => Ok(()),
        }
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
        match request.method {
            Method::Get => {
                let builder = request
                    .headers
                    .iter()
                    .fold(self.agent.get(&request.url), |builder, (name, value)| {
                        builder.header(name, value)
                    });
                builder.config().timeout_global(timeout).build().call()
            }
            Method::Post => {
                let builder = request
                    .headers
                    .iter()
                    .fold(self.agent.post(&request.url), |builder, (name, value)| {
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
