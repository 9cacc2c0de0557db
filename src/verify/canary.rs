//! Check 2: a value written on a node is read back where people look at metrics.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::context::{Context, Sheet, seconds};
use super::source::Source;
use super::textfile::Textfile;
use super::verdict::Item;
use crate::error::Note;

/// Name of the metric.
const METRIC: &str = "monstack_canary";

/// Checks the way of a metric.
pub fn check(cx: &Context<'_>, sheet: &mut Sheet) -> Result<()> {
    let source = Source::shown(cx, "prometheus")?;
    let stack = cx.subject.topology.stack.name.as_str();
    // Microseconds since 1970 are unique enough and exact as a floating-point number.
    let value = u64::try_from(cx.clock.now().as_micros()).unwrap_or(u64::MAX) % (1 << 53);
    sheet.fact("value", value);
    sheet.fact("through", source.name());
    let file = Textfile::new(cx, METRIC, "Value that the running verification wrote.");
    file.write(&[("stack", stack), ("run", &cx.run)], value)?;
    let start = cx.clock.now();
    let question = format!("{METRIC}{{stack=\"{stack}\",run=\"{}\"}}", cx.run);
    cx.poll(cx.patience(10, Duration::from_secs(20)), || read_back(&source, &question, value))
        .hint("run `monstack logs agent` and `monstack logs prometheus`")?;
    let taken = cx.clock.now().saturating_sub(start);
    sheet.seconds("read_back_seconds", taken);
    let (name, taken) = (source.name(), seconds(taken));
    sheet.summary = format!("{value} came back through {name} after {taken:.1} s");
    sheet.items.push(Item::proven(format!("read back through {name}"), format!("{taken:.1} s")));
    if name != "grafana" {
        let (reason, hint) = cx.gap(&["grafana"]).unwrap_or_default();
        sheet.items.push(Item::not_proven("read back through grafana", reason, hint));
    }
    Ok(())
}

fn read_back(source: &Source<'_>, question: &str, value: u64) -> Result<()> {
    let found = source.query(question)?;
    let seen = found
        .first()
        .and_then(|series| series.values.last())
        .map(|(_, value)| *value)
        .with_context(|| format!("{} has no series `{METRIC}` of this run", source.name()))?;
    #[expect(clippy::cast_precision_loss, reason = "the value fits the mantissa")]
    let wanted = value as f64;
    #[expect(clippy::float_cmp, reason = "the value must come back as it is")]
    let same = seen == wanted;
    ensure!(same, "{} says {seen}, but {value} was written", source.name());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::context::tests::EPOCH;
    use crate::verify::fixture::Fixture;
    use crate::verify::verdict::Outcome;
    use serde_json::json;

    const PROXY: &str = "http://127.77.1.2:3000/api/datasources/proxy/uid/prometheus/api/v1/query";
    const DIRECT: &str = "http://127.77.1.3:9090/api/v1/query";
    const ASKED: &str = "?query=monstack_canary%7Bstack%3D%22monstack%22%2Crun%3D%22run1%22%7D";
    const VALUE: u64 = EPOCH * 1_000_000;

    fn vector(values: &[&str]) -> String {
        let result: Vec<_> =
            values.iter().map(|value| json!({"metric": {}, "value": [1, value]})).collect();
        json!({"data": {"resultType": "vector", "result": result}}).to_string()
    }

    fn is_gone(fixture: &Fixture) -> bool {
        !fixture.textfile("monstack_canary.prom").exists()
    }

    #[test]
    fn the_value_comes_back_through_grafana() {
        let mut fixture = Fixture::new();
        fixture.answer(&format!("{PROXY}{ASKED}"), 200, vector(&[]));
        fixture.answer(&format!("{PROXY}{ASKED}"), 200, vector(&[&VALUE.to_string()]));
        let (sheet, error) = fixture.check(check);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(Outcome::of(&sheet.items), Outcome::Proven);
        assert_eq!(sheet.facts["through"], "grafana");
        assert_eq!(sheet.facts["value"], VALUE);
        assert_eq!(sheet.facts["read_back_seconds"], 0.1);
        assert!(is_gone(&fixture));
    }

    #[test]
    fn without_grafana_the_half_behind_it_is_not_proven() {
        let mut fixture = Fixture::new();
        fixture.without("grafana", "no download");
        fixture.answer(&format!("{DIRECT}{ASKED}"), 200, vector(&[&VALUE.to_string()]));
        let (sheet, error) = fixture.check(check);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(sheet.facts["through"], "prometheus");
        let Outcome::NotProven { reason, hint } = Outcome::of(&sheet.items) else {
            panic!("{:?}", sheet.items)
        };
        assert_eq!(reason, "read back through grafana: `grafana` does not run here: no download");
        assert!(hint.contains("PATH"));
    }

    #[test]
    fn a_value_that_does_not_come_back_is_a_fault_and_leaves_no_file() {
        let mut fixture = Fixture::new();
        fixture.answer(PROXY, 200, vector(&[]));
        let (_, error) = fixture.check(check);
        assert_eq!(
            error.unwrap().to_string(),
            "grafana has no series `monstack_canary` of this run"
        );
        assert!(is_gone(&fixture));
    }

    #[test]
    fn another_value_is_a_fault() {
        let mut fixture = Fixture::new();
        fixture.answer(PROXY, 200, vector(&["7"]));
        let (_, error) = fixture.check(check);
        assert_eq!(error.unwrap().to_string(), format!("grafana says 7, but {VALUE} was written"));
    }

    #[test]
    fn a_refused_password_is_told_without_it_and_not_tried_again() {
        let mut fixture = Fixture::new();
        fixture.answer(PROXY, 401, r#"{"message":"Invalid username or password"}"#);
        fixture.with(|cx| {
            for _ in 0..2 {
                let error = format!("{:#}", check(cx, &mut Sheet::default()).unwrap_err());
                assert!(error.starts_with("Grafana refuses the password of its user"), "{error}");
                assert!(error.contains("secrets/grafana_admin_password"), "{error}");
                assert!(!error.contains("hunter2"), "{error}");
            }
        });
        let asked = fixture.http.asked();
        assert_eq!(asked.len(), 1, "a further try would lock the user out");
    }
}
