//! The questions that the panels of a dashboard ask, with its variables filled in.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use regex::{Captures, Regex};
use serde_json::Value;

use super::source::list;

/// What one target of a panel asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Titles of dashboard and panel, and the letter of the target.
    pub name: String,
    /// What answers it.
    pub language: Language,
    /// The expression, with variables filled in.
    pub expression: String,
}

/// Languages of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Of Prometheus.
    PromQl,
    /// Of Loki.
    LogQl,
}

/// Durations that stand for Grafana's built-in variables, such as `8s`.
#[derive(Clone, Debug)]
pub struct Durations {
    /// The distance of values, and the window of rates.
    pub interval: String,
    /// The part of time that is shown.
    pub range: String,
}

/// A dashboard, taken apart.
#[derive(Debug, Default)]
pub struct Dashboard {
    /// Number of panels that show data.
    pub panels: usize,
    /// What they ask.
    pub questions: Vec<Question>,
    /// Panels that cannot be asked, with the reason.
    pub faults: Vec<(String, String)>,
}

/// Kinds of panels that show no data of their own.
const SILENT: &[&str] = &["row", "text", "dashlist", "alertlist", "annolist", "news"];
/// What a variable stands for that has no value of its own.
const ANYTHING: &str = ".*";

/// Takes the dashboard in `json` apart.
pub fn read(json: &[u8], durations: impl Fn(Language) -> Durations) -> Result<Dashboard> {
    let json: Value = serde_json::from_slice(json).context("it is not JSON")?;
    let title = json["title"].as_str().unwrap_or("untitled");
    let variables = variables(&json["templating"]["list"]);
    let mut dashboard = Dashboard::default();
    for panel in panels(&json) {
        let name = format!("{title} / {}", panel["title"].as_str().unwrap_or("untitled"));
        dashboard.panels += 1;
        let targets: Vec<&Value> = list(&panel["targets"]).collect();
        if targets.is_empty() {
            dashboard.faults.push((name.clone(), "it has no query".to_owned()));
        }
        for target in targets.into_iter().filter(|target| !is_internal(target)) {
            let letter = target["refId"].as_str().unwrap_or("?");
            let name = format!("{name} [{letter}]");
            match question(panel, target, &variables) {
                Ok((language, expression)) => {
                    let expression = fill_in(&expression, &variables, &durations(language));
                    dashboard.questions.push(Question { name, language, expression });
                }
                Err(reason) => dashboard.faults.push((name, reason)),
            }
        }
    }
    Ok(dashboard)
}

/// All panels that show data, those inside rows too.
fn panels(json: &Value) -> Vec<&Value> {
    list(&json["panels"])
        .flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])))
        .filter(|panel| !SILENT.contains(&panel["type"].as_str().unwrap_or_default()))
        .collect()
}

/// Calculations of Grafana on other targets ask nobody.
fn is_internal(target: &Value) -> bool {
    let uid = target["datasource"]["uid"].as_str().or(target["datasource"].as_str());
    matches!(uid, Some("__expr__" | "-- Grafana --" | "grafana" | "-- Dashboard --"))
}

fn question(
    panel: &Value,
    target: &Value,
    variables: &BTreeMap<String, String>,
) -> Result<(Language, String), String> {
    let own = &target["datasource"];
    let source = if own.is_null() { &panel["datasource"] } else { own };
    let uid = source["uid"].as_str().or(source.as_str()).unwrap_or("prometheus");
    let name = uid.trim_matches(['$', '{', '}']);
    let uid =
        if uid.starts_with('$') { variables.get(name).map_or("", String::as_str) } else { uid };
    let language = match uid {
        "prometheus" => Language::PromQl,
        "loki" => Language::LogQl,
        other => {
            return Err(format!(
                "it asks the data source `{other}`, which the stack does not have"
            ));
        }
    };
    match target["expr"].as_str() {
        Some(expression) if !expression.trim().is_empty() => Ok((language, expression.to_owned())),
        _ => Err("its query is empty".to_owned()),
    }
}

/// Names of variables with what each stands for at first.
fn variables(templating: &Value) -> BTreeMap<String, String> {
    list(templating)
        .filter_map(|variable| {
            let name = variable["name"].as_str()?.to_owned();
            let text =
                |value: &Value| value.as_str().map(str::to_owned).filter(|text| !text.is_empty());
            let current = match &variable["current"]["value"] {
                Value::Array(values) => {
                    let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
                    Some(values.join("|")).filter(|joined| !joined.is_empty())
                }
                value => text(value),
            };
            let first = || text(&variable["options"][0]["value"]);
            let value = match variable["type"].as_str() {
                // A data source variable without a choice takes the first source of its kind.
                Some("datasource" | "constant" | "textbox") => current.or(text(&variable["query"])),
                Some("custom" | "interval") => current.or_else(first),
                _ => current,
            };
            let every = || text(&variable["allValue"]).unwrap_or_else(|| ANYTHING.to_owned());
            let value = value.filter(|value| value != "$__all").unwrap_or_else(every);
            Some((name, value))
        })
        .collect()
}

/// Replaces `$name`, `${name}`, `${name:format}` and `[[name]]`; unknown names stay, for they may mean something else.
fn fill_in(
    expression: &str,
    variables: &BTreeMap<String, String>,
    durations: &Durations,
) -> String {
    let Ok(pattern) = Regex::new(r"\$(\w+)|\$\{(\w+)(?::\w+)?\}|\[\[(\w+)\]\]") else {
        return expression.to_owned();
    };
    let mut text = String::new();
    let mut end = 0;
    for found in pattern.captures_iter(expression) {
        let Some(whole) = found.get(0) else { continue };
        text.push_str(&expression[end..whole.start()]);
        end = whole.end();
        let value = name_of(&found).and_then(|name| value_of(name, variables, durations));
        let Some(value) = value else {
            text.push_str(whole.as_str());
            continue;
        };
        // A choice of several or of anything is a pattern, which `=` would take literally.
        if (value == ANYTHING || value.contains('|'))
            && text.ends_with("=\"")
            && !text.ends_with("!=\"")
        {
            text.truncate(text.len() - 1);
            text.push_str("~\"");
        }
        text.push_str(&value);
    }
    text.push_str(&expression[end..]);
    text
}

fn name_of<'t>(found: &Captures<'t>) -> Option<&'t str> {
    (1..=3).find_map(|group| found.get(group)).map(|group| group.as_str())
}

fn value_of(
    name: &str,
    variables: &BTreeMap<String, String>,
    durations: &Durations,
) -> Option<String> {
    match name {
        "__rate_interval" | "__interval" | "__auto" => Some(durations.interval.clone()),
        "__range" => Some(durations.range.clone()),
        _ => variables.get(name).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn durations(_: Language) -> Durations {
        Durations { interval: "8s".to_owned(), range: "5m".to_owned() }
    }

    fn ask(json: &Value) -> Dashboard {
        read(json.to_string().as_bytes(), durations).unwrap()
    }

    #[test]
    fn questions_of_all_panels_are_found() {
        let json = json!({"title": "Hosts", "panels": [
            {"type": "row", "title": "Row", "panels": [
                {"type": "stat", "title": "Up", "datasource": {"type": "prometheus", "uid": "prometheus"},
                 "targets": [{"refId": "A", "expr": "up"}]}]},
            {"type": "text", "title": "Read me"},
            {"type": "timeseries", "title": "Both", "datasource": {"uid": "-- Mixed --"}, "targets": [
                {"refId": "A", "expr": "up", "datasource": {"uid": "prometheus"}},
                {"refId": "B", "expr": "{node=\"app\"}", "datasource": {"type": "loki", "uid": "loki"}},
                {"refId": "C", "type": "math", "datasource": {"uid": "__expr__"}}]}
        ]});
        let dashboard = ask(&json);
        assert_eq!(dashboard.panels, 2);
        let seen: Vec<_> = dashboard
            .questions
            .iter()
            .map(|one| (one.name.as_str(), one.language, one.expression.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("Hosts / Up [A]", Language::PromQl, "up"),
                ("Hosts / Both [A]", Language::PromQl, "up"),
                ("Hosts / Both [B]", Language::LogQl, "{node=\"app\"}"),
            ]
        );
        assert_eq!(dashboard.faults, []);
    }

    #[test]
    fn panels_that_cannot_be_asked_are_faults() {
        let json = json!({"title": "D", "panels": [
            {"type": "stat", "title": "None"},
            {"type": "stat", "title": "Empty", "targets": [{"refId": "A", "expr": " "}]},
            {"type": "stat", "title": "Other", "datasource": {"uid": "mimir"},
             "targets": [{"refId": "A", "expr": "up"}]}
        ]});
        assert_eq!(
            ask(&json).faults,
            [
                ("D / None", "it has no query"),
                ("D / Empty [A]", "its query is empty"),
                ("D / Other [A]", "it asks the data source `mimir`, which the stack does not have")
            ]
            .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
        );
    }

    #[test]
    fn variables_take_their_first_value() {
        let list = json!([
            {"name": "job", "type": "custom", "current": {"value": "node"}},
            {"name": "instance", "type": "query", "current": {}},
            {"name": "disk", "type": "query", "current": {"value": ["a", "b"]}},
            {"name": "every", "type": "query", "current": {"value": ["$__all"]}, "allValue": ".+"},
            {"name": "fixed", "type": "constant", "query": "f"},
            {"name": "pick", "type": "custom", "options": [{"value": "one"}, {"value": "two"}]},
            {"name": "source", "type": "datasource", "query": "prometheus", "current": {}}
        ]);
        let variables = variables(&list);
        let pairs: Vec<_> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("disk", "a|b"),
                ("every", ".+"),
                ("fixed", "f"),
                ("instance", ".*"),
                ("job", "node"),
                ("pick", "one"),
                ("source", "prometheus"),
            ]
        );
    }

    #[test]
    fn variables_are_filled_in_wherever_they_stand() {
        let variables = BTreeMap::from([
            ("job".to_owned(), "node".to_owned()),
            ("instance".to_owned(), ".*".to_owned()),
        ]);
        for (expression, wanted) in [
            ("a{job=\"$job\"}", "a{job=\"node\"}"),
            ("a{instance=\"$instance\"}", "a{instance=~\".*\"}"),
            ("a{instance=~\"${instance:regex}\"}", "a{instance=~\".*\"}"),
            ("a{instance!=\"$instance\"}", "a{instance!=\".*\"}"),
            ("rate(a{job=\"[[job]]\"}[$__rate_interval])", "rate(a{job=\"node\"}[8s])"),
            ("increase(a[$__range]) > $unknown", "increase(a[5m]) > $unknown"),
            (
                "label_replace(a, \"b\", \"$1\", \"c\", \"(.*)\")",
                "label_replace(a, \"b\", \"$1\", \"c\", \"(.*)\")",
            ),
        ] {
            assert_eq!(fill_in(expression, &variables, &durations(Language::PromQl)), wanted);
        }
    }

    #[test]
    fn a_source_may_be_chosen_by_a_variable() {
        let json = json!({"title": "D",
            "templating": {"list": [{"name": "source", "type": "datasource", "query": "loki"}]},
            "panels": [{"type": "logs", "title": "L", "datasource": {"uid": "${source}"},
                        "targets": [{"refId": "A", "expr": "{a=\"b\"}"}]}]});
        assert_eq!(ask(&json).questions[0].language, Language::LogQl);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert_eq!(read(b"{", durations).unwrap_err().to_string(), "it is not JSON");
    }
}
