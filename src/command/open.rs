//! `monstack open`

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Answer;
use super::session::Session;
use crate::cli::{Global, Open};
use crate::error::{failure, hinted};
use crate::exec::{Cmd, Runner};
use crate::exit::Exit;

/// Opens a page of the stack in the browser where there is one, and prints its address in any case.
pub fn run(global: &Global, args: &Open) -> Result<Answer> {
    let (session, record) = Session::open_existing(global)?;
    let topology = record.topology();
    // People who ask for the app want the page that nginx serves.
    let name = if args.role == "app" { "nginx" } else { &args.role };
    let Some(service) = topology.service(name) else {
        let known: Vec<&str> = topology.services().map(|service| service.component.name).collect();
        let error = failure(Exit::USAGE, format!("`{name}` is no component that runs here"));
        return Err(hinted(error, format!("name one of {}", known.join(", "))));
    };
    let url = service.url();
    let opened = !args.print && session.can_ask() && has_display() && {
        let cmd = Cmd::write("xdg-open").args([&url]).timeout(Duration::from_secs(10));
        session.runner.read(&cmd).is_ok()
    };
    Answer::new(
        &json!({ "component": name, "url": url, "opened": opened }),
        format!("{url}\n"),
        Exit::DONE,
    )
}

fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}
