//! `monstack logs`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use regex::Regex;
use serde::Serialize;
use serde_json::Value;

use super::Answer;
use super::session::Session;
use crate::cli::{Global, Logs, Output};
use crate::error::{Note, failure, hinted};
use crate::exit::Exit;
use crate::http::{Http, Request};
use crate::report::{self, Reader};
use crate::tail::{self, Line, Tail};
use crate::topology::Topology;

/// How many lines are shown where no time is given.
const LINES: usize = 100;
/// How many lines Loki is asked for at most.
const LIMIT: usize = 5000;

/// How long Loki may take before the files are read instead.
const PATIENCE: Duration = Duration::from_secs(5);

/// Log lines of a component.
#[derive(Serialize)]
struct Facts<'a> {
    component: &'a str,
    source: &'static str,
    lines: Vec<Line>,
}

/// Shows log lines: from Loki where it runs, else from the files.
pub fn run(global: &Global, args: &Logs) -> Result<Answer> {
    let (session, record) = Session::open_existing(global)?;
    let topology = record.topology();
    let files = files(&session, &topology, &args.role)?;
    let pattern = args.grep.as_deref().map(Regex::new).transpose();
    let pattern = pattern.map_err(|error| {
        failure(Exit::USAGE, format!("`--grep` is no regular expression: {error}"))
    })?;
    if args.follow && global.output == Output::Json {
        let error =
            failure(Exit::USAGE, "`--follow` never ends, so it cannot be one JSON document");
        return Err(hinted(error, "leave `--follow` or `--output json` out"));
    }
    let since = args.since.map(|since| Timestamp::now() - since);
    let select = |mut lines: Vec<Line>| {
        lines.retain(|line| pattern.as_ref().is_none_or(|pattern| pattern.is_match(&line.text)));
        if since.is_none() {
            lines.drain(..lines.len().saturating_sub(LINES));
        }
        lines
    };
    if args.follow {
        let tail = Tail::from_end(&files);
        let lines = select(tail.history(since)?);
        follow(tail, (&lines, pattern.as_ref()))?;
        return Answer::new(&Value::Null, String::new(), Exit::DONE);
    }
    let (source, lines) = match from_loki(&session, &topology, args, since) {
        Some(lines) => ("loki", lines),
        None => ("files", tail::read(&files, since)?),
    };
    let facts = Facts { component: &args.role, source, lines: select(lines) };
    Answer::new(&facts, text(&facts.lines), Exit::DONE)
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}\n", line.text)).collect()
}

/// Shows lines of the files, the source of all that Loki has, until nobody reads them or the process is ended.
fn follow(mut tail: Tail, (history, pattern): (&[Line], Option<&Regex>)) -> Result<()> {
    let mut reader = report::stream(&text(history))?;
    while reader == Reader::Listens {
        for line in tail.wait()? {
            if pattern.is_none_or(|pattern| pattern.is_match(&line)) {
                reader = report::stream(&format!("{line}\n"))?;
            }
        }
    }
    Ok(())
}

fn files(session: &Session, topology: &Topology, name: &str) -> Result<Vec<PathBuf>> {
    let logs = session.layout.logs();
    let Some(service) = topology.service(name) else {
        let known: Vec<&str> = topology.services().map(|service| service.component.name).collect();
        let error = failure(Exit::USAGE, format!("`{name}` is no component that runs here"));
        return Err(hinted(error, format!("name one of {}", known.join(", ")))).exit(Exit::USAGE);
    };
    let own = service.component.service.logs.iter().map(|log| logs.join(log));
    Ok(own.chain([logs.join(format!("{name}.log"))]).collect())
}

/// `text` as a string of LogQL.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Lines from Loki; none where it does not run, does not answer or has no line of this component.
fn from_loki(
    session: &Session,
    topology: &Topology,
    args: &Logs,
    since: Option<Timestamp>,
) -> Option<Vec<Line>> {
    // Without Alloy nothing ships lines, so the files know more.
    topology.service("alloy")?;
    let loki = topology.service("loki")?;
    let start = since.unwrap_or_else(|| Timestamp::now() - Duration::from_secs(3600));
    let mut query = format!("{{service={}}}", quoted(&args.role));
    if let Some(pattern) = &args.grep {
        query.push_str(&format!(" |~ {}", quoted(pattern)));
    }
    let url = format!(
        "{}/loki/api/v1/query_range?direction=backward&limit={LIMIT}&start={}&query={}",
        loki.url(),
        start.as_nanosecond(),
        crate::http::encode(&query),
    );
    let answer = session
        .http
        .send(&Request::get(url).timeout(PATIENCE))
        .ok()
        .filter(crate::http::Response::is_success)?
        .json()
        .ok()?;
    let mut lines: Vec<Line> = answer["data"]["result"]
        .as_array()?
        .iter()
        .flat_map(|stream| stream["values"].as_array().into_iter().flatten())
        .filter_map(|value| {
            let nanoseconds: i128 = value[0].as_str()?.parse().ok()?;
            let time = Timestamp::from_nanosecond(nanoseconds).ok();
            Some(Line { time, text: value[1].as_str()?.to_owned() })
        })
        .collect();
    lines.sort_by_key(|line| line.time);
    (!lines.is_empty()).then_some(lines)
}
