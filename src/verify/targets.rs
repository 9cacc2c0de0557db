//! Check 1: exactly the expected targets are scraped, each is up, and its samples are fresh.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::context::{Context, Sheet, seconds};
use super::source::{Series, Source, labels, list};
use super::verdict::{Item, Outcome};

/// How far the clock of Prometheus may be from the one of this machine.
const SKEW: Duration = Duration::from_secs(5);
const WAY_OUT: &str = "run `monstack status`, then `monstack up`";

/// A target that should be there: job and URL.
type Wanted = (String, String);

/// A target as Prometheus has it.
#[derive(Debug)]
struct Target {
    job: String,
    url: String,
    instance: String,
    health: String,
    error: String,
}

/// The latest sample of a target's `up`.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// When it was taken, in seconds since 1970 by the clock of Prometheus.
    time: f64,
    /// How long ago that is.
    age: f64,
}

/// Latest samples by job and instance.
type Samples = BTreeMap<(String, String), Sample>;

/// Checks the targets.
pub fn check(cx: &Context<'_>, sheet: &mut Sheet) -> Result<()> {
    let prometheus = Source::direct(cx, "prometheus")?;
    let wanted = wanted(cx);
    let limit = cx.patience(15, Duration::from_secs(30));
    let mut began = None;
    let settled = cx.poll(limit, || {
        let start = match began {
            Some(start) => start,
            None => *began.insert(prometheus.time()?.as_secs_f64()),
        };
        let found = targets(&prometheus.get("/api/v1/targets?state=active")?);
        let samples = samples(&prometheus.query("time() - timestamp(up)")?);
        sheet.items = judge(&wanted, &found, |target| judge_one(target, &samples, start));
        let oldest = samples.values().map(|sample| sample.age).fold(0.0, f64::max);
        sheet.fact("oldest_sample_seconds", (oldest * 1000.0).round() / 1000.0);
        ensure!(Outcome::of(&sheet.items) == Outcome::Proven, "not every target is up");
        Ok(oldest)
    });
    let up = sheet.items.iter().filter(|item| item.outcome == Outcome::Proven).count();
    sheet.fact("expected", wanted.len());
    sheet.fact("up", up);
    match settled {
        Ok(oldest) => sheet.summary = format!("{up} targets up, oldest sample {oldest:.1} s"),
        // The items say it better, if there are any.
        Err(error) if sheet.items.is_empty() => return Err(error),
        Err(_) => sheet.summary = format!("{up} of {} targets up", wanted.len()),
    }
    compare_clocks(cx, &prometheus, sheet)
}

fn wanted(cx: &Context<'_>) -> Vec<Wanted> {
    let mut all: Vec<_> = cx
        .subject
        .topology
        .services()
        .filter_map(|service| {
            let job = service.component.job.as_ref()?;
            let url = format!("http://{}{}", service.listen(job.port), job.path);
            Some((job.name.to_owned(), url))
        })
        .collect();
    all.sort();
    all
}

fn targets(answer: &Value) -> Vec<Target> {
    list(&answer["data"]["activeTargets"])
        .map(|target| {
            let text = |name: &str| target[name].as_str().unwrap_or_default().to_owned();
            let mut labels = labels(&target["labels"]);
            let mut label = |name: &str| labels.remove(name).unwrap_or_default();
            Target {
                job: label("job"),
                instance: label("instance"),
                url: text("scrapeUrl"),
                health: text("health"),
                error: text("lastError"),
            }
        })
        .collect()
}

fn samples(answer: &[Series]) -> Samples {
    let label = |one: &Series, name: &str| one.labels.get(name).cloned().unwrap_or_default();
    answer
        .iter()
        .filter_map(|one| {
            let (now, age) = *one.values.last()?;
            let sample = Sample { time: now - age, age };
            Some(((label(one, "job"), label(one, "instance")), sample))
        })
        .collect()
}

/// One item per target that is wanted or there.
fn judge(
    wanted: &[Wanted],
    found: &[Target],
    judge_one: impl Fn(&Target) -> Result<String>,
) -> Vec<Item> {
    let mut items: Vec<Item> = wanted
        .iter()
        .map(|(job, url)| {
            let target = found.iter().find(|target| target.job == *job && target.url == *url);
            let judged = target.context("Prometheus does not scrape it").and_then(&judge_one);
            let name = format!("{job} {url}");
            match judged {
                Ok(detail) => Item::proven(name, detail),
                Err(error) => Item::failed(name, error.to_string(), WAY_OUT),
            }
        })
        .collect();
    let strange = |target: &&Target| {
        !wanted.iter().any(|(job, url)| target.job == *job && target.url == *url)
    };
    items.extend(found.iter().filter(strange).map(|target| {
        let name = format!("{} {}", target.job, target.url);
        Item::failed(name, "Prometheus scrapes it, but it is no part of the stack", WAY_OUT)
    }));
    items
}

/// A target may have been up until a moment ago, so only a sample since the check began counts.
fn judge_one(target: &Target, samples: &Samples, start: f64) -> Result<String> {
    match target.health.as_str() {
        "up" => {}
        "unknown" => bail!("it was not scraped yet"),
        health => bail!("it is {health}: {}", target.error),
    }
    let Some(Sample { time, age }) =
        samples.get(&(target.job.clone(), target.instance.clone())).copied()
    else {
        bail!("it is up, but no sample of it is stored")
    };
    ensure!(time > start, "it is up, but its latest sample is {age:.1} s old");
    Ok(format!("sample {age:.1} s old"))
}

/// People ask for the last minutes by the clock of this machine; samples of another time would not show.
fn compare_clocks(cx: &Context<'_>, prometheus: &Source<'_>, sheet: &mut Sheet) -> Result<()> {
    let (theirs, ours) = (prometheus.time()?, cx.clock.now());
    let skew = theirs.abs_diff(ours);
    sheet.seconds("skew_seconds", skew);
    if skew > SKEW {
        let way = if theirs > ours { "ahead of" } else { "behind" };
        let reason = format!("it is {:.1} s {way} the clock of this machine", seconds(skew));
        sheet.items.push(Item::failed(
            "clock of Prometheus",
            reason,
            "set both clocks, for example by `timedatectl set-ntp true`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::context::tests::EPOCH;
    use crate::verify::fixture::Fixture;
    use serde_json::json;

    const BASE: &str = "http://127.77.1.3:9090/api/v1";

    /// What a Prometheus says that has all targets, as a list to be spoilt.
    fn healthy(fixture: &Fixture) -> Vec<Value> {
        fixture
            .with(wanted)
            .into_iter()
            .map(|(job, url)| {
                let instance = url.trim_start_matches("http://").replace("/metrics", "");
                json!({"labels": {"job": job, "instance": instance}, "scrapeUrl": url,
                       "health": "up", "lastError": ""})
            })
            .collect()
    }

    /// Lets Prometheus tell these targets, with samples of this age 3 s after the check began, by a clock that shows `time` then.
    fn serve(fixture: &mut Fixture, targets: &[Value], age: f64, time: f64) {
        let ups: Vec<_> = targets
            .iter()
            .filter(|target| target["health"] == "up")
            .map(
                |target| json!({"metric": target["labels"], "value": [EPOCH + 3, age.to_string()]}),
            )
            .collect();
        let targets = json!({"status": "success", "data": {"activeTargets": targets}});
        let ups = json!({"status": "success", "data": {"resultType": "vector", "result": ups}});
        let time = json!({"data": {"resultType": "scalar", "result": [time, time.to_string()]}});
        fixture.answer(&format!("{BASE}/targets"), 200, targets.to_string());
        fixture.answer(&format!("{BASE}/query?query=time%28%29%20-"), 200, ups.to_string());
        let clock = format!("{BASE}/query?query=time%28%29");
        let start = json!({"data": {"resultType": "scalar", "result": [0, EPOCH.to_string()]}});
        fixture.answer(&clock, 200, start.to_string());
        fixture.answer(&clock, 200, time.to_string());
    }

    fn reason(sheet: &Sheet) -> String {
        Outcome::of(&sheet.items).reason().unwrap_or_default().to_owned()
    }

    #[test]
    fn all_expected_targets_are_proven() {
        let mut fixture = Fixture::new();
        let targets = healthy(&fixture);
        serve(&mut fixture, &targets, 1.24, EPOCH as f64 + 0.5);
        let (sheet, error) = fixture.check(check);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(Outcome::of(&sheet.items), Outcome::Proven);
        assert_eq!(sheet.summary, "8 targets up, oldest sample 1.2 s");
        assert_eq!(sheet.facts["expected"], 8);
        assert_eq!(sheet.facts["up"], 8);
        assert_eq!(sheet.facts["oldest_sample_seconds"], 1.24);
        assert_eq!(sheet.facts["skew_seconds"], 0.5);
        let names: Vec<_> = sheet.items.iter().map(|item| item.name.as_str()).collect();
        assert!(names.contains(&"app http://127.77.1.5:9102/metrics"), "{names:?}");
    }

    #[test]
    fn a_target_that_comes_up_late_is_waited_for() {
        let mut fixture = Fixture::new();
        let targets = healthy(&fixture);
        let mut early = targets.clone();
        early[0]["health"] = "unknown".into();
        let early = json!({"data": {"activeTargets": early}});
        fixture.answer(&format!("{BASE}/targets"), 200, early.to_string());
        serve(&mut fixture, &targets, 1.0, EPOCH as f64);
        let (sheet, error) = fixture.check(check);
        assert!(error.is_none());
        assert_eq!(Outcome::of(&sheet.items), Outcome::Proven);
    }

    #[test]
    fn a_target_that_is_down_is_told_with_the_error_of_prometheus() {
        let mut fixture = Fixture::new();
        let mut targets = healthy(&fixture);
        targets[0]["health"] = "down".into();
        targets[0]["lastError"] = "connection refused".into();
        serve(&mut fixture, &targets, 1.0, EPOCH as f64 + 30.0);
        let (sheet, _) = fixture.check(check);
        assert_eq!(
            reason(&sheet),
            "agent http://127.77.1.5:9101/metrics: it is down: connection refused"
        );
        assert_eq!(sheet.facts["up"], 7);
        assert_eq!(sheet.summary, "7 of 8 targets up");
    }

    #[test]
    fn missing_and_unexpected_targets_are_named() {
        let mut fixture = Fixture::new();
        let mut targets = healthy(&fixture);
        targets[0]["scrapeUrl"] = "http://192.0.2.1:9101/metrics".into();
        serve(&mut fixture, &targets, 1.0, EPOCH as f64 + 30.0);
        let (sheet, _) = fixture.check(check);
        assert_eq!(
            reason(&sheet),
            "agent http://127.77.1.5:9101/metrics: Prometheus does not scrape it; \
             agent http://192.0.2.1:9101/metrics: \
             Prometheus scrapes it, but it is no part of the stack"
        );
    }

    #[test]
    fn a_component_that_is_missing_is_not_expected() {
        let mut fixture = Fixture::new();
        fixture.without("loki", "none");
        let targets = healthy(&fixture);
        serve(&mut fixture, &targets, 1.0, EPOCH as f64);
        let (sheet, _) = fixture.check(check);
        assert_eq!(sheet.facts["expected"], 7);
        assert_eq!(Outcome::of(&sheet.items), Outcome::Proven);
    }

    #[test]
    fn stale_samples_are_a_fault() {
        let mut fixture = Fixture::new();
        let targets = healthy(&fixture);
        serve(&mut fixture, &targets, 3.5, EPOCH as f64 + 30.0);
        let (sheet, _) = fixture.check(check);
        let reason = reason(&sheet);
        assert!(reason.contains("it is up, but its latest sample is 3.5 s old"), "{reason}");
    }

    #[test]
    fn samples_that_are_not_stored_are_a_fault() {
        let mut fixture = Fixture::new();
        let targets = healthy(&fixture);
        fixture.answer(
            &format!("{BASE}/query?query=time%28%29%20-"),
            200,
            r#"{"data":{"resultType":"vector","result":[]}}"#,
        );
        fixture.answer(
            &format!("{BASE}/query?query=time%28%29"),
            200,
            format!(r#"{{"data":{{"resultType":"scalar","result":[1,"{EPOCH}"]}}}}"#),
        );
        let targets = json!({"data": {"activeTargets": targets}});
        fixture.answer(&format!("{BASE}/targets"), 200, targets.to_string());
        let (sheet, _) = fixture.check(check);
        assert!(reason(&sheet).contains("no sample of it is stored"), "{}", reason(&sheet));
    }

    #[test]
    fn clocks_that_differ_are_a_fault() {
        let mut fixture = Fixture::new();
        let targets = healthy(&fixture);
        serve(&mut fixture, &targets, 1.0, EPOCH as f64 - 60.0);
        let (sheet, _) = fixture.check(check);
        assert_eq!(
            reason(&sheet),
            "clock of Prometheus: it is 60.0 s behind the clock of this machine"
        );
        assert_eq!(sheet.facts["skew_seconds"], 60.0);
    }

    #[test]
    fn a_prometheus_that_does_not_answer_is_the_error() {
        let (sheet, error) = Fixture::new().check(check);
        assert!(sheet.items.is_empty());
        assert!(error.unwrap().to_string().contains("/api/v1/query` does not answer"));
    }
}
