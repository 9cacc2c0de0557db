//! Stops everything that runs.

use anyhow::Result;

use super::{Change, Context, Phase};
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::report::Event;
use crate::supervisor::client;

/// Stops the services and their supervisor.
pub struct StopServices;

impl Phase for StopServices {
    fn title(&self) -> &'static str {
        "Stop services"
    }

    fn run(&self, cx: &mut Context<'_>) -> Result<Change> {
        let run = cx.layout.run();
        let running = client::service_names(&run);
        let left = client::stop(&run)?;
        if !left.is_empty() {
            let error = failure(Exit::LEFTOVERS, format!("{} did not stop", left.join(", ")));
            return Err(hinted(
                error,
                "run `monstack down` again; `monstack status` names the processes",
            ));
        }
        for name in &running {
            cx.report.event(Event::step(name, "stopped"));
        }
        Ok(Change::from(!running.is_empty()))
    }

    fn dry_run(&self, cx: &mut Context<'_>) -> Result<()> {
        for name in client::service_names(&cx.layout.run()) {
            cx.state.would += 1;
            cx.report.event(Event::would(name, "stop it"));
        }
        Ok(())
    }
}
