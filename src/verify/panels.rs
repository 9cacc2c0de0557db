//! Check 5: every query of every panel returns something; what is empty is told with the reason.

use std::time::Duration;

use anyhow::{Result, bail};

use super::context::{Context, Sheet, excerpt};
use super::dashboard::{Durations, Language, Question, read};
use super::presence::Presence;
use super::request::ask as visit;
use super::selector::{label_of, selectors};
use super::source::{Source, Span, series, streams};
use super::verdict::Item;
use crate::component::Component;

/// Labels of log lines that tell them apart by weight: none of a kind is no fault.
const WEIGHTS: &[&str] = &["level", "detected_level", "status"];
const WAY_OUT: &str = "run `monstack verify --only metrics,logs` and `monstack status`";

/// What a question brought.
enum Answer {
    /// Something to show.
    Shown(String),
    /// Something to show, though not of all that it asks for.
    Partial(String),
    /// Nothing.
    Empty,
    /// An error.
    Refused(String),
}

/// Checks the panels.
pub fn check(cx: &Context<'_>, sheet: &mut Sheet) -> Result<()> {
    let questions = questions(cx, sheet);
    let (askable, unaskable): (Vec<Question>, Vec<Question>) =
        questions.into_iter().partition(|question| gap(cx, question).is_none());
    sheet.fact("queries", askable.len() + unaskable.len());
    sheet.fact("unproven", unaskable.len());
    sheet.items.extend(unaskable.iter().map(|question| {
        let (reason, hint) = gap(cx, question).unwrap_or_default();
        Item::not_proven(&question.name, reason, hint)
    }));
    let asked = askable.len();
    let empty = ask_all(cx, sheet, askable)?;
    sheet.fact("empty", empty.len());
    sheet.summary =
        format!("{} of {} queries return data", asked - empty.len(), asked + unaskable.len());
    for (question, answer) in empty {
        let reason = match answer {
            Answer::Refused(error) => error,
            _ => diagnose(cx, &question)?,
        };
        sheet.items.push(Item::failed(question.name, reason, WAY_OUT));
    }
    Ok(())
}

/// What does not run here and would have to answer: the source itself, or a component whose metrics are wanted.
fn gap(cx: &Context<'_>, question: &Question) -> Option<(String, String)> {
    if question.language == Language::LogQl {
        return cx.gap(&["loki", "alloy"]);
    }
    let wanted = selectors(&question.expression).into_iter().flat_map(|one| one.matchers);
    let jobs: Vec<String> = wanted.filter(|matcher| label_of(matcher) == "job").collect();
    let is_wanted = |name: &&'static str| {
        let job = Component::named(name).and_then(|component| component.job.as_ref());
        job.is_some_and(|job| jobs.contains(&format!("job=\"{}\"", job.name)))
    };
    let missing: Vec<_> = cx.subject.topology.missing.keys().copied().filter(is_wanted).collect();
    cx.gap(&missing)
}

/// The questions of all dashboards; what cannot be read is written down.
fn questions(cx: &Context<'_>, sheet: &mut Sheet) -> Vec<Question> {
    let (mut questions, mut panels) = (Vec::new(), 0);
    for (name, json) in &cx.subject.dashboards {
        match read(json, |language| language.durations(cx)) {
            Ok(dashboard) => {
                panels += dashboard.panels;
                questions.extend(dashboard.questions);
                let faults = dashboard.faults.into_iter();
                sheet.items.extend(faults.map(|(name, reason)| Item::failed(name, reason, "")));
            }
            Err(error) => {
                let hint = "run `monstack render --diff`";
                sheet.items.push(Item::failed(name, format!("{error:#}"), hint));
            }
        }
    }
    if cx.subject.dashboards.is_empty() {
        let hint = "run `monstack up`, it renders the dashboards";
        sheet.items.push(Item::failed("dashboards", "there are none", hint));
    }
    sheet.fact("dashboards", cx.subject.dashboards.len());
    sheet.fact("panels", panels);
    questions
}

/// Asks until everything was answered, for a stack that has just started needs a few samples first.
fn ask_all(
    cx: &Context<'_>,
    sheet: &mut Sheet,
    questions: Vec<Question>,
) -> Result<Vec<(Question, Answer)>> {
    let mut open: Vec<_> =
        questions.into_iter().map(|question| (question, Answer::Empty)).collect();
    let pause = (cx.subject.interval / 2).max(Duration::from_millis(100));
    let limit = cx.patience(10, Duration::from_secs(20));
    let mut partial = 0;
    let settled = cx.poll_every(pause, limit, || {
        for (question, _) in std::mem::take(&mut open) {
            cx.proceed()?;
            match ask(cx, &question) {
                Answer::Shown(detail) => sheet.items.push(Item::proven(question.name, detail)),
                Answer::Partial(detail) => {
                    partial += 1;
                    sheet.items.push(Item::proven(question.name, detail));
                }
                answer => open.push((question, answer)),
            }
        }
        if !open.is_empty() {
            cx.admitted()?;
            stir(cx);
            bail!("{} queries return nothing", open.len());
        }
        Ok(())
    });
    sheet.fact("partial", partial);
    cx.proceed()?;
    // An error means that time is over; the caller looks into what is open.
    settled.map(|()| Vec::new()).or(Ok(open))
}

/// Rates and latencies need requests; an idle app has none.
fn stir(cx: &Context<'_>) {
    for path in ["/", "/info"] {
        // The checks of targets and requests tell when nginx does not answer.
        let _ = visit(cx, path, &cx.run);
    }
}

fn ask(cx: &Context<'_>, question: &Question) -> Answer {
    try_ask(cx, question).unwrap_or_else(|error| Answer::Refused(excerpt(&format!("{error:#}"))))
}

fn try_ask(cx: &Context<'_>, question: &Question) -> Result<Answer> {
    let source = Source::shown(cx, question.language.component())?;
    let span = question.language.span(cx);
    let (shown, lines) = match question.language {
        Language::PromQl => (source.range(&question.expression, span)?, Vec::new()),
        Language::LogQl => {
            let answer = source.logs(&question.expression, span)?;
            (series(&answer), streams(&answer))
        }
    };
    // Grafana draws nothing where there is no number.
    let shown = shown.iter().filter(|one| one.values.iter().any(|(_, value)| !value.is_nan()));
    let (shown, lines) = (shown.count(), lines.iter().map(|one| one.lines.len()).sum::<usize>());
    if shown > 0 {
        let hidden = match question.language {
            Language::PromQl => Presence::new(&source).hidden(&question.expression)?,
            Language::LogQl => None,
        };
        return Ok(match hidden {
            None => Answer::Shown(format!("{shown} series")),
            Some(absent) => Answer::Partial(format!("{shown} series, but there is no `{absent}`")),
        });
    }
    match question.language {
        _ if lines > 0 => Ok(Answer::Shown(format!("{lines} lines"))),
        Language::PromQl => Ok(Answer::Empty),
        Language::LogQl => Ok(quiet(&source, question, span)?.map_or(Answer::Empty, Answer::Shown)),
    }
}

/// A log panel may be empty because nothing of its kind was logged, as long as its streams are there.
fn quiet(loki: &Source<'_>, question: &Question, span: Span) -> Result<Option<String>> {
    let mut all = selectors(&question.expression).into_iter();
    let Some(stream) = all.find(|selector| selector.metric.is_none()) else { return Ok(None) };
    let wide = stream.with(|matcher| !WEIGHTS.contains(&label_of(matcher))).text();
    let has_lines = streams(&loki.logs(&wide, span)?).iter().any(|one| !one.lines.is_empty());
    Ok(has_lines.then(|| format!("answers; no line matches at present, but `{wide}` has lines")))
}

/// Why a question has no answer.
fn diagnose(cx: &Context<'_>, question: &Question) -> Result<String> {
    let expression = excerpt(&question.expression);
    if question.language == Language::LogQl {
        return Ok(format!("no line in the last hour for `{expression}`"));
    }
    let source = Source::shown(cx, "prometheus")?;
    let reason = Presence::new(&source).missing(&question.expression)?;
    Ok(reason
        .unwrap_or_else(|| format!("every metric of it is there, but `{expression}` has no value")))
}

impl Language {
    fn component(self) -> &'static str {
        match self {
            Self::PromQl => "prometheus",
            Self::LogQl => "loki",
        }
    }

    /// Metrics come every few seconds, log lines when something happens.
    fn span(self, cx: &Context<'_>) -> Span {
        let end = cx.clock.now();
        match self {
            Self::PromQl => {
                Span { end, back: Duration::from_secs(300), step: cx.subject.interval * 4 }
            }
            Self::LogQl => {
                Span { end, back: Duration::from_secs(3600), step: Duration::from_secs(60) }
            }
        }
    }

    fn durations(self, cx: &Context<'_>) -> Durations {
        let span = self.span(cx);
        let text = |duration: Duration| format!("{}ms", duration.as_millis());
        Durations { interval: text(span.step), range: text(span.back) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::encode;
    use crate::verify::fixture::Fixture;
    use crate::verify::verdict::Outcome;
    use serde_json::{Value, json};

    const METRICS: &str = "http://127.77.1.2:3000/api/datasources/proxy/uid/prometheus/api/v1";
    const LOGS: &str =
        "http://127.77.1.2:3000/api/datasources/proxy/uid/loki/loki/api/v1/query_range?query=";

    fn dashboard(panels: &[(&str, &str)]) -> (String, Vec<u8>) {
        let panels: Vec<_> = panels
            .iter()
            .map(|(uid, expression)| {
                json!({"type": "timeseries", "title": "P", "datasource": {"uid": uid},
                       "targets": [{"refId": "A", "expr": expression}]})
            })
            .collect();
        ("d.json".to_owned(), json!({"title": "D", "panels": panels}).to_string().into())
    }

    fn matrix(values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| json!([1, value])).collect();
        let result =
            if values.is_empty() { json!([]) } else { json!([{"metric": {}, "values": values}]) };
        json!({"data": {"resultType": "matrix", "result": result}}).to_string()
    }

    fn vector(is_there: impl Fn() -> bool) -> String {
        let result =
            if is_there() { json!([{"metric": {}, "value": [1, "2"]}]) } else { json!([]) };
        json!({"data": {"resultType": "vector", "result": result}}).to_string()
    }

    fn lines(lines: &[&str]) -> String {
        let values: Vec<_> = lines.iter().map(|line| json!(["1", line])).collect();
        json!({"data": {"resultType": "streams", "result": [{"stream": {}, "values": values}]}})
            .to_string()
    }

    /// A stack whose dashboard asks `expression`, gets `answers`, and where `series` exist.
    fn stack(expression: &str, answers: &[String], series: &[&str]) -> Fixture {
        let mut fixture = Fixture::new();
        fixture.dashboards = vec![dashboard(&[("prometheus", expression)])];
        for answer in answers {
            fixture.answer(&format!("{METRICS}/query_range"), 200, answer.as_str());
        }
        fixture.answer(&format!("{METRICS}/query?"), 200, vector(|| false));
        for one in series {
            let count = format!("{METRICS}/query?query={}", encode(&format!("count({one})")));
            fixture.answer(&count, 200, vector(|| true));
        }
        fixture
    }

    fn run(fixture: &Fixture) -> (Sheet, Outcome) {
        let (sheet, error) = fixture.check(check);
        assert!(error.is_none(), "{error:?}");
        let outcome = Outcome::of(&sheet.items);
        (sheet, outcome)
    }

    fn reason(fixture: &Fixture) -> String {
        run(fixture).1.reason().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_panel_that_shows_something_is_proven() {
        let fixture = stack("rate(up[$__rate_interval])", &[matrix(&["NaN", "0"])], &[]);
        let (sheet, outcome) = run(&fixture);
        assert_eq!(outcome, Outcome::Proven, "{:?}", sheet.items);
        assert_eq!(sheet.summary, "1 of 1 queries return data");
        for (name, value) in
            [("dashboards", 1), ("panels", 1), ("queries", 1), ("empty", 0), ("unproven", 0)]
        {
            assert_eq!(sheet.facts[name], Value::from(value), "{name}");
        }
        let asked = fixture.http.asked();
        assert!(
            asked[0].starts_with(&format!(
                "{METRICS}/query_range?query=rate%28up%5B8000ms%5D%29&start="
            )),
            "{asked:?}"
        );
        assert!(asked[0].ends_with("&step=8"), "{asked:?}");
    }

    #[test]
    fn a_fresh_stack_is_given_time_and_traffic() {
        let fixture = stack("rate(up[1m])", &[matrix(&[]), matrix(&["NaN"]), matrix(&["1"])], &[]);
        assert_eq!(run(&fixture).1, Outcome::Proven);
        let visits = fixture.http.asked().iter().filter(|url| url.ends_with(":8080/info")).count();
        assert_eq!(visits, 2);
    }

    #[test]
    fn a_metric_that_is_missing_is_named() {
        let fixture = stack("sum(rate(gone{job=\"a\"}[1m])) / up", &[matrix(&[])], &["up"]);
        assert_eq!(reason(&fixture), "D / P [A]: the metric `gone` is missing");
        assert_eq!(run(&fixture).0.facts["empty"], 1);
    }

    #[test]
    fn a_label_that_is_missing_is_named() {
        let expression = "up{job=\"a\",node=\"b\"}";
        let fixture = stack(expression, &[matrix(&[])], &["up", "up{job=\"a\"}"]);
        assert_eq!(reason(&fixture), "D / P [A]: no series of `up` has `node=\"b\"`");
        let all = ["up", "up{job=\"a\"}", "up{node=\"b\"}"];
        assert_eq!(
            reason(&stack(expression, &[matrix(&[])], &all)),
            "D / P [A]: no series of `up` has all of `job=\"a\",node=\"b\"`"
        );
    }

    #[test]
    fn an_expression_without_value_is_told_when_all_metrics_are_there() {
        let fixture = stack("rate(up[1m]) > 9", &[matrix(&[])], &["up"]);
        assert_eq!(
            reason(&fixture),
            "D / P [A]: every metric of it is there, but `rate(up[1m]) > 9` has no value"
        );
    }

    #[test]
    fn what_an_alternative_hides_is_told() {
        let expression = "sum(rate(faults[1m])) or vector(0)";
        let (sheet, outcome) = run(&stack(expression, &[matrix(&["0"])], &[]));
        assert_eq!(outcome, Outcome::Proven);
        assert_eq!(sheet.facts["partial"], 1);
        assert_eq!(sheet.items[0].detail, "1 series, but there is no `faults`");
        let (sheet, _) = run(&stack(expression, &[matrix(&["0"])], &["faults"]));
        assert_eq!(sheet.facts["partial"], 0);
        assert_eq!(sheet.items[0].detail, "1 series");
    }

    #[test]
    fn an_expression_that_is_refused_is_told_in_the_words_of_the_server() {
        let mut fixture = Fixture::new();
        fixture.dashboards = vec![dashboard(&[("prometheus", "up{")])];
        fixture.answer(METRICS, 400, r#"{"error":"parse error"}"#);
        assert!(reason(&fixture).ends_with("answered 400: parse error"));
    }

    #[test]
    fn log_panels_show_lines() {
        let mut fixture = Fixture::new();
        fixture.dashboards = vec![dashboard(&[("loki", "{service=\"flask\"}")])];
        fixture.answer(LOGS, 200, lines(&["a", "b"]));
        let (sheet, outcome) = run(&fixture);
        assert_eq!(outcome, Outcome::Proven);
        assert_eq!(sheet.items[0].detail, "2 lines");
    }

    #[test]
    fn no_error_in_the_log_is_no_fault_while_the_log_is_there() {
        let expression = "{service=\"flask\", level=\"ERROR\"}";
        let mut fixture = Fixture::new();
        fixture.dashboards = vec![dashboard(&[("loki", expression)])];
        fixture.answer(LOGS, 200, lines(&[]));
        let wide = encode("{service=\"flask\"}");
        fixture.answer(&format!("{LOGS}{wide}"), 200, lines(&["a"]));
        let (sheet, outcome) = run(&fixture);
        assert_eq!(outcome, Outcome::Proven, "{:?}", sheet.items);
        assert!(sheet.items[0].detail.contains("but `{service=\"flask\"}` has lines"));
    }

    #[test]
    fn a_log_that_is_not_there_is_a_fault() {
        let mut fixture = Fixture::new();
        fixture.dashboards = vec![dashboard(&[("loki", "{service=\"x\"}")])];
        fixture.answer(LOGS, 200, lines(&[]));
        assert_eq!(reason(&fixture), "D / P [A]: no line in the last hour for `{service=\"x\"}`");
    }

    #[test]
    fn without_loki_its_panels_are_not_proven_and_the_others_are() {
        let mut fixture = stack("up", &[matrix(&["1"])], &[]);
        fixture.without("loki", "no program");
        fixture.dashboards = vec![dashboard(&[("prometheus", "up"), ("loki", "{a=\"b\"}")])];
        let (sheet, outcome) = run(&fixture);
        assert!(matches!(outcome, Outcome::NotProven { .. }), "{outcome:?}");
        assert_eq!(sheet.facts["unproven"], 1);
        assert_eq!(sheet.summary, "1 of 2 queries return data");
    }

    #[test]
    fn panels_about_a_component_that_is_missing_are_not_proven() {
        let own = "rate(loki_lines_total{job=\"loki\"}[1m]) or 0 * up{job=\"loki\"}";
        let mut fixture = stack(own, &[matrix(&[])], &[]);
        fixture.without("loki", "no program");
        let (sheet, outcome) = run(&fixture);
        assert!(matches!(outcome, Outcome::NotProven { .. }), "{outcome:?}");
        assert_eq!(sheet.facts["unproven"], 1);
        for expression in ["up{job=\"app\"}", "vector(1)", "up"] {
            let mut fixture = stack(expression, &[matrix(&["1"])], &[]);
            fixture.without("loki", "no program");
            assert_eq!(run(&fixture).1, Outcome::Proven, "{expression}");
        }
    }

    #[test]
    fn dashboards_that_are_missing_or_broken_are_faults() {
        let mut fixture = Fixture::new();
        assert_eq!(reason(&fixture), "dashboards: there are none");
        fixture.dashboards = vec![("hosts.json".to_owned(), b"{".to_vec())];
        assert!(reason(&fixture).starts_with("hosts.json: it is not JSON"));
    }
}
