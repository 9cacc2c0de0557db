//! No secret leaves the folder `secrets/`: one canary each, looked for in every form and every place.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails, and one that is skipped says so"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Run, Sandbox, component, is_lab_skipped, standins, wait_until};
use monstack::http::real::Real;
use monstack::http::{Http, Request, encode};
use monstack::process;
use serde_json::{Value, json};

/// Letters and digits alone: they look the same in JSON, YAML, INI, HTML and a shell.
const SLACK: &str = "CanarySlack4f7Q2";
const DISCORD: &str = "CanaryDiscord8kW3";
const SMTP: &str = "CanarySmtp5nR9";
const DATABASE: &str = "CanaryDatabase6tY1";

const STACK: &str = r#"
notify:
  slack: {webhook: {file: slack.url}}
  discord: {webhook: {command: cat discord.url}}
  email:
    to: [oncall@example.org]
    smtp: {host: 127.0.0.1, port: 9, user: monstack, password: {env: LAB_SMTP_PASSWORD}}
app:
  database_url: {file: database.url}
"#;

#[test]
fn no_secret_is_found_outside_its_folder() {
    if is_lab_skipped("the search for secrets") {
        return;
    }
    let sandbox = notified_stack();
    let mut heard = Heard::default();
    failing_runs(&sandbox, &mut heard);
    heard.run(&sandbox, &["plan", "-vvv"], 0);
    heard.run(&sandbox, &["up", "-vvv"], 0);
    an_alert_is_sent_to_everybody(&sandbox);
    for args in [
        &["up", "-o", "json"][..],
        &["plan", "-o", "json"],
        &["config", "show"],
        &["config", "show", "-o", "json"],
        &["config", "validate", "-vvv"],
        &["render", "-vvv"],
        &["render", "--diff"],
        &["status", "-vvv"],
        &["status", "-o", "json"],
        &["verify", "-o", "json"],
        &["logs", "alertmanager", "-o", "json"],
        &["logs", "app"],
        &["logs", "grafana"],
        &["open", "--print"],
        &["lock", "status"],
        &["version"],
    ] {
        heard.run(&sandbox, args, 0);
    }
    other_contents_are_not_shown(&sandbox, &mut heard);

    let canaries = canaries(&sandbox);
    assert_eq!(canaries.len(), 6);
    let forms: Vec<Vec<u8>> = canaries.iter().flat_map(|canary| forms(canary)).collect();
    // Where they belong they are, so the search finds what there is to find.
    let kept = files(&sandbox.stack("monstack").join("secrets"));
    let kept = kept.iter().map(|file| fs::read_to_string(file).unwrap()).collect::<String>();
    assert!(canaries.iter().all(|canary| kept.contains(canary)));
    heard.silent_of(&forms);
    files_are_silent(&sandbox, &forms);
    processes_know_nothing(&sandbox, &forms);
    heard.run(&sandbox, &["down", "-vvv", "--yes", "--confirm", "monstack"], 0);
    heard.silent_of(&forms);
    assert!(!sandbox.stack("monstack").exists());
}

#[test]
fn the_password_of_a_database_that_is_away_is_not_told() {
    if is_lab_skipped("a database that is away") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("monstack.yml", "app: {database_url: {file: database.url}}");
    sandbox.write("database.url", &format!("mysql+pymysql://user:{DATABASE}@127.0.0.1:9/db"));
    let mut heard = Heard::default();
    heard.run(&sandbox, &["up", "-vvv", "--no-verify", "--timeout", "8s"], 9);
    heard.run(&sandbox, &["logs", "app", "-vvv"], 0);
    let log = fs::read_to_string(sandbox.stack("monstack").join("logs/flask.log")).unwrap();
    assert!(log.contains("Can't connect to MySQL server"), "the database was not asked");
    let forms = forms(DATABASE);
    heard.silent_of(&forms);
    files_are_silent(&sandbox, &forms);
    processes_know_nothing(&sandbox, &forms);
}

#[test]
fn an_open_umask_opens_nothing() {
    if is_lab_skipped("the modes of files") {
        return;
    }
    let open = ["sh", "-c", "umask 000; exec \"$0\" \"$@\""];
    let sandbox = notified_stack().with_wrapper(&open);
    sandbox.run(&["up", "--no-verify"]).code(0);
    secrets_are_closed(&sandbox);
    let all = entries(&sandbox.path().join(".monstack"));
    for path in all.iter().filter(|path| !path.is_symlink()) {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        let socket = path.extension().is_some_and(|extension| extension == "sock");
        assert!(mode & 0o002 == 0 || socket, "everybody may write `{}` ({mode:o})", path.display());
    }
    sandbox.run(&["up", "--no-verify"]).code(0).answers("nothing changed");
    secrets_are_closed(&sandbox);
}

#[test]
fn a_closed_umask_closes_nothing_that_services_need() {
    if is_lab_skipped("the stack under a closed umask") {
        return;
    }
    let closed = ["sh", "-c", "umask 077; exec \"$0\" \"$@\""];
    let sandbox = Sandbox::new().with_wrapper(&closed);
    sandbox.run(&["up", "--no-verify"]).code(0);
    let url = component(&sandbox.status(), "nginx")["url"].as_str().unwrap().to_owned();
    assert!(common::get(&format!("{url}/view")).is_some());
    secrets_are_closed(&sandbox);
}

/// A stack that tells everybody, with a secret of each kind.
fn notified_stack() -> Sandbox {
    let sandbox = Sandbox::new()
        .with_path(&standins())
        .with_env("LAB_SMTP_PASSWORD", format!("it's \"{SMTP}\" 100% & {{{{x}}}} é"));
    sandbox.write("monstack.yml", STACK);
    sandbox.write("slack.url", &format!("https://hooks.slack.example/services/T0/B0/{SLACK}\n"));
    sandbox.write("discord.url", &format!("https://discord.example/api/webhooks/1/{DISCORD}?a=b"));
    let data = sandbox.stack("monstack").join("data/app");
    let url = format!("sqlite:///{}/{DATABASE}.sqlite", data.display());
    sandbox.write("database.url", &url);
    sandbox
}

fn failing_runs(sandbox: &Sandbox, heard: &mut Heard) {
    let bad_program = ["up", "-vvv", "--set", "components.prometheus.path=/nonexistent/prometheus"];
    heard.run(sandbox, &bad_program, 4);
    heard.run(sandbox, &["up", "--set", "notify.slack.webhook.file=/nonexistent/slack"], 3);
    // The secret itself stands where a reference belongs.
    let literal = format!("notify.slack.webhook=https://hooks.slack.example/{SLACK}");
    heard.run(sandbox, &["up", "--set", &literal], 2);
    // A template of the user is refused by the program that checks it, which quotes it.
    sandbox.write(
        "templates/alertmanager/alertmanager.yml",
        "route: {{ secrets.discord_webhook | yaml }}\n",
    );
    heard.run(sandbox, &["up", "-vvv"], 4);
    fs::remove_dir_all(sandbox.path().join("templates")).unwrap();
    interrupted(sandbox, heard);
}

/// Ctrl-C in the middle.
fn interrupted(sandbox: &Sandbox, heard: &mut Heard) {
    let args = ["up", "-vvv"];
    let child = sandbox.spawn(&args);
    let pid = rustix::process::Pid::from_child(&child);
    let journal = sandbox.stack("monstack").join("journal.jsonl");
    wait_until("the last phase", || {
        fs::read_to_string(&journal).is_ok_and(|journal| journal.contains("Prove the signals"))
    });
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    heard.take(Run::of(&args, child.wait_with_output().unwrap()).code(130));
}

/// An alert of the user's, so that Alertmanager tries each way of telling people, and fails.
fn an_alert_is_sent_to_everybody(sandbox: &Sandbox) {
    let url = component(&sandbox.status(), "alertmanager")["url"].as_str().unwrap().to_owned();
    let alert = json!([{"labels": {"alertname": "LabAlert", "severity": "critical"}}]);
    let request =
        Request::post(format!("{url}/api/v2/alerts"), "application/json", alert.to_string());
    assert!(Real::default().send(&request).unwrap().is_success());
    wait_until("a failed notification of each kind", || {
        let metrics = common::get(&format!("{url}/metrics")).unwrap_or_default();
        ["slack", "discord", "email"].iter().all(|kind| {
            metrics.lines().any(|line| {
                line.starts_with("alertmanager_notification_requests_failed_total")
                    && line.contains(&format!("integration=\"{kind}\""))
                    && !line.ends_with(" 0")
            })
        })
    });
}

/// A secret file that was changed by hand is written anew, and neither content is shown.
fn other_contents_are_not_shown(sandbox: &Sandbox, heard: &mut Heard) {
    let file =
        sandbox.stack("monstack").join("secrets/rendered/prometheus/alertmanager/alertmanager.yml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(DISCORD));
    fs::write(&file, format!("{text}# {SMTP}\n")).unwrap();
    let diff = sandbox.run(&["render", "--diff"]).code(0).answers("contents hidden");
    heard.take(diff);
    heard.run(sandbox, &["plan"], 0);
    heard.run(sandbox, &["up", "--no-verify", "-vvv"], 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    secrets_are_closed(sandbox);
}

fn secrets_are_closed(sandbox: &Sandbox) {
    let folder = sandbox.stack("monstack").join("secrets");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for path in files(&folder) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// Journal, logs, records, rendered files, data.
fn files_are_silent(sandbox: &Sandbox, forms: &[Vec<u8>]) {
    let files = files(sandbox.path());
    assert!(files.len() > 50, "{files:?}");
    for file in files.iter().filter(|file| !is_their_place(sandbox, file)) {
        let bytes = fs::read(file).unwrap_or_default();
        assert_silent(&bytes, forms, &file.display().to_string());
    }
}

/// Arguments and environment of the stack's own processes.
fn processes_know_nothing(sandbox: &Sandbox, forms: &[Vec<u8>]) {
    let status = sandbox.status();
    let rows = status["components"].as_array().unwrap().iter();
    let pids = rows.map(|row| &row["pid"]).chain([&status["supervisor"]]);
    let roots: Vec<u32> = pids.filter_map(|pid| u32::try_from(pid.as_u64()?).ok()).collect();
    assert!(roots.len() > 6, "{status:#}");
    let family = process::descendants(&roots);
    assert!(family.len() > roots.len(), "{family:?}");
    for pid in family {
        for part in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{part}")).unwrap_or_default();
            assert_silent(&bytes, forms, &format!("`{part}` of {:?}", process::name(pid)));
        }
    }
}

/// All that was said.
#[derive(Default)]
struct Heard(Vec<Run>);

impl Heard {
    #[track_caller]
    fn run(&mut self, sandbox: &Sandbox, args: &[&str], code: i32) {
        self.take(sandbox.run(args).code(code));
    }

    fn take(&mut self, run: Run) {
        self.0.push(run);
    }

    fn silent_of(&self, forms: &[Vec<u8>]) {
        for run in &self.0 {
            for text in [&run.stdout, &run.stderr] {
                assert_silent(text.as_bytes(), forms, &format!("`monstack {}`", run.args));
            }
        }
    }
}

#[track_caller]
fn assert_silent(bytes: &[u8], forms: &[Vec<u8>], place: &str) {
    for form in forms {
        let Some(at) = bytes.windows(form.len()).position(|window| window == form) else {
            continue;
        };
        let around = &bytes[at.saturating_sub(200)..(at + form.len() + 50).min(bytes.len())];
        panic!("a secret is in {place}: {}", String::from_utf8_lossy(around));
    }
}

/// Every secret of the stack: those of the stack file, and those that were made.
fn canaries(sandbox: &Sandbox) -> Vec<String> {
    let made = ["grafana_admin_password", "grafana_secret_key"];
    let secrets = sandbox.stack("monstack").join("secrets");
    let made = made.map(|name| fs::read_to_string(secrets.join(name)).unwrap());
    [SLACK, DISCORD, SMTP, DATABASE].map(str::to_owned).into_iter().chain(made).collect()
}

/// A canary as it is, and as base64 and hexadecimal numbers show it, wherever in a longer text it begins.
fn forms(canary: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![canary.to_owned(), encode(canary), Value::from(canary).to_string()];
    forms.push(canary.bytes().map(|byte| format!("{byte:02x}")).collect());
    for shift in 0..3 {
        let padded = [&vec![0; shift][..], canary.as_bytes()].concat();
        let text = base64(&padded[..padded.len() / 3 * 3]);
        // The first letters also depend on what stands before.
        forms.push(text[4 * usize::from(shift > 0)..].to_owned());
    }
    forms.into_iter().map(String::into_bytes).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let words = bytes
        .chunks_exact(3)
        .map(|three| three.iter().fold(0, |word, byte| word << 8 | usize::from(*byte)));
    let letters = words.flat_map(|word| [18, 12, 6, 0].map(|bits| LETTERS[word >> bits & 63]));
    letters.map(char::from).collect()
}

/// Where a secret may be: where the user wrote it, in `secrets/`, and what the app stores.
fn is_their_place(sandbox: &Sandbox, file: &Path) -> bool {
    let stack = sandbox.stack("monstack");
    file.starts_with(stack.join("secrets"))
        || file.starts_with(stack.join("data/app"))
        || file.extension().is_some_and(|extension| extension == "url")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_file()).collect()
}

/// Files and folders below `folder`.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(inside) = fs::read_dir(folder) else { return Vec::new() };
    let inside = inside.map(|entry| entry.unwrap().path());
    inside
        .flat_map(|path| {
            let below = if path.is_symlink() { Vec::new() } else { entries(&path) };
            [vec![path], below].concat()
        })
        .collect()
}

#[test]
fn canaries_are_found_in_every_form() {
    let bytes = b"x: CanarySlack4f7Q2 y";
    let found = |text: &str| {
        forms(SLACK).iter().any(|form| text.as_bytes().windows(form.len()).any(|part| part == form))
    };
    assert!(found(&String::from_utf8_lossy(bytes)));
    for before in ["", "a", "ab", "user:"] {
        let text = format!("{before}{SLACK}...");
        let whole = &text.as_bytes()[..text.len() / 3 * 3];
        assert!(found(&base64(whole)), "{before}");
    }
    assert_eq!(base64(b"foobar"), "Zm9vYmFy");
    assert!(!found("CanarySlack"));
}
