//! An `Http` for tests: answers from a table.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Http, Progress, Receiver, Request, Response};

/// Answers by the beginning of the URL; the longest match wins, anything else is refused.
#[derive(Default)]
pub struct Table {
    answers: Mutex<Vec<(String, VecDeque<Response>)>>,
    posted: Vec<Vec<u8>>,
    asked: Mutex<Vec<String>>,
}

impl Table {
    /// URLs that begin with `prefix` are answered with `status` and `body`; several answers come in turn, the last for ever.
    #[must_use]
    pub fn answer(self, prefix: &str, status: u16, body: impl Into<Vec<u8>>) -> Self {
        let response = Response { status, body: body.into() };
        {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            match answers.iter_mut().find(|(known, _)| known == prefix) {
                Some((_, all)) => all.push_back(response),
                None => answers.push((prefix.to_owned(), VecDeque::from([response]))),
            }
        }
        self
    }

    /// The receiver will get `body`.
    #[must_use]
    pub fn posted(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.posted.push(body.into());
        self
    }

    /// All URLs asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Http for Table {
    fn send(&self, request: &Request) -> Result<Response> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(request.url.clone());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let best = answers
            .iter_mut()
            .filter(|(prefix, _)| request.url.starts_with(prefix.as_str()))
            .max_by_key(|(prefix, _)| prefix.len());
        let Some((_, responses)) = best else { bail!("`{}`: connection refused", request.url) };
        let response =
            if responses.len() > 1 { responses.pop_front() } else { responses.front().cloned() };
        response.ok_or_else(|| anyhow::anyhow!("`{}`: no answer left", request.url))
    }

    fn download(&self, url: &str, into: &mut dyn Write, progress: &mut Progress<'_>) -> Result<()> {
        let response = self.send(&Request::get(url))?;
        if response.status != 200 {
            bail!("`{url}` answered {}", response.status);
        }
        into.write_all(&response.body)?;
        let length = response.body.len() as u64;
        progress(length, Some(length));
        Ok(())
    }

    fn receive(&self, _address: SocketAddr) -> Result<Box<dyn Receiver>> {
        Ok(Box::new(Posted(self.posted.clone().into())))
    }
}

struct Posted(VecDeque<Vec<u8>>);

impl Receiver for Posted {
    fn next(&mut self, _timeout: Duration) -> Option<Vec<u8>> {
        self.0.pop_front()
    }
}
