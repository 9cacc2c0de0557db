//! Puts the parts together and keeps them until a signal comes.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Run;
use crate::clock::SystemClock;
use crate::collector::{COLLECTORS, Context, agent};
use crate::data_dir::DataDir;
use crate::gather::Gatherer;
use crate::health::Health;
use crate::host::{Host, Root};
use crate::server::{self, App};

/// Connections at a time; for a later one, the one that was idle for longest has to go.
const CONNECTIONS: usize = 128;
/// Threads that wait for a scrape or for a look at the machine, both of which take turns.
const THREADS: usize = 4;

/// Serves until SIGTERM or SIGINT.
pub fn run(settings: &Run) -> Result<()> {
    let data = settings.data_dir.as_deref().map(DataDir::take).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()
        .context("cannot start the agent's loop")?;
    let served = runtime.block_on(serve(settings, data.as_ref()));
    // A thread that hangs in the kernel must not keep the process from ending.
    runtime.shutdown_background();
    if let Some(data) = data {
        // The file is missing where it could not be written.
        let _ = data.withdraw();
    }
    served
}

async fn serve(settings: &Run, data: Option<&DataDir>) -> Result<()> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| listen_problem(settings.listen))?;
    let address = listener.local_addr().context("cannot find out the address")?;
    let machine = settings.machine();
    let connections = connections(&machine);
    let context = Arc::new(Context::new(Arc::new(machine), Arc::new(SystemClock::start())));
    let app = App::new(Gatherer::new(context.clone(), COLLECTORS), Health::new(context));
    if let Some(Err(error)) = data.map(|data| data.publish(address)) {
        tracing::warn!(%error, "cannot write the address into the data folder");
    }
    tracing::info!(address = %address, version = env!("CARGO_PKG_VERSION"), connections, "listening");
    let stop = async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
    };
    server::serve(listener, Arc::new(app), server::Limits { connections, stop }).await;
    tracing::info!("stopped");
    Ok(())
}

fn listen_problem(address: SocketAddr) -> String {
    format!(
        "cannot listen on `{address}`; hint: see who does with `ss -ltnp 'sport = :{}'`",
        address.port()
    )
}

/// Half of the files that the process may open are left for reading what the kernel says.
fn connections(host: &dyn Host) -> usize {
    let limits = host.text(Root::Own, "limits").unwrap_or_default();
    let files = agent::limit(&limits, agent::OPEN_FILES).unwrap_or(1024.0);
    CONNECTIONS.min((files / 2.0) as usize).max(1)
}
