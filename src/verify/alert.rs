//! Check 6: a test alert fires, arrives at a receiver, and resolves; the time of each is told.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use super::Channels;
use super::channels;
use super::context::{Context, Sheet, seconds};
use super::source::{Source, list};
use super::textfile::Textfile;
use super::verdict::Item;
use crate::error::Note;
use crate::http::Receiver;
use crate::process;

/// Name of the rule that fires while the metric is 1.
const RULE: &str = "MonstackTest";
/// Name of the metric.
const METRIC: &str = "monstack_test_alert";
/// How long one look into the inbox takes.
const GLANCE: Duration = Duration::from_millis(1);

/// The way of one alert.
struct Trial<'a> {
    cx: &'a Context<'a>,
    prometheus: Source<'a>,
    address: SocketAddr,
    inbox: RefCell<Box<dyn Receiver>>,
    file: Textfile,
}

/// Checks the way of an alert.
pub fn check(cx: &Context<'_>, sheet: &mut Sheet) -> Result<()> {
    let trial = Trial::new(cx)?;
    sheet.fact("receiver", trial.address.to_string());
    sheet.items.extend(trial.broken_rules()?);
    let before = channels::counts(cx)?;
    trial.write(1)?;
    let start = cx.clock.now();
    trial.fires().or_else(|error| trial.why_not_fired(error))?;
    trial.note(sheet, "firing", start);
    trial.arrives("firing").or_else(|error| trial.why_not_received(error))?;
    trial.note(sheet, "received", start);
    sheet.items.extend(channels::delivered(cx, &before)?);
    trial.write(0)?;
    let start = cx.clock.now();
    trial.arrives("resolved").hint("run `monstack logs alertmanager`")?;
    trial.note(sheet, "resolved", start);
    let told = |name: &str| sheet.facts.get(name).and_then(Value::as_f64).unwrap_or_default();
    sheet.summary = format!(
        "fired after {:.1} s, received after {:.1} s, resolved after {:.1} s",
        told("firing_seconds"),
        told("received_seconds"),
        told("resolved_seconds")
    );
    Ok(())
}

/// Removes what a verification has left that was killed while its alert fired.
pub fn clean(cx: &Context<'_>) {
    drop(Textfile::new(cx, METRIC, ""));
}

impl<'a> Trial<'a> {
    fn new(cx: &'a Context<'a>) -> Result<Self> {
        let text = cx.service("alertmanager")?.listen("test-receiver");
        let address =
            text.parse().with_context(|| format!("`{text}` is not an address and port"))?;
        let inbox = cx.subject.http.receive(address).or_else(|error| taken(address, error))?;
        Ok(Self {
            cx,
            prometheus: Source::direct(cx, "prometheus")?,
            address,
            inbox: RefCell::new(inbox),
            file: Textfile::new(cx, METRIC, "Whether the test alert should fire."),
        })
    }

    fn write(&self, value: u64) -> Result<()> {
        let notify = match self.cx.subject.channels {
            Channels::Included => "yes",
            Channels::Excluded => "no",
        };
        let stack = self.cx.subject.topology.stack.name.as_str();
        self.file.write(&[("stack", stack), ("run", &self.cx.run), ("notify", notify)], value)
    }

    fn note(&self, sheet: &mut Sheet, station: &str, start: Duration) {
        let taken = self.cx.clock.now().saturating_sub(start);
        sheet.seconds(&format!("{station}_seconds"), taken);
        sheet.items.push(Item::proven(station, format!("{:.1} s", seconds(taken))));
    }

    fn limit(&self) -> Duration {
        self.cx.patience(10, Duration::from_secs(20))
    }

    /// Waits until the rule fires for the metric of this run.
    fn fires(&self) -> Result<()> {
        self.cx.poll(self.limit(), || {
            let rules = self.rules()?;
            let rule = rules
                .iter()
                .find(|rule| rule["name"] == RULE)
                .with_context(|| format!("Prometheus has no rule `{RULE}`"))?;
            let own = list(&rule["alerts"]).find(|alert| self.is_own(alert));
            match own.and_then(|alert| alert["state"].as_str()) {
                Some("firing") => Ok(()),
                Some(state) => bail!("the rule `{RULE}` is {state}, not firing"),
                None => bail!("the rule `{RULE}` does not fire, although `{METRIC}` is 1"),
            }
        })
    }

    /// Waits until the receiver has got the alert of this run with `status`.
    fn arrives(&self, status: &str) -> Result<()> {
        let mut inbox = self.inbox.borrow_mut();
        self.cx.poll(self.limit(), || {
            while let Some(body) = inbox.next(GLANCE) {
                let told: Value = serde_json::from_slice(&body).unwrap_or_default();
                let mut alerts = list(&told["alerts"]);
                if alerts.any(|alert| alert["status"] == status && self.is_own(alert)) {
                    return Ok(());
                }
            }
            bail!("no `{status}` alert arrived at `{}`", self.address)
        })
    }

    fn is_own(&self, alert: &Value) -> bool {
        let labels = &alert["labels"];
        labels["alertname"] == RULE && labels["run"] == self.cx.run.as_str()
    }

    fn rules(&self) -> Result<Vec<Value>> {
        let answer = self.prometheus.get("/api/v1/rules?type=alert")?;
        Ok(list(&answer["data"]["groups"])
            .flat_map(|group| list(&group["rules"]))
            .cloned()
            .collect())
    }

    /// Rules that Prometheus cannot evaluate would stay silent for ever.
    fn broken_rules(&self) -> Result<Vec<Item>> {
        let broken = self.rules()?.into_iter().filter(|rule| rule["health"] == "err").map(|rule| {
            let text = |name: &str| rule[name].as_str().unwrap_or_default().to_owned();
            let name = format!("rule `{}`", text("name"));
            Item::failed(name, text("lastError"), "run `monstack logs prometheus`")
        });
        Ok(broken.collect())
    }

    /// The station where the alert stopped on its way to the rule.
    fn why_not_fired(&self, error: anyhow::Error) -> Result<()> {
        let question = format!("{METRIC}{{run=\"{}\"}}", self.cx.run);
        match self.prometheus.query(&question) {
            Ok(series) if series.is_empty() => Err(anyhow!(
                "`{}` was written, but Prometheus has no series `{METRIC}` of it",
                self.file.path().display()
            ))
            .hint("run `monstack logs agent` and `monstack verify --only metrics`"),
            _ => Err(error).hint("run `monstack logs prometheus`"),
        }
    }

    /// The station where the alert stopped on its way to the receiver.
    fn why_not_received(&self, error: anyhow::Error) -> Result<()> {
        let found = Source::direct(self.cx, "alertmanager").and_then(|alertmanager| {
            let alerts = alertmanager.get("/api/v2/alerts")?;
            Ok(list(&alerts).find(|alert| self.is_own(alert)).cloned())
        });
        let hint = "run `monstack logs alertmanager`";
        let Some(alert) = found.hint(hint)? else {
            return Err(anyhow!(
                "the alert fires in Prometheus, but Alertmanager does not have it"
            ))
            .hint("run `monstack logs prometheus`");
        };
        let state = alert["status"]["state"].as_str().unwrap_or("unknown");
        let receivers: Vec<_> =
            list(&alert["receivers"]).filter_map(|one| one["name"].as_str()).collect();
        Err(anyhow!(
            "{error}; Alertmanager has it (state `{state}`, receivers `{}`), but did not deliver it",
            receivers.join("`, `")
        ))
        .hint(hint)
    }
}

/// Says who keeps the receiver from listening.
fn taken<T>(address: SocketAddr, error: anyhow::Error) -> Result<T> {
    let Some(holder) = process::holder(address) else { return Err(error) };
    let program = holder.program.as_deref().unwrap_or("another user's process");
    let pid = holder.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    Err(anyhow!("`{address}`, where test alerts are received, is held by `{program}`{pid}"))
        .hint("end that program, then run `monstack verify` again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::hint_of;
    use crate::http::{Http, Progress, Request, Response};
    use crate::verify::Subject;
    use crate::verify::context::Clock;
    use crate::verify::fixture::Fixture;
    use crate::verify::verdict::Outcome;
    use serde_json::json;
    use std::fs;
    use std::io::Write;
    use std::net::TcpListener;
    use std::path::PathBuf;
    use std::sync::atomic::AtomicBool;

    const RULES: &str = "http://127.77.1.3:9090/api/v1/rules";
    const QUERY: &str = "http://127.77.1.3:9090/api/v1/query?query=monstack_test_alert%7Brun";
    const ALERTS: &str = "http://127.77.1.3:9093/api/v2/alerts";

    fn labels() -> Value {
        json!({"alertname": RULE, "run": "run1", "severity": "info"})
    }

    fn rules(state: Option<&str>) -> String {
        let alerts: Vec<_> =
            state.iter().map(|state| json!({"state": state, "labels": labels()})).collect();
        json!({"data": {"groups": [{"rules": [
            {"name": "Other", "alerts": [], "health": "ok"},
            {"name": RULE, "alerts": alerts, "health": "ok"}]}]}})
        .to_string()
    }

    fn webhook(status: &str, run: &str) -> String {
        json!({"version": "4", "status": status, "receiver": "test", "alerts": [
            {"status": status, "labels": {"alertname": RULE, "run": run}}]})
        .to_string()
    }

    /// A stack whose rule fires, and a receiver that gets `posted`.
    fn stack(posted: &[String]) -> Fixture {
        let mut fixture = Fixture::new();
        for state in [None, None, Some("pending"), Some("firing")] {
            fixture.answer(RULES, 200, rules(state));
        }
        fixture.answer(QUERY, 200, series(1));
        for body in posted {
            fixture.http = std::mem::take(&mut fixture.http).posted(body.as_str());
        }
        fixture
    }

    fn series(count: usize) -> String {
        let result = vec![json!({"metric": {}, "value": [1, "1"]}); count];
        json!({"data": {"resultType": "vector", "result": result}}).to_string()
    }

    fn failure(fixture: &Fixture) -> (String, String) {
        let (_, error) = fixture.check(check);
        let error = error.unwrap();
        assert!(!fixture.textfile("monstack_test_alert.prom").exists(), "the metric was left");
        (error.to_string(), hint_of(&error).unwrap_or_default().to_owned())
    }

    #[test]
    fn an_alert_fires_arrives_and_resolves() {
        let posted = [
            webhook("firing", "an earlier run"),
            "no JSON".to_owned(),
            webhook("firing", "run1"),
            webhook("resolved", "run1"),
        ];
        let fixture = stack(&posted);
        let (sheet, error) = fixture.check(check);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(Outcome::of(&sheet.items), Outcome::Proven);
        assert_eq!(sheet.facts["receiver"], "127.77.1.3:9099");
        assert_eq!(sheet.facts["firing_seconds"], 0.2);
        assert_eq!(sheet.facts["received_seconds"], 0.2);
        assert_eq!(sheet.facts["resolved_seconds"], 0.0);
        assert_eq!(sheet.summary, "fired after 0.2 s, received after 0.2 s, resolved after 0.0 s");
        assert!(!fixture.textfile("monstack_test_alert.prom").exists());
    }

    /// Tells what an Alertmanager would tell that looked at the written metric right now.
    struct Live<'a>(&'a Fixture);

    impl Http for Live<'_> {
        fn send(&self, request: &Request) -> Result<Response> {
            self.0.http.send(request)
        }

        fn download(&self, url: &str, _: &mut dyn Write, _: &mut Progress<'_>) -> Result<()> {
            bail!("`{url}` is not wanted here")
        }

        fn receive(&self, _: SocketAddr) -> Result<Box<dyn Receiver>> {
            Ok(Box::new(Inbox(self.0.textfile("monstack_test_alert.prom"), String::new())))
        }
    }

    struct Inbox(PathBuf, String);

    impl Receiver for Inbox {
        fn next(&mut self, _: Duration) -> Option<Vec<u8>> {
            let text = fs::read_to_string(&self.0).unwrap();
            if std::mem::replace(&mut self.1, text.clone()) == text {
                return None;
            }
            let status = if text.ends_with(" 1\n") { "firing" } else { "resolved" };
            Some(webhook(status, "run1").into())
        }
    }

    #[test]
    fn the_alert_resolves_because_the_metric_is_written_anew() {
        let fixture = stack(&[]);
        let live = Live(&fixture);
        let subject = Subject { http: &live, ..fixture.subject() };
        let mut sheet = Sheet::default();
        let (clock, run, refused) = (Clock::turned(), "run1".to_owned(), AtomicBool::new(false));
        let cx = Context { subject: &subject, clock: &clock, run, refused };
        check(&cx, &mut sheet).unwrap();
        assert_eq!(Outcome::of(&sheet.items), Outcome::Proven);
    }

    #[test]
    fn an_alert_that_is_told_again_has_not_resolved() {
        let posted = [webhook("firing", "run1"), webhook("firing", "run1")];
        assert_eq!(failure(&stack(&posted)).0, "no `resolved` alert arrived at `127.77.1.3:9099`");
    }

    #[test]
    fn the_metric_says_whose_alert_it_is_and_whether_people_are_told() {
        for (channels, word) in [(Channels::Excluded, "no"), (Channels::Included, "yes")] {
            let mut fixture = stack(&[]);
            fixture.channels = channels;
            fixture.with(|cx| {
                let trial = Trial::new(cx).unwrap();
                trial.write(1).unwrap();
                let text = fs::read_to_string(trial.file.path()).unwrap();
                let sample = format!(
                    "monstack_test_alert{{stack=\"monstack\",run=\"run1\",notify=\"{word}\"}} 1\n"
                );
                assert!(text.ends_with(&sample), "{text}");
            });
        }
    }

    #[test]
    fn a_metric_that_is_not_scraped_is_the_first_station() {
        let mut fixture = Fixture::new();
        fixture.answer(RULES, 200, rules(None));
        fixture.answer(QUERY, 200, series(0));
        let (reason, hint) = failure(&fixture);
        assert!(
            reason.ends_with("Prometheus has no series `monstack_test_alert` of it"),
            "{reason}"
        );
        assert!(hint.contains("monstack logs agent"), "{hint}");
    }

    #[test]
    fn a_rule_that_does_not_fire_is_the_second_station() {
        for (answer, wanted) in [
            (
                rules(None),
                "the rule `MonstackTest` does not fire, although `monstack_test_alert` is 1",
            ),
            (rules(Some("pending")), "the rule `MonstackTest` is pending, not firing"),
            (r#"{"data":{"groups":[]}}"#.to_owned(), "Prometheus has no rule `MonstackTest`"),
        ] {
            let mut fixture = Fixture::new();
            fixture.answer(RULES, 200, answer);
            fixture.answer(QUERY, 200, series(1));
            assert_eq!(failure(&fixture).0, wanted);
        }
    }

    #[test]
    fn an_alert_that_alertmanager_does_not_have_is_the_third_station() {
        let mut fixture = stack(&[]);
        fixture.answer(ALERTS, 200, "[]");
        assert_eq!(
            failure(&fixture).0,
            "the alert fires in Prometheus, but Alertmanager does not have it"
        );
    }

    #[test]
    fn an_alert_that_is_not_delivered_is_the_fourth_station() {
        let mut fixture = stack(&[webhook("firing", "an earlier run")]);
        let alert = json!([{"labels": labels(), "status": {"state": "suppressed"},
                            "receivers": [{"name": "test"}, {"name": "people"}]}]);
        fixture.answer(ALERTS, 200, alert.to_string());
        assert_eq!(
            failure(&fixture).0,
            "no `firing` alert arrived at `127.77.1.3:9099`; Alertmanager has it \
             (state `suppressed`, receivers `test`, `people`), but did not deliver it"
        );
    }

    #[test]
    fn an_alert_that_does_not_resolve_is_the_fifth_station() {
        let (reason, hint) = failure(&stack(&[webhook("firing", "run1")]));
        assert_eq!(reason, "no `resolved` alert arrived at `127.77.1.3:9099`");
        assert_eq!(hint, "run `monstack logs alertmanager`");
    }

    #[test]
    fn a_rule_that_cannot_be_evaluated_is_named() {
        let mut fixture = Fixture::new();
        let rules = json!({"data": {"groups": [{"rules": [
            {"name": "HostDown", "alerts": [], "health": "err", "lastError": "many-to-many"}]}]}});
        fixture.answer(RULES, 200, rules.to_string());
        let (sheet, _) = fixture.check(check);
        assert_eq!(Outcome::of(&sheet.items).reason(), Some("rule `HostDown`: many-to-many"));
    }

    #[test]
    fn who_holds_the_port_of_the_receiver_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = taken::<()>(address, anyhow!("in use")).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(error.starts_with(&format!("`{address}`, where test alerts")), "{error}");
        assert!(error.ends_with(&format!("(pid {pid})")), "{error}");
        drop(listener);
        let error = taken::<()>(address, anyhow!("no permission")).unwrap_err();
        assert_eq!(error.to_string(), "no permission");
    }

    #[test]
    fn what_a_killed_run_left_is_cleaned() {
        let fixture = Fixture::new();
        let path = fixture.textfile("monstack_test_alert.prom");
        fs::write(&path, "monstack_test_alert 1\n").unwrap();
        fixture.with(clean);
        assert!(!path.exists());
    }
}
