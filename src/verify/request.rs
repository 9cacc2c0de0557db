//! Check 4: a request through nginx to the app is counted, and its line is in the access log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::context::{Context, Sheet, excerpt, seconds};
use super::logs::{find, log_file, patience};
use super::source::Source;
use super::verdict::Item;
use crate::error::Note;
use crate::http::{Request, Response};

/// What counts the requests to `/view`.
const COUNTER: &str = "sum(http_requests_total{job=\"app\",endpoint=\"/view\"})";
/// How much of the end of the access log is searched.
const TAIL: u64 = 1 << 20;
const WAY_OUT: &str = "run `monstack logs nginx` and `monstack logs app`";

/// Checks the way of a request.
pub fn check(cx: &Context<'_>, sheet: &mut Sheet) -> Result<()> {
    let prometheus = Source::direct(cx, "prometheus")?;
    let token = format!("monstack-verify-{}", cx.run);
    sheet.fact("token", token.as_str());
    let before = count(&prometheus)?;
    sheet.fact("counter_before", before);
    visit(cx, &token)?;
    let parts = [counted(cx, &prometheus, sheet, before), logged(cx, sheet, &token), hidden(cx)];
    sheet.items.extend(parts);
    Ok(())
}

/// Asks `path` of the app as a visitor would, through nginx.
pub fn ask(cx: &Context<'_>, path: &str, token: &str) -> Result<Response> {
    let url = format!("{}{path}", cx.service("nginx")?.url());
    let request = Request::get(&url)
        .header("X-Request-ID", token)
        .header("User-Agent", token)
        .timeout(Duration::from_secs(5));
    cx.subject.http.send(&request)
}

fn visit(cx: &Context<'_>, token: &str) -> Result<()> {
    // A single refusal may come from nginx that is just taking up its files.
    cx.poll(Duration::from_secs(5), || {
        let response = ask(cx, "/view?read=true", token)?;
        let (status, text) = (response.status, excerpt(&response.text()));
        ensure!(status == 200, "`/view?read=true` through nginx answered {status}: {text}");
        Ok(())
    })
    .hint(WAY_OUT)
}

fn count(prometheus: &Source<'_>) -> Result<f64> {
    let found = prometheus.query(COUNTER)?;
    Ok(found.first().and_then(|series| series.values.last()).map_or(0.0, |(_, value)| *value))
}

fn counted(cx: &Context<'_>, prometheus: &Source<'_>, sheet: &mut Sheet, before: f64) -> Item {
    let start = cx.clock.now();
    let (mut before, mut asked) = (before, start);
    let risen = cx.poll(cx.patience(10, Duration::from_secs(20)), || {
        let after = count(prometheus)?;
        // An app that was just started anew counts from zero, which Prometheus sees only at its next scrape.
        before = before.min(after);
        if cx.clock.now().saturating_sub(asked) > cx.subject.interval * 2 {
            asked = cx.clock.now();
            visit(cx, &cx.run)?;
        }
        ensure!(
            after >= before + 1.0,
            "`{COUNTER}` was {before} before the request and is {after} after it"
        );
        Ok(after)
    });
    match risen {
        Ok(after) => {
            let taken = cx.clock.now().saturating_sub(start);
            sheet.fact("counter_after", after);
            sheet.seconds("counted_seconds", taken);
            sheet.summary = format!("counted after {:.1} s", seconds(taken));
            Item::proven("counted", format!("from {before} to {after}"))
        }
        Err(error) => Item::failed("counted", format!("{error:#}"), WAY_OUT),
    }
}

fn logged(cx: &Context<'_>, sheet: &mut Sheet, token: &str) -> Item {
    let name = "access log in Loki";
    let Some((reason, hint)) = cx.gap(&["loki", "alloy"]) else {
        return match shipped(cx, sheet, token) {
            Ok(detail) => Item::proven(name, detail),
            Err(error) => Item::failed(name, format!("{error:#}"), "run `monstack logs alloy`"),
        };
    };
    match written(cx, token) {
        Ok(file) => Item::not_proven(name, format!("{reason}; the line is in `{file}`"), hint),
        Err(error) => Item::failed("access log", format!("{error:#}"), WAY_OUT),
    }
}

/// Waits for the access line in Loki; the app's own line of the same request does not count.
fn shipped(cx: &Context<'_>, sheet: &mut Sheet, token: &str) -> Result<String> {
    let start = cx.clock.now();
    cx.poll(patience(cx), || {
        let streams = find(cx, token)?;
        let of_nginx = |value: &String| value.contains("nginx");
        if streams.iter().any(|stream| stream.labels.values().any(of_nginx)) {
            return Ok(());
        }
        match streams.first() {
            None => bail!("no line of the request is in Loki"),
            Some(other) => bail!(
                "nginx's line of the request is not in Loki, only one with the labels {:?}",
                other.labels
            ),
        }
    })?;
    let taken = cx.clock.now().saturating_sub(start);
    sheet.seconds("logged_seconds", taken);
    sheet.summary.push_str(&format!(", in Loki after {:.1} s", seconds(taken)));
    Ok(format!("{:.1} s", seconds(taken)))
}

/// Waits for the access line in nginx's own file.
fn written(cx: &Context<'_>, token: &str) -> Result<String> {
    let path = log_file(cx, "nginx")?;
    cx.poll(Duration::from_secs(5), || {
        let end = tail(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        ensure!(end.contains(token), "the request is not in `{}`", path.display());
        Ok(path.display().to_string())
    })
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The app's metrics are for Prometheus alone.
fn hidden(cx: &Context<'_>) -> Item {
    let name = "`/metrics` hidden from visitors";
    match ask(cx, "/metrics", &cx.run) {
        Ok(response) if response.status == 404 => Item::proven(name, "404"),
        Ok(response) => Item::failed(
            name,
            format!("it answered {}, wanted 404", response.status),
            "run `monstack up`, it writes nginx's files anew",
        ),
        Err(error) => Item::failed(name, format!("{error:#}"), WAY_OUT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixture::Fixture;
    use crate::verify::verdict::Outcome;
    use serde_json::json;
    use std::fs;

    const COUNT: &str = "http://127.77.1.3:9090/api/v1/query";
    const LOKI: &str = "http://127.77.1.2:3000/api/datasources/proxy/uid/loki/";
    const NGINX: &str = "http://127.77.1.5:8080";

    fn counter(value: &str) -> String {
        json!({"data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, value]}]}})
            .to_string()
    }

    fn lines(service: &str) -> String {
        let line = "{\"request_id\":\"monstack-verify-run1\"}";
        json!({"data": {"resultType": "streams", "result": [
            {"stream": {"service": service}, "values": [["1", line]]}]}})
        .to_string()
    }

    /// A stack whose counter ends at `after`, whose access lines are of `service`, and that answers `/metrics` with `status`.
    fn stack(after: &str, service: &str, status: u16) -> Fixture {
        let mut fixture = Fixture::new();
        fixture.answer(COUNT, 200, r#"{"data":{"resultType":"vector","result":[]}}"#);
        fixture.answer(COUNT, 200, counter("0"));
        fixture.answer(COUNT, 200, counter(after));
        fixture.answer(&format!("{NGINX}/view?read=true"), 200, r#"{"visits":3}"#);
        fixture.answer(&format!("{NGINX}/metrics"), status, "");
        fixture.answer(LOKI, 200, lines("flask"));
        fixture.answer(LOKI, 200, lines(service));
        fixture
    }

    fn healthy() -> Fixture {
        stack("1", "nginx", 404)
    }

    fn reason(fixture: &Fixture) -> String {
        let (sheet, error) = fixture.check(check);
        match error {
            Some(error) => format!("{error:#}"),
            None => Outcome::of(&sheet.items).reason().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn a_request_is_counted_and_logged() {
        let (sheet, error) = healthy().check(check);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(Outcome::of(&sheet.items), Outcome::Proven, "{:?}", sheet.items);
        assert_eq!(sheet.facts["counter_before"], 0.0);
        assert_eq!(sheet.facts["counter_after"], 1.0);
        assert_eq!(sheet.facts["counted_seconds"], 0.1);
        assert_eq!(sheet.facts["logged_seconds"], 0.1);
        assert_eq!(sheet.summary, "counted after 0.1 s, in Loki after 0.1 s");
    }

    #[test]
    fn a_counter_that_does_not_move_is_told_with_both_values() {
        let reason = reason(&stack("0", "nginx", 404));
        assert!(reason.contains("was 0 before the request and is 0 after it"), "{reason}");
    }

    #[test]
    fn an_app_that_fails_is_told_in_its_words() {
        let mut fixture = Fixture::new();
        fixture.answer(COUNT, 200, counter("0"));
        fixture.answer(NGINX, 502, "<b>Bad</b>\n gateway");
        assert_eq!(
            reason(&fixture),
            "`/view?read=true` through nginx answered 502: <b>Bad</b> gateway"
        );
    }

    #[test]
    fn the_apps_own_line_is_not_taken_for_the_access_log() {
        let reason = reason(&stack("1", "flask", 404));
        assert!(
            reason.contains("nginx's line of the request is not in Loki, only one"),
            "{reason}"
        );
    }

    #[test]
    fn metrics_that_visitors_can_read_are_a_fault() {
        assert_eq!(
            reason(&stack("1", "nginx", 200)),
            "`/metrics` hidden from visitors: it answered 200, wanted 404"
        );
    }

    #[test]
    fn without_loki_the_file_is_looked_at_and_the_half_is_not_proven() {
        let mut fixture = healthy();
        fixture.without("loki", "no program");
        fs::write(fixture.log("nginx_access.log"), "{\"id\":\"monstack-verify-run1\"}\n").unwrap();
        let (sheet, _) = fixture.check(check);
        let Outcome::NotProven { reason, .. } = Outcome::of(&sheet.items) else {
            panic!("{:?}", sheet.items)
        };
        assert!(
            reason.starts_with(
                "access log in Loki: `loki` does not run here: no program; the line is in `"
            ),
            "{reason}"
        );
    }

    #[test]
    fn without_loki_a_line_that_is_not_in_the_file_is_a_fault() {
        let mut fixture = healthy();
        fixture.without("alloy", "no program");
        fs::write(fixture.log("nginx_access.log"), "{}\n").unwrap();
        let reason = reason(&fixture);
        assert!(reason.starts_with("access log: the request is not in `"), "{reason}");
    }

    #[test]
    fn only_the_end_of_a_long_log_is_read() {
        let fixture = Fixture::new();
        let path = fixture.log("long.log");
        let mut text = "old".to_owned();
        text.push_str(&"x".repeat(usize::try_from(TAIL).unwrap()));
        text.push_str("new");
        fs::write(&path, text).unwrap();
        let end = tail(&path).unwrap();
        assert!(end.ends_with("new") && !end.contains("old"));
    }
}
