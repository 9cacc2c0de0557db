//! Is this a machine on which the stack can run?

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Change, Context, Phase};
use crate::config;
use crate::config::model::SecretRef;
use crate::error::{Note, failure, hinted};
use crate::exit::Exit;
use crate::layout::secret as file;
use crate::report::Event;
use crate::secret;
use crate::workdir;

/// Checks the machine and reads the secrets that the stack file refers to.
pub struct Preflight;

/// The longest path of a stack's folder: some of the programs hold paths below it in buffers of fixed size.
const LONGEST_PATH: usize = 512;
/// Below this many free bytes nothing is started.
const LEAST_SPACE: u64 = 64 << 20;
/// Below this many free bytes nothing that was started will get far.
const NO_SPACE: u64 = 1 << 20;
/// Below this many free bytes the user is warned.
const SOME_SPACE: u64 = 1 << 30;

impl Phase for Preflight {
    fn title(&self) -> &'static str {
        "Check this machine"
    }

    fn run(&self, cx: &mut Context<'_>) -> Result<Change> {
        check(cx)?;
        workdir::create(&cx.layout)?;
        keep_schema(cx)?;
        check_space(cx)?;
        Ok(Change::None)
    }

    fn dry_run(&self, cx: &mut Context<'_>) -> Result<()> {
        check(cx)
    }
}

/// Writes the schema that the modeline of a stack file names, for editors.
fn keep_schema(cx: &Context<'_>) -> Result<()> {
    let Some(home) = cx.layout.root().parent() else { return Ok(()) };
    workdir::write_json(&home.join("schema.json"), &config::schema()).map(|_| ())
}

fn check(cx: &mut Context<'_>) -> Result<()> {
    if !cfg!(target_os = "linux") {
        let error = failure(Exit::USAGE, "target `local` needs Linux, or Windows with WSL2");
        return Err(hinted(error, "use target `aws` or `hosts` from this machine"));
    }
    let folder = cx.layout.root();
    if folder.as_os_str().len() > LONGEST_PATH {
        let error = failure(
            Exit::USAGE,
            format!("the path of the stack's folder `{}` is too long", folder.display()),
        );
        return Err(hinted(error, "use a folder with a shorter path with `-C DIR`"));
    }
    if let Some(path) = &cx.stack.app.path {
        let path = cx.user.base.join(path);
        let missing = ["gunicorn.conf.py", "requirements.txt"]
            .into_iter()
            .find(|file| !path.join(file).is_file());
        if let Some(missing) = missing {
            let error = failure(
                Exit::USAGE,
                format!("`app.path` is `{}`, where there is no `{missing}`", path.display()),
            );
            return Err(hinted(
                error,
                "name the folder of a WSGI app, or leave `app` out for the built-in one",
            ));
        }
    }
    for (name, reference) in references(cx) {
        let secret = secret::read(&reference, cx.runner, &cx.user.base)
            .with_context(|| format!("cannot read the secret `{name}`"))
            .exit(Exit::CREDENTIALS)?;
        cx.state.secrets.insert(name.to_owned(), secret);
    }
    Ok(())
}

/// Every secret that the stack file refers to, by the name of its file below `secrets/`.
fn references(cx: &Context<'_>) -> Vec<(&'static str, SecretRef)> {
    let notify = &cx.stack.notify;
    let password = notify.email.as_ref().and_then(|email| email.smtp.password.clone());
    [
        (file::SLACK, notify.slack.as_ref().map(|slack| slack.webhook.clone())),
        (file::DISCORD, notify.discord.as_ref().map(|discord| discord.webhook.clone())),
        (file::SMTP, password),
        (file::DATABASE, cx.stack.app.database_url.clone()),
    ]
    .into_iter()
    .filter_map(|(name, reference)| Some((name, reference?)))
    .collect()
}

fn check_space(cx: &Context<'_>) -> Result<()> {
    let folder = cx.layout.root();
    let free = free(folder)?;
    if free < LEAST_SPACE {
        return Err(too_full(folder, free));
    }
    if free < SOME_SPACE {
        let message = format!("only {} MiB are free below `{}`", free >> 20, folder.display());
        cx.report.event(Event::warning("disk", message));
    }
    Ok(())
}

/// Fails when nothing can be written any more: services that wait for space do not say so.
pub fn refuse_full(folder: &Path) -> Result<()> {
    let free = free(folder)?;
    if free < NO_SPACE { Err(too_full(folder, free)) } else { Ok(()) }
}

fn free(folder: &Path) -> Result<u64> {
    let space = rustix::fs::statvfs(folder)
        .with_context(|| format!("cannot ask for the free space of `{}`", folder.display()))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

fn too_full(folder: &Path, free: u64) -> anyhow::Error {
    let message = format!("only {} MiB are free below `{}`", free >> 20, folder.display());
    let hint = "free some space, or use another disk with `-C DIR`";
    hinted(failure(Exit::STEP, message), hint)
}
