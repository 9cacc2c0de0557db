//! Questions to Prometheus, Alertmanager and Loki, direct or through Grafana as people ask them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::context::{Context, excerpt};
use crate::error::{Note, failure};
use crate::exit::Exit;
use crate::http::{Http, Request, encode};
use crate::layout::secret;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A server to ask.
pub struct Source<'a> {
    http: &'a dyn Http,
    name: &'static str,
    base: String,
    login: Option<Login<'a>>,
}

/// How Grafana is asked.
struct Login<'a> {
    header: String,
    /// Where the password lies, for errors.
    file: PathBuf,
    /// Set once Grafana has refused it: each further try would bring it closer to locking the user out.
    refused: &'a AtomicBool,
}

/// A time series as a range of values, or its latest value alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970, and the value.
    pub values: Vec<(f64, f64)>,
}

/// Lines of one log stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its lines.
    pub lines: Vec<String>,
}

/// The part of time a question is about.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its end, as the time since 1970.
    pub end: Duration,
    /// How far it reaches back.
    pub back: Duration,
    /// The distance of values.
    pub step: Duration,
}

impl<'a> Source<'a> {
    /// The component `name` itself.
    pub fn direct(cx: &'a Context<'_>, name: &'static str) -> Result<Self> {
        let base = cx.service(name)?.url();
        Ok(Self { http: cx.subject.http, name, base, login: None })
    }

    /// The component `name` behind Grafana's data source of the same `uid`; itself where there is no Grafana.
    pub fn shown(cx: &'a Context<'_>, name: &'static str) -> Result<Self> {
        let Some(grafana) = cx.subject.topology.service("grafana") else {
            return Self::direct(cx, name);
        };
        let password = cx
            .subject
            .grafana_password
            .ok_or_else(|| anyhow!("the password of Grafana's user `admin` is not known"))
            .hint("run `monstack up`, it writes the password anew")?;
        let base = format!("{}/api/datasources/proxy/uid/{name}", grafana.url());
        let login = Login {
            header: format!("Basic {}", base64(format!("admin:{password}").as_bytes())),
            file: cx.subject.layout.secrets().join(secret::GRAFANA),
            refused: &cx.refused,
        };
        Ok(Self { http: cx.subject.http, name: "grafana", base, login: Some(login) })
    }

    /// Who answers: `grafana` where its proxy is asked.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The JSON at `path` (with its query).
    pub fn get(&self, path: &str) -> Result<Value> {
        let mut request = Request::get(format!("{}{path}", self.base)).timeout(ANSWER);
        if let Some(login) = &self.login {
            ensure!(!login.refused.load(Ordering::Relaxed), login.refusal());
            request = request.header("Authorization", &login.header);
        }
        // The question would make the error unreadable, so only the place is told.
        let place = format!("{}{}", self.base, path.split('?').next().unwrap_or_default());
        let response = self
            .http
            .send(&request)
            .map_err(|error| anyhow!("`{place}` does not answer: {}", error.root_cause()))?;
        if let (401, Some(login)) = (response.status, &self.login) {
            login.refused.store(true, Ordering::Relaxed);
            bail!(login.refusal());
        }
        if !response.is_success() {
            bail!("`{place}` answered {}: {}", response.status, words(&response.text()));
        }
        response.json().with_context(|| format!("`{place}` answered with something else than JSON"))
    }

    /// The present value of a PromQL expression.
    pub fn query(&self, expression: &str) -> Result<Vec<Series>> {
        let answer = self.get(&format!("/api/v1/query?query={}", encode(expression)))?;
        Ok(series(&answer))
    }

    /// The values of a PromQL expression over a span.
    pub fn range(&self, expression: &str, span: Span) -> Result<Vec<Series>> {
        let (query, end, start) = (encode(expression), span.end, span.end - span.back);
        let step = span.step.as_secs_f64();
        let answer = self.get(&format!(
            "/api/v1/query_range?query={query}&start={:.3}&end={:.3}&step={step}",
            start.as_secs_f64(),
            end.as_secs_f64()
        ))?;
        Ok(series(&answer))
    }

    /// The time of a Prometheus, since 1970.
    pub fn time(&self) -> Result<Duration> {
        let answer = self.query("time()")?;
        let time = answer.first().and_then(|only| only.values.first()).map(|(_, value)| *value);
        time.and_then(|value| Duration::try_from_secs_f64(value).ok())
            .with_context(|| format!("`{}` does not know the time", self.name))
    }

    /// The lines or values of a LogQL expression over a span.
    pub fn logs(&self, expression: &str, span: Span) -> Result<Value> {
        let (query, end, start) = (encode(expression), span.end, span.end - span.back);
        let step = span.step.as_secs_f64();
        self.get(&format!(
            "/loki/api/v1/query_range?query={query}&start={}&end={}&step={step}&limit=100",
            start.as_nanos(),
            end.as_nanos()
        ))
    }
}

impl Login<'_> {
    fn refusal(&self) -> anyhow::Error {
        let message = format!(
            "Grafana refuses the password of its user `admin` in `{}`",
            self.file.display()
        );
        failure(Exit::CREDENTIALS, message)
    }
}

/// Time series of an answer, whatever their shape.
pub fn series(answer: &Value) -> Vec<Series> {
    let data = &answer["data"];
    match data["resultType"].as_str() {
        Some("scalar") => {
            let values = pair(&data["result"]).into_iter().collect();
            vec![Series { labels: BTreeMap::new(), values }]
        }
        Some("vector" | "matrix") => list(&data["result"])
            .map(|item| Series { labels: labels(&item["metric"]), values: pairs(item) })
            .collect(),
        _ => Vec::new(),
    }
}

/// Log streams of an answer of Loki.
pub fn streams(answer: &Value) -> Vec<Stream> {
    list(&answer["data"]["result"])
        .filter(|item| item["stream"].is_object())
        .map(|item| Stream {
            labels: labels(&item["stream"]),
            lines: list(&item["values"])
                .filter_map(|pair| pair[1].as_str().map(str::to_owned))
                .collect(),
        })
        .collect()
}

/// The elements of an array; none if it is something else.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// An object of strings.
pub fn labels(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn pairs(item: &Value) -> Vec<(f64, f64)> {
    match &item["value"] {
        Value::Null => list(&item["values"]).filter_map(pair).collect(),
        single => pair(single).into_iter().collect(),
    }
}

fn pair(value: &Value) -> Option<(f64, f64)> {
    // Rust reads `NaN`, `+Inf` and `-Inf` as Prometheus writes them.
    Some((value[0].as_f64()?, value[1].as_str()?.parse().ok()?))
}

/// What a server says in an error: the message of its JSON, else the beginning of its text.
fn words(text: &str) -> String {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let message = ["error", "message"].iter().find_map(|key| json[key].as_str());
    excerpt(message.unwrap_or(text))
}

/// Base64 of RFC 4648 with padding, as basic authentication wants it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().chain([&0, &0]).take(3).fold(0, |word, b| word << 8 | u32::from(*b));
        for position in 0..4 {
            let index = (word >> (18 - 6 * position) & 63) as usize;
            out.push(if position > chunk.len() { '=' } else { char::from(LETTERS[index]) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::table::Table;
    use crate::verify::fixture::Fixture;
    use serde_json::json;

    #[test]
    fn base64_follows_the_rfc() {
        let words = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let wanted = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        assert_eq!(words.map(|word| base64(word.as_bytes())), wanted);
        assert_eq!(base64(b"\xfb\xff\xbf"), "+/+/");
    }

    #[test]
    fn every_shape_of_an_answer_is_read() {
        let scalar = json!({"data": {"resultType": "scalar", "result": [5, "7.5"]}});
        assert_eq!(series(&scalar)[0].values, [(5.0, 7.5)]);
        let vector = json!({"data": {"resultType": "vector", "result": [
            {"metric": {"job": "app"}, "value": [5, "+Inf"]}, {"metric": {}, "value": [5, "NaN"]}]}});
        let all = series(&vector);
        assert_eq!(all[0].labels["job"], "app");
        assert_eq!(all[0].values, [(5.0, f64::INFINITY)]);
        assert!(all[1].values[0].1.is_nan());
        let matrix = json!({"data": {"resultType": "matrix", "result": [
            {"metric": {}, "values": [[5, "1"], [6, "2"]]}]}});
        assert_eq!(series(&matrix)[0].values, [(5.0, 1.0), (6.0, 2.0)]);
        let lines = json!({"data": {"resultType": "streams", "result": [
            {"stream": {"service": "nginx"}, "values": [["1", "a"], ["2", "b"]]}]}});
        assert_eq!(series(&lines), []);
        assert_eq!(streams(&lines)[0].lines, ["a", "b"]);
        assert_eq!(streams(&vector), []);
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_server() {
        let mut fixture = Fixture::new();
        fixture.without("grafana", "none");
        fixture.http = Table::default().answer(
            "http://127.77.1.3:9090/api/v1/query?query=up%7B",
            400,
            r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#,
        );
        fixture.with(|cx| {
            let source = Source::shown(cx, "prometheus").unwrap();
            assert_eq!(
                source.query("up{").unwrap_err().to_string(),
                "`http://127.77.1.3:9090/api/v1/query` answered 400: parse error: unexpected end"
            );
            assert_eq!(
                source.query("down").unwrap_err().to_string(),
                "`http://127.77.1.3:9090/api/v1/query` does not answer: \
                 `http://127.77.1.3:9090/api/v1/query?query=down`: connection refused"
            );
        });
    }

    #[test]
    fn grafana_is_asked_with_its_password_and_never_tells_it() {
        let fixture = Fixture::new();
        fixture.with(|cx| {
            let source = Source::shown(cx, "prometheus").unwrap();
            assert_eq!(source.name(), "grafana");
            assert_eq!(source.login.as_ref().unwrap().header, "Basic YWRtaW46aHVudGVyMg==");
            let error = format!("{:#}", source.query("up").unwrap_err());
            assert!(!error.contains("hunter2") && !error.contains("YWRtaW4"), "{error}");
        });
    }
}
