//! Downloads: what may be asked, where a redirect may lead, what stalls, what is worth another try.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use ureq::http::{StatusCode, Uri};
use ureq::{Agent, Body, Timeout};

use super::{Answer, Progress, Real};
use crate::error::{Note, failure};
use crate::exit::Exit;

/// How many redirects are followed.
const REDIRECTS: usize = 5;
/// How often a download looks whether it was interrupted.
const LOOK: Duration = Duration::from_millis(50);

/// A transfer that began and broke off: trying once more may help. It is found in an error by `downcast_ref`.
#[derive(Debug)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// Refuses any URL to which a program must not be trusted: only `https`, or `http` to this machine.
pub fn check_url(url: &str) -> Result<()> {
    let scheme = url.parse::<Uri>().ok().and_then(|uri| uri.scheme_str().map(str::to_owned));
    match scheme.as_deref() {
        Some("https") => Ok(()),
        Some("http") if is_loopback(url) => Ok(()),
        _ => Err(anyhow!("`{}` is not an `https` URL", bare(url)))
            .hint("give a URL that begins with `https://`, or a folder"),
    }
}

/// Whether `url` leads to this machine.
pub fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Copies the body of `url`; ends early when the run is interrupted, even while the server is silent.
pub(super) fn download(
    real: &Real,
    url: &str,
    (into, progress): (&mut dyn Write, &mut Progress<'_>),
) -> Result<()> {
    // An agent of its own, so that an interruption ends this download and nothing else.
    let config = if is_loopback(url) { real.near.config() } else { &real.far().0 };
    let agent = Agent::new_with_config(config.clone());
    let over = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&agent, (&real.interrupted, &over)));
        let outcome = follow(&agent, (url, real.stall))
            .and_then(|answer| copy(answer, url, (into, progress, &real.interrupted)));
        over.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        outcome
    });
    if real.interrupted.load(Ordering::Relaxed) && outcome.is_err() {
        return Err(interrupted(url));
    }
    outcome
}

fn watch(agent: &Agent, (stop, over): (&AtomicBool, &AtomicBool)) {
    while !over.load(Ordering::Relaxed) {
        if stop.load(Ordering::Relaxed) {
            agent.clone().shutdown();
            return;
        }
        thread::park_timeout(LOOK);
    }
}

fn interrupted(url: &str) -> anyhow::Error {
    failure(Exit::INTERRUPTED, format!("the download of `{}` was interrupted", bare(url)))
}

/// Asks `url` and follows its redirects, none of which may lead to a place that is less safe.
fn follow(agent: &Agent, (url, stall): (&str, Duration)) -> Result<Answer<Body>> {
    let mut here = url.to_owned();
    for _ in 0..=REDIRECTS {
        let answer = agent
            .get(&here)
            .config()
            .max_redirects(0)
            .accept_encoding("identity")
            .timeout_recv_response(Some(stall))
            .timeout_per_read(Some(stall))
            .build()
            .call()
            .map_err(|error| classified(error, &here))?;
        match answer.status() {
            StatusCode::OK => return Ok(answer),
            status if !status.is_redirection() => bail!("`{}` answered {status}", bare(&here)),
            _ => here = target(&here, &answer)?,
        }
    }
    bail!("`{url}` redirects more than {REDIRECTS} times")
}

/// Where a redirect leads.
fn target(here: &str, answer: &Answer<Body>) -> Result<String> {
    let next = answer
        .headers()
        .get("location")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| anyhow!("`{}` redirects to nowhere", bare(here)))?;
    let (scheme, rest) = here.split_once("://").unwrap_or(("https", here));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let next = if next.contains("://") {
        next.to_owned()
    } else if next.starts_with("//") {
        format!("{scheme}:{next}")
    } else if next.starts_with('/') {
        format!("{scheme}://{authority}{next}")
    } else {
        let folder = bare(here).rsplit_once('/').map_or(here, |(folder, _)| folder);
        format!("{folder}/{next}")
    };
    let downgraded = scheme == "https" && !next.starts_with("https://");
    if downgraded || check_url(&next).is_err() {
        bail!("`{}` redirects to `{}`, which is not an `https` URL", bare(here), bare(&next));
    }
    Ok(next)
}

fn copy(
    answer: Answer<Body>,
    url: &str,
    (into, progress, stop): (&mut dyn Write, &mut Progress<'_>, &AtomicBool),
) -> Result<()> {
    let total = answer.body().content_length();
    let mut reader = answer.into_body().into_reader();
    let mut buffer = vec![0; 64 << 10];
    let mut done = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => {
                let of = total.map_or_else(String::new, |total| format!(" of {total}"));
                let broken = format!("`{}` broke off after {done}{of} bytes: {error}", bare(url));
                return Err(Broken(broken).into());
            }
        };
        if stop.load(Ordering::Relaxed) {
            return Err(interrupted(url));
        }
        into.write_all(&buffer[..count])?;
        done += count as u64;
        progress(done, total);
    }
    match total {
        Some(total) if total != done => {
            Err(Broken(format!("`{}` broke off after {done} of {total} bytes", bare(url))).into())
        }
        _ => Ok(()),
    }
}

/// Tells a transfer that broke off from a server that cannot be reached or trusted.
fn classified(error: ureq::Error, url: &str) -> anyhow::Error {
    let began = match &error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => false,
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
        ),
        _ => false,
    };
    if began {
        return Broken(format!("`{}` broke off: {error}", bare(url))).into();
    }
    anyhow::Error::new(error).context(format!("cannot download `{}`", bare(url)))
}

/// `url` without its query, in which storage services put signatures.
fn bare(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Instant;

    /// Answers each connection in turn with one of `answers`, then falls silent until the caller goes.
    fn server(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let (answer, silent) = match answer.strip_suffix("<silence>") {
                    Some(answer) => (answer.to_owned(), true),
                    None => (answer, false),
                };
                stream.write_all(answer.as_bytes()).unwrap();
                if silent {
                    while lines.next().is_some_and(|line| line.is_ok()) {}
                }
            }
        });
        format!("http://{address}/file")
    }

    fn get(real: &Real, url: &str) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        download(real, url, (&mut body, &mut |_, _| {}))?;
        Ok(body)
    }

    #[test]
    fn only_safe_urls_are_taken() {
        for good in
            ["https://example.org/a", "http://127.0.0.9:1/a", "http://[::1]/", "http://localhost/"]
        {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in
            ["http://example.org/a", "http://127.0.0.1.example.org/", "ftp://localhost/", "/a"]
        {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_redirect_is_followed_but_never_to_a_less_safe_place() {
        let goal = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned()]);
        let first = server(vec![format!("HTTP/1.1 302 Found\r\nLocation: {goal}\r\n\r\n")]);
        assert_eq!(get(&Real::default(), &first).unwrap(), b"hi");

        let away = "HTTP/1.1 302 Found\r\nLocation: http://example.org/x?signature=s3cret\r\n\r\n";
        let error = get(&Real::default(), &server(vec![away.to_owned()])).unwrap_err().to_string();
        assert!(error.contains("redirects to `http://example.org/x`, which is not"), "{error}");
    }

    #[test]
    fn a_redirect_from_https_to_this_machine_is_refused() {
        let answer = Answer::builder()
            .header("location", "http://127.0.0.1/x")
            .body(Body::builder().data(""))
            .unwrap();
        assert!(target("https://example.org/a", &answer).is_err());
    }

    #[test]
    fn relative_redirects_stay_on_the_server() {
        for (location, wanted) in [
            ("/b?c=1", "https://example.org/b?c=1"),
            ("b", "https://example.org/a/b"),
            ("//example.net/b", "https://example.net/b"),
        ] {
            let body = Body::builder().data("");
            let answer = Answer::builder().header("location", location).body(body).unwrap();
            assert_eq!(target("https://example.org/a/x?d=/e", &answer).unwrap(), wanted);
        }
    }

    #[test]
    fn a_body_that_is_too_short_broke_off() {
        let url = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi".to_owned()]);
        let error = get(&Real::default(), &url).unwrap_err();
        assert!(error.downcast_ref::<Broken>().is_some(), "{error:#}");
    }

    #[test]
    fn a_server_that_falls_silent_broke_off() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi<silence>".to_owned();
        let real = Real::default().stall(Duration::from_millis(100));
        let error = get(&real, &server(vec![answer])).unwrap_err();
        assert!(error.downcast_ref::<Broken>().is_some(), "{error:#}");
    }

    #[test]
    fn a_refused_connection_did_not_break_off() {
        let error = get(&Real::default(), "http://127.0.0.1:1/x").unwrap_err();
        assert!(error.downcast_ref::<Broken>().is_none(), "{error:#}");
        assert_eq!(error.to_string(), "cannot download `http://127.0.0.1:1/x`");
    }

    #[test]
    fn an_interruption_ends_a_silent_download() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi<silence>".to_owned();
        let url = server(vec![answer]);
        let stop = Arc::new(AtomicBool::new(false));
        let real = Real::new(Arc::clone(&stop)).stall(Duration::from_secs(600));
        let begun = Instant::now();
        let mut body = Vec::new();
        let outcome =
            download(&real, &url, (&mut body, &mut |_, _| stop.store(true, Ordering::Relaxed)));
        assert_eq!(crate::error::exit_of(&outcome.unwrap_err()), Exit::INTERRUPTED);
        assert!(begun.elapsed() < Duration::from_secs(300));
    }
}
