use super::*;
use crate::config::StackFile;
use crate::config::model::{ComponentSettings, TargetKind};
use crate::error::{exit_of, hint_of, messages};
use crate::exit::Exit;
use crate::topology::Seat;

fn topology() -> Topology {
    Topology::new(StackFile::default(), Seat::default())
}

fn input() -> Input {
    let homes = [("grafana".to_owned(), PathBuf::from("/opt/grafana"))].into();
    Input { facts: Facts { worker: None, homes, ..Facts::default() }, ..Input::default() }
}

fn rendered(topology: &Topology, root: &str) -> Result<BTreeMap<String, String>> {
    let none = |_: &str| None;
    let layout = Layout::new(root);
    let files = render(topology, &layout, &Assets::new(&none), &input())?;
    let text = |file: Rendered| {
        let path = file.path.strip_prefix(root).unwrap().display().to_string();
        (path, String::from_utf8_lossy(&file.contents).into_owned())
    };
    Ok(files.into_iter().map(text).collect())
}

fn default_file(path: &str) -> String {
    rendered(&topology(), "/s").unwrap().remove(path).unwrap()
}

#[test]
fn every_rendered_yaml_file_is_yaml_and_every_dashboard_json() {
    for (path, text) in rendered(&topology(), "/s").unwrap() {
        if path.contains("/source/") {
            continue;
        }
        if path.ends_with(".yml") {
            let value: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
            assert!(value.is_mapping(), "{path}");
        } else if path.ends_with(".json") {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
}

#[test]
fn the_source_of_the_app_comes_along() {
    let none = |_: &str| None;
    let assets = Assets::new(&none);
    let files = rendered(&topology(), "/s").unwrap();
    for asset in assets.list("app/") {
        let path = format!("rendered/app/app/source/{}", asset.strip_prefix("app/").unwrap());
        assert!(files.contains_key(&path), "{path}");
    }
}

#[test]
fn what_is_missing_is_neither_scraped_nor_written_to() {
    let mut topology = topology();
    for name in ["loki", "alloy", "grafana"] {
        topology.missing.insert(name, "not had".to_owned());
    }
    let files = rendered(&topology, "/s").unwrap();
    assert!(files.keys().all(|path| !path.contains("loki") && !path.contains("grafana")));
    let prometheus = &files["rendered/prometheus/prometheus/prometheus.yml"];
    assert!(!prometheus.contains("loki") && !prometheus.contains("alloy"));
    assert!(prometheus.contains("job_name: \"app\""));
}

#[test]
fn a_log_shipper_without_a_log_store_ships_nothing() {
    let mut topology = topology();
    topology.missing.insert("loki", "not had".to_owned());
    let files = rendered(&topology, "/s").unwrap();
    assert!(!files["rendered/app/alloy/config.alloy"].contains("loki."));
    let grafana = "rendered/grafana/grafana/provisioning";
    assert!(!files[&format!("{grafana}/datasources/stack.yml")].contains("uid: loki"));
    assert!(!files[&format!("{grafana}/alerting/logs.yml")].contains("groups:"));
}

#[test]
fn logs_that_nobody_ships_raise_no_alert() {
    let mut topology = topology();
    topology.missing.insert("alloy", "not had".to_owned());
    let files = rendered(&topology, "/s").unwrap();
    assert!(!files["rendered/grafana/grafana/provisioning/alerting/logs.yml"].contains("groups:"));
}

#[test]
fn intervals_and_retention_come_from_the_stack_file() {
    let settings = ComponentSettings {
        scrape_interval: Some(crate::config::Duration::seconds(7)),
        retention: Some(crate::config::Duration::days(3)),
        ..ComponentSettings::default()
    };
    let mut topology = topology();
    topology.stack.components.insert("prometheus".to_owned(), settings);
    let files = rendered(&topology, "/s").unwrap();
    assert!(
        files["rendered/prometheus/prometheus/prometheus.yml"].contains("scrape_interval: \"7s\"")
    );
    let sources = &files["rendered/grafana/grafana/provisioning/datasources/stack.yml"];
    assert!(sources.contains("timeInterval: \"7s\""));
    let service = topology.service("prometheus").unwrap();
    let spec = service_spec(&topology, &Layout::new("/s"), &input(), &service).unwrap();
    assert!(spec.args.contains(&"--storage.tsdb.retention.time=3d".to_owned()), "{spec:?}");
}

#[test]
fn other_targets_scrape_less_often_and_ship_the_logs_of_their_node_only() {
    let mut topology = topology();
    topology.stack.target = TargetKind::Hosts;
    let files = rendered(&topology, "/s").unwrap();
    assert!(
        files["rendered/prometheus/prometheus/prometheus.yml"].contains("scrape_interval: \"15s\"")
    );
    let alloy = &files["rendered/app/alloy/config.alloy"];
    assert!(alloy.contains("flask.log") && !alloy.contains("prometheus.log"));
}

#[test]
fn nginx_names_a_user_only_where_it_changes_to_one() {
    assert!(!default_file("rendered/app/nginx/nginx.conf").contains("\nuser "));
}

#[test]
fn users_are_told_of_the_test_alert_only_where_it_says_so() {
    let text = default_file("secrets/rendered/prometheus/alertmanager/alertmanager.yml");
    let file: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let (told, test) = (&file["route"]["routes"][0], &file["route"]["routes"][1]);
    assert_eq!(
        (&told["receiver"], &told["matchers"][1]),
        (&"people".into(), &"notify=\"yes\"".into())
    );
    assert_eq!(test["matchers"], serde_yaml::Value::from(vec!["alertname=\"MonstackTest\""]));
    assert_eq!(test["receiver"], "monstack-test");
    assert!(test.get("continue").is_none());
    let receivers = file["receivers"].as_sequence().unwrap();
    let test = receivers.iter().find(|it| it["name"] == "monstack-test").unwrap();
    assert_eq!(test["webhook_configs"][0]["url"], "http://127.77.1.3:9099/");
    assert_eq!(test.as_mapping().unwrap().len(), 2, "it leads to the listener alone");
}

#[test]
fn an_empty_variable_is_left_out_of_the_environment() {
    let topology = topology();
    let service = topology.service("app").unwrap();
    let spec = service_spec(&topology, &Layout::new("/s"), &input(), &service).unwrap();
    let names: Vec<_> = spec.env.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"MONSTACK_APP_BIND"));
    assert!(!names.contains(&"MONSTACK_APP_DATABASE_URL_FILE"));
}

#[test]
fn a_secret_that_was_not_resolved_is_named() {
    let mut topology = topology();
    topology.stack.notify =
        serde_yaml::from_str("discord: {webhook: {env: DISCORD_WEBHOOK_URL}}").unwrap();
    let error = rendered(&topology, "/s").unwrap_err();
    assert_eq!(exit_of(&error), Exit::USAGE);
    let message = &messages(&error)[0];
    assert!(
        message.starts_with("cannot render `templates/alertmanager/alertmanager.yml`: line "),
        "{message}"
    );
    assert!(
        message.ends_with("`secrets.discord_webhook | yaml`: the value is not defined"),
        "{message}"
    );
}

#[test]
fn a_folder_that_a_format_cannot_hold_is_told() {
    let error = rendered(&topology(), "/two\nlines").unwrap_err();
    assert!(messages(&error)[0].contains("an INI value cannot hold a line break"), "{error}");
    let error = rendered(&topology(), "/all/*").unwrap_err();
    assert!(messages(&error)[0].contains("`templates/prometheus/prometheus.yml`"), "{error}");
}

#[test]
fn a_folder_that_is_not_utf8_is_told() {
    use std::os::unix::ffi::OsStringExt;
    let root = PathBuf::from(std::ffi::OsString::from_vec(b"/s\xff".to_vec()));
    let none = |_: &str| None;
    let error = render(&topology(), &Layout::new(root), &Assets::new(&none), &input()).unwrap_err();
    assert!(messages(&error)[0].contains("is not valid UTF-8"));
    assert!(hint_of(&error).unwrap().contains("`-C`"));
}

#[test]
fn a_file_of_the_user_stands_in_front() {
    let shadow = |path: &str| {
        (path == "templates/loki/loki.yml").then(|| b"at: {{ own.listen | yaml }}".to_vec())
    };
    let files = render(&topology(), &Layout::new("/s"), &Assets::new(&shadow), &input()).unwrap();
    let loki = files.iter().find(|file| file.component == "loki").unwrap();
    assert_eq!(String::from_utf8_lossy(&loki.contents), "at: \"127.77.1.4:3100\"");
}
