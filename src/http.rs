//! Seam: questions over HTTP, downloads, and the loopback receiver of test alerts.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

pub mod real;
pub mod table;

/// A question to a server.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: Method,
    /// Where to.
    pub url: String,
    /// Further headers; may hold a secret, so a request is never printed whole.
    pub headers: Vec<(String, String)>,
    /// Sent with a `POST`.
    pub body: Vec<u8>,
    /// How long the answer may take.
    pub timeout: Option<Duration>,
}

/// Methods that monstack uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    #[default]
    Get,
    /// Writes, or reads with a long question.
    Post,
}

impl Request {
    /// A `GET` of `url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// A `POST` of `body` to `url`.
    pub fn post(url: impl Into<String>, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: Method::Post,
            url: url.into(),
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: body.into(),
            timeout: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Limits how long the answer may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, at most 64 MiB.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// Bytes so far, and the whole length where the server said it.
pub type Progress<'a> = dyn FnMut(u64, Option<u64>) + 'a;

/// Asks servers.
pub trait Http: Send + Sync {
    /// Sends `request`; any status is an answer, an error means that none came.
    fn send(&self, request: &Request) -> Result<Response>;

    /// Copies the body of `url` into `into`; fails on any status but 200. Connecting may take 3 s.
    fn download(&self, url: &str, into: &mut dyn Write, progress: &mut Progress<'_>) -> Result<()>;

    /// Listens on a loopback `address` until the receiver is dropped; every `POST` is answered 200.
    fn receive(&self, address: SocketAddr) -> Result<Box<dyn Receiver>>;
}

/// Bodies that were posted to a loopback listener.
pub trait Receiver {
    /// The next body, or none when `timeout` is over.
    fn next(&mut self, timeout: Duration) -> Option<Vec<u8>>;
}

/// Encodes `text` for the query of a URL (RFC 3986, section 2.1).
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(encode("{a=\"b c\"}+é"), "%7Ba%3D%22b%20c%22%7D%2B%C3%A9");
    }
}
