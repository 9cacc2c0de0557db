//! HTTP: three pages, read only.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use crate::exposition;
use crate::gather::Gatherer;
use crate::health::Health;
use crate::visitors::{Visitor, Visitors};

/// A client that has not sent its whole request by then is sent away.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that a request's line and headers may have.
const HEADER_BYTES: usize = 16 * 1024;
/// Headers that a request may have.
const HEADERS: usize = 64;
/// A client has to connect again after that, so that none keeps its place for ever.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);
/// Requests that are under way at the end may take this long.
const GRACE: Duration = Duration::from_millis(700);
/// A pause after a connection could not be taken, for instance because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

type Answer = Response<Full<Bytes>>;

/// What the pages are made of.
pub struct App {
    gatherer: Arc<Gatherer>,
    health: Arc<Health>,
    turn: Mutex<()>,
}

impl App {
    /// Joins the parts.
    pub fn new(gatherer: Gatherer, health: Health) -> App {
        App { gatherer: Arc::new(gatherer), health: Arc::new(health), turn: Mutex::new(()) }
    }

    async fn metrics(&self) -> Answer {
        // Scrapes take turns: a second one at the same time would only slow down the first.
        let _turn = self.turn.lock().await;
        let gatherer = self.gatherer.clone();
        match tokio::task::spawn_blocking(move || gatherer.gather()).await {
            Ok(text) => page(StatusCode::OK, exposition::CONTENT_TYPE, text),
            Err(_) => internal_error(),
        }
    }

    async fn health(&self) -> Answer {
        let (gatherer, health) = (self.gatherer.clone(), self.health.clone());
        let report = tokio::task::spawn_blocking(move || health.report(gatherer.failed())).await;
        match report.map(|report| serde_json::to_string(&report)) {
            Ok(Ok(text)) => page(StatusCode::OK, JSON, text + "\n"),
            _ => internal_error(),
        }
    }
}

/// How long and for how many to serve.
pub struct Limits<F> {
    /// Connections at a time.
    pub connections: usize,
    /// Ends the service when it is done.
    pub stop: F,
}

/// Answers requests until told to stop, and then lets those under way end within 700 ms.
pub async fn serve(listener: TcpListener, app: Arc<App>, limits: Limits<impl Future<Output = ()>>) {
    let visitors = Visitors::new(limits.connections);
    let (stopping, _) = watch::channel(());
    let mut stop = pin!(limits.stop);
    loop {
        let next = async {
            let (stream, _) = listener.accept().await?;
            Ok((stream, visitors.enter().await))
        };
        let next: io::Result<_> = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        match next {
            Ok((stream, visitor)) => {
                tokio::spawn(converse(stream, app.clone(), visitor, stopping.subscribe()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.send_replace(());
    visitors.leave(GRACE).await;
}

/// Answers the requests of one connection.
async fn converse(
    stream: TcpStream,
    app: Arc<App>,
    visitor: Visitor,
    mut stopping: watch::Receiver<()>,
) {
    // Without this, the end of an answer would wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        visitor.work();
        let answer = shielded(respond(app.clone(), request));
        async {
            let answer = answer.await;
            visitor.rest();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that goes away or writes nonsense is its own business.
        _ = connection.as_mut() => return,
        () = visitor.evicted() => return,
        _ = stopping.changed() => {}
        () = sleep(CONNECTION_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}

/// Runs an answer in a task of its own: a panic in it is a 500 for this request alone, and a client that goes away in
/// the middle does not break off a scrape that others may wait for.
async fn shielded(answer: impl Future<Output = Answer> + Send + 'static) -> Answer {
    tokio::spawn(answer).await.unwrap_or_else(|_| internal_error())
}

async fn respond<B>(app: Arc<App>, request: Request<B>) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer =
            page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are allowed\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match request.uri().path() {
        "/" => page(StatusCode::OK, HTML, LANDING_PAGE),
        "/metrics" => app.metrics().await,
        "/health" => app.health().await,
        _ => page(StatusCode::NOT_FOUND, TEXT, "not found; there are /metrics and /health\n"),
    }
}

fn internal_error() -> Answer {
    page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the agent could not answer; its log says why\n")
}

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    answer
}

const LANDING_PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head><title>monstack agent</title></head>\n<body>\n<h1>monstack agent ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n<ul>\n<li><a href=\"/metrics\">Metrics</a> of this host for Prometheus</li>\n",
    "<li><a href=\"/health\">Health</a> in short</li>\n</ul>\n</body>\n</html>\n"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_one_answer() {
        let answer = shielded(async { panic!("in the middle of it") }).await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
