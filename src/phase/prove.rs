//! Proves the stack, unless nothing changed since the last proof.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::record::Proof;
use super::{Change, Context, Phase};
use crate::config;
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::layout::secret;
use crate::process::{self, Listener};
use crate::report::Event;
use crate::supervisor::client;
use crate::verify::{self, Channels, Overall, Part, Subject, Verdict};
use crate::workdir;

/// Proves the signals of the stack.
pub struct Prove;

impl Phase for Prove {
    fn title(&self) -> &'static str {
        "Prove the signals"
    }

    fn run(&self, cx: &mut Context<'_>) -> Result<Change> {
        if let Some(proof) = standing(cx) {
            cx.state.proof = Some(proof);
            return Ok(Change::None);
        }
        let verdict = prove(cx, &[], Channels::Excluded)?;
        let failed = failure_of(&verdict);
        keep(cx, verdict)?;
        match failed {
            None => Ok(Change::Some),
            Some(message) => {
                let error = failure(Exit::UNHEALTHY, message);
                Err(hinted(
                    error,
                    "the stack runs; look at it with `monstack status`, prove it again with `monstack verify`",
                ))
            }
        }
    }

    fn dry_run(&self, cx: &mut Context<'_>) -> Result<()> {
        if cx.state.would > 0 {
            cx.report.event(Event::would("verify", "prove the signals of the stack"));
        }
        Ok(())
    }
}

/// The last proof, where it passed and still speaks of the very same stack.
fn standing(cx: &Context<'_>) -> Option<Proof> {
    let record = cx.state.record.as_ref()?;
    let proof = record.proven.clone()?;
    let passed = proof.verdict.result != Overall::Failed;
    (!cx.changed() && proof.hash == record.services_hash && passed).then_some(proof)
}

/// Writes down a verdict on all parts of the stack as it was started last.
pub fn keep(cx: &mut Context<'_>, verdict: Verdict) -> Result<()> {
    let (layout, stack) = (cx.layout.clone(), cx.stack.clone());
    let hash = cx.state.record_for(&stack).services_hash.clone();
    let proof = Proof { at: Timestamp::now(), hash, verdict };
    cx.state.proof = Some(proof.clone());
    cx.state.keep(&layout, &stack, |record| record.proven = Some(proof))
}

/// What failed, in words.
fn failure_of(verdict: &Verdict) -> Option<String> {
    if verdict.result != Overall::Failed {
        return None;
    }
    let mut text = "the stack runs but could not be proven\n".to_owned();
    // Writing to a string cannot fail.
    let _ = verdict.text(&mut text);
    Some(text.trim_end().replace('\n', "\n  "))
}

/// Proves `parts` of the running stack, all of it if there are none.
pub fn prove(cx: &Context<'_>, parts: &[Part], channels: Channels) -> Result<Verdict> {
    let record = cx.state.record.as_ref().context("nothing is known of the stack yet")?;
    let topology = record.topology();
    let settings = config::effective(&record.stack);
    let interval =
        settings.components.get("prometheus").and_then(|settings| settings.scrape_interval);
    let interval = interval.map_or(Duration::from_secs(15), Into::into);
    let password = workdir::read(&cx.layout.secrets().join(secret::GRAFANA))?;
    let password = password.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let subject = Subject {
        topology: &topology,
        layout: &cx.layout,
        http: cx.http,
        report: cx.report,
        listeners: own_listeners(cx)?,
        dashboards: dashboards(cx),
        grafana_password: password.as_deref(),
        interval,
        interrupted: cx.interrupted,
        channels,
    };
    verify::verify(&subject, parts)
}

/// Sockets that the stack's own processes listen on.
fn own_listeners(cx: &Context<'_>) -> Result<Vec<Listener>> {
    let run = cx.layout.run();
    let roots: Vec<u32> = client::members(&run).iter().map(|member| member.pid).collect();
    let processes: BTreeSet<u32> = process::descendants(&roots);
    process::listeners_of(&processes)
}

/// Names and contents of the dashboards, which are proven even where no Grafana shows them.
fn dashboards(cx: &Context<'_>) -> Vec<(String, Vec<u8>)> {
    let paths = cx.assets.list("templates/grafana/dashboards/");
    let dashboard = |path: String| Some((stem(&path), cx.assets.get(&path)?.into_owned()));
    paths.into_iter().filter_map(dashboard).collect()
}

fn stem(path: &str) -> String {
    Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
