//! Check 3: a line written to the app's log is found in Loki.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::context::{Context, Sheet, excerpt, seconds};
use super::source::{Source, Span, Stream, streams};
use super::verdict::Item;
use crate::error::Note;

/// Labels that every line has, so that people find it by any of them.
const LABELS: [&str; 4] = ["job", "node", "service", "level"];
/// How far back a line is looked for; clocks and batches need some room.
const BACK: Duration = Duration::from_secs(300);

/// Checks the way of a log line.
pub fn check(cx: &Context<'_>, sheet: &mut Sheet) -> Result<()> {
    if let Some((reason, hint)) = cx.gap(&["loki", "alloy"]) {
        sheet.items.push(Item::not_proven("log line", reason, hint));
        return Ok(());
    }
    let app = cx.service("app")?;
    let token = format!("monstack-verify-{}", cx.run);
    sheet.fact("token", token.as_str());
    let path = log_file(cx, "app")?;
    append(cx, &path, &token)?;
    let start = cx.clock.now();
    let stream = cx
        .poll(patience(cx), || match find(cx, &token)?.into_iter().next() {
            Some(stream) => Ok(stream),
            None => bail!("the line was written to `{}`, but it is not in Loki", path.display()),
        })
        .hint("run `monstack logs alloy` and `monstack logs loki`")?;
    let taken = cx.clock.now().saturating_sub(start);
    sheet.seconds("found_seconds", taken);
    sheet.fact("labels", json!(stream.labels));
    sheet.summary = format!("found in Loki after {:.1} s", seconds(taken));
    sheet.items.push(Item::proven("log line", format!("{:.1} s", seconds(taken))));
    sheet.items.push(judge_labels(&stream, &app.node.name));
    Ok(())
}

/// How long a line may take: a Loki that has just started holds lines back for 15 s.
pub fn patience(cx: &Context<'_>) -> Duration {
    cx.patience(5, Duration::from_secs(30))
}

/// The first log file that the component `name` writes.
pub fn log_file(cx: &Context<'_>, name: &'static str) -> Result<PathBuf> {
    let service = cx.service(name)?;
    let file = service.component.service.logs.first();
    let file = file.with_context(|| format!("`{name}` writes no log file"))?;
    Ok(cx.subject.layout.logs().join(file))
}

/// Streams of Loki with lines that hold `token`.
pub fn find(cx: &Context<'_>, token: &str) -> Result<Vec<Stream>> {
    let loki = Source::shown(cx, "loki")?;
    let end = cx.clock.now() + Duration::from_secs(60);
    let span = Span { end, back: BACK, step: Duration::from_secs(60) };
    let answer = loki.logs(&format!("{{node=~\".+\"}} |= \"{token}\""), span)?;
    let with_token = |stream: &Stream| stream.lines.iter().any(|line| line.contains(token));
    Ok(streams(&answer).into_iter().filter(with_token).collect())
}

/// Appends one line as the app writes them; one write to a file opened for appending cannot be torn.
fn append(cx: &Context<'_>, path: &PathBuf, token: &str) -> Result<()> {
    let now = i64::try_from(cx.clock.now().as_millis())?;
    let time = jiff::Timestamp::from_millisecond(now)?.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let line = json!({
        "time": time.to_string(),
        "level": "INFO",
        "logger": "monstack.verify",
        "message": format!("verification {token}"),
    });
    let write =
        || OpenOptions::new().append(true).open(path)?.write_all(format!("{line}\n").as_bytes());
    write()
        .with_context(|| format!("cannot append to the app's log `{}`", path.display()))
        .hint("run `monstack status`, the app makes its log when it starts")
}

fn judge_labels(stream: &Stream, node: &str) -> Item {
    let label = |name: &str| stream.labels.get(name).map(String::as_str).unwrap_or_default();
    let mut faults: Vec<String> = LABELS
        .iter()
        .filter(|name| label(name).is_empty())
        .map(|name| format!("`{name}` is missing"))
        .collect();
    for (name, wanted) in [("node", node), ("level", "info")] {
        let found = label(name);
        if !found.is_empty() && !found.eq_ignore_ascii_case(wanted) {
            faults.push(format!("`{name}` is `{}`, wanted `{wanted}`", excerpt(found)));
        }
    }
    if faults.is_empty() {
        return Item::proven("labels", LABELS.join(", "));
    }
    Item::failed("labels", faults.join(", "), "run `monstack up`, then `monstack logs alloy`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixture::Fixture;
    use crate::verify::verdict::Outcome;
    use serde_json::Value;
    use std::fs;

    const LOKI: &str =
        "http://127.77.1.2:3000/api/datasources/proxy/uid/loki/loki/api/v1/query_range";

    fn found(labels: &Value) -> String {
        json!({"data": {"resultType": "streams", "result": [
            {"stream": labels, "values": [["1", "{\"message\":\"verification monstack-verify-run1\"}"]]}]}})
        .to_string()
    }

    fn nothing() -> String {
        json!({"data": {"resultType": "streams", "result": []}}).to_string()
    }

    fn fixture() -> Fixture {
        let fixture = Fixture::new();
        fs::write(fixture.log("flask.log"), "{}\n").unwrap();
        fixture
    }

    #[test]
    fn the_line_is_found_with_its_labels() {
        let mut fixture = fixture();
        let labels = json!({"job": "logs", "node": "app", "service": "flask", "level": "INFO"});
        fixture.answer(LOKI, 200, nothing());
        fixture.answer(LOKI, 200, found(&labels));
        let (sheet, error) = fixture.check(check);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(Outcome::of(&sheet.items), Outcome::Proven);
        assert_eq!(sheet.facts["found_seconds"], 0.1);
        assert_eq!(sheet.facts["labels"], labels);
        let asked = fixture.http.asked();
        assert!(
            asked[0]
                .contains("?query=%7Bnode%3D~%22.%2B%22%7D%20%7C%3D%20%22monstack-verify-run1%22&"),
            "{asked:?}"
        );
    }

    #[test]
    fn the_line_is_one_of_the_apps_kind() {
        let mut fixture = fixture();
        fixture.answer(LOKI, 200, nothing());
        let _ = fixture.check(check);
        let text = fs::read_to_string(fixture.log("flask.log")).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1],
            json!({"time": "2025-11-21T04:40:00.000Z", "level": "INFO", "logger": "monstack.verify",
                   "message": "verification monstack-verify-run1"})
        );
    }

    #[test]
    fn a_line_that_does_not_arrive_is_a_fault() {
        let mut fixture = fixture();
        fixture.answer(LOKI, 200, nothing());
        let (_, error) = fixture.check(check);
        let error = error.unwrap().to_string();
        assert!(error.ends_with("flask.log`, but it is not in Loki"), "{error}");
    }

    #[test]
    fn wrong_and_missing_labels_are_named() {
        let mut fixture = fixture();
        fixture.answer(
            LOKI,
            200,
            found(&json!({"node": "loki", "service": "flask", "level": "info"})),
        );
        let (sheet, _) = fixture.check(check);
        assert_eq!(
            Outcome::of(&sheet.items).reason().unwrap(),
            "labels: `job` is missing, `node` is `loki`, wanted `app`"
        );
    }

    #[test]
    fn without_loki_or_alloy_nothing_is_proven_and_nothing_written() {
        for name in ["loki", "alloy"] {
            let mut fixture = fixture();
            fixture.without(name, "no program");
            let (sheet, error) = fixture.check(check);
            assert!(error.is_none());
            let Outcome::NotProven { reason, hint } = Outcome::of(&sheet.items) else {
                panic!("{:?}", sheet.items)
            };
            assert_eq!(reason, format!("log line: `{name}` does not run here: no program"));
            assert!(hint.contains(name));
            assert_eq!(fs::read_to_string(fixture.log("flask.log")).unwrap(), "{}\n");
        }
    }

    #[test]
    fn an_app_without_a_log_is_a_fault() {
        let (_, error) = Fixture::new().check(check);
        let error = error.unwrap().to_string();
        assert!(error.starts_with("cannot append to the app's log `"), "{error}");
    }
}
