//! Whether Alertmanager reached the channels of the users with the test alert.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Channels;
use super::context::Context;
use super::verdict::Item;
use crate::http::Request;

/// Tries and failures of each kind of channel since Alertmanager started.
pub type Counts = BTreeMap<String, (f64, f64)>;

const TRIES: &str = "alertmanager_notification_requests_total{";
const FAILURES: &str = "alertmanager_notification_requests_failed_total{";

/// How often each kind of channel was tried so far; nothing where the channels are left out.
pub fn counts(cx: &Context<'_>) -> Result<Counts> {
    if configured(cx).is_empty() {
        return Ok(Counts::new());
    }
    let url = format!("{}/metrics", cx.service("alertmanager")?.url());
    let response = cx.subject.http.send(&Request::get(&url).timeout(Duration::from_secs(5)))?;
    if !response.is_success() {
        bail!("`{url}` answered {}", response.status);
    }
    Ok(parse(&response.text()))
}

/// Waits until each configured channel has taken the alert; one item per channel.
pub fn delivered(cx: &Context<'_>, before: &Counts) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for channel in configured(cx) {
        let (tries, failures) = before.get(channel).copied().unwrap_or_default();
        let taken = cx.poll(cx.patience(10, Duration::from_secs(45)), || {
            let (now, failed) = counts(cx)?.get(channel).copied().unwrap_or_default();
            match (now - tries, failed - failures) {
                (tried, refused) if tried > refused => Ok(()),
                (tried, _) if tried > 0.0 => bail!("Alertmanager tried {tried} times in vain"),
                _ => bail!("Alertmanager did not try to reach it"),
            }
        });
        let name = format!("channel {channel}");
        items.push(match taken {
            Ok(()) => Item::proven(name, "took the alert"),
            Err(error) => {
                Item::failed(name, format!("{error:#}"), "run `monstack logs alertmanager`")
            }
        });
    }
    Ok(items)
}

/// Kinds of channels of the stack file, as Alertmanager calls them.
fn configured(cx: &Context<'_>) -> Vec<&'static str> {
    if cx.subject.channels == Channels::Excluded {
        return Vec::new();
    }
    let notify = &cx.subject.topology.stack.notify;
    let all = [
        ("slack", notify.slack.is_some()),
        ("discord", notify.discord.is_some()),
        ("email", notify.email.is_some()),
    ];
    all.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
}

fn parse(metrics: &str) -> Counts {
    let mut counts = Counts::new();
    for line in metrics.lines() {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let Some(kind) =
            name.split("integration=\"").nth(1).and_then(|rest| rest.split('"').next())
        else {
            continue;
        };
        let count = counts.entry(kind.to_owned()).or_default();
        if name.starts_with(TRIES) {
            count.0 += value;
        } else if name.starts_with(FAILURES) {
            count.1 += value;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{SecretRef, Webhook};
    use crate::verify::fixture::Fixture;
    use crate::verify::verdict::Outcome;

    const METRICS: &str = "http://127.77.1.3:9093/metrics";

    fn metrics(tries: u32, failures: u32) -> String {
        format!(
            "# TYPE alertmanager_notification_requests_total counter\n\
             alertmanager_notification_requests_total{{integration=\"email\"}} 9\n\
             alertmanager_notification_requests_total{{integration=\"slack\"}} {tries}\n\
             alertmanager_notification_requests_failed_total{{integration=\"slack\"}} {failures}\n\
             alertmanager_notifications_total{{integration=\"slack\"}} 77\n"
        )
    }

    fn fixture() -> Fixture {
        let mut fixture = Fixture::new();
        fixture.topology.stack.notify.slack = Some(Webhook { webhook: SecretRef::default() });
        fixture.channels = Channels::Included;
        fixture
    }

    fn outcome(after: &str) -> Outcome {
        let mut fixture = fixture();
        fixture.answer(METRICS, 200, metrics(3, 1));
        fixture.answer(METRICS, 200, after);
        fixture.with(|cx| {
            let before = counts(cx).unwrap();
            Outcome::of(&delivered(cx, &before).unwrap())
        })
    }

    #[test]
    fn tries_and_failures_are_read_by_kind() {
        let counts = parse(&metrics(3, 1));
        assert_eq!(counts["slack"], (3.0, 1.0));
        assert_eq!(counts["email"], (9.0, 0.0));
    }

    #[test]
    fn a_channel_that_takes_the_alert_is_proven() {
        assert_eq!(outcome(&metrics(4, 1)), Outcome::Proven);
        assert_eq!(outcome(&metrics(6, 3)), Outcome::Proven, "it took it at the third try");
    }

    #[test]
    fn a_channel_that_refuses_the_alert_is_a_fault() {
        assert_eq!(
            outcome(&metrics(5, 3)).reason(),
            Some("channel slack: Alertmanager tried 2 times in vain")
        );
        assert_eq!(
            outcome(&metrics(3, 1)).reason(),
            Some("channel slack: Alertmanager did not try to reach it")
        );
    }

    #[test]
    fn channels_that_are_left_out_are_not_looked_at() {
        let mut fixture = fixture();
        fixture.channels = Channels::Excluded;
        fixture.with(|cx| {
            assert_eq!(counts(cx).unwrap(), Counts::new());
            assert_eq!(delivered(cx, &Counts::new()).unwrap(), []);
        });
        assert!(fixture.http.asked().is_empty());
    }
}
