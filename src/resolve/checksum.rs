//! Which SHA-256 an archive must have, and who says so.

use std::fs;

use anyhow::{Context, Result, anyhow, bail};

use super::attempt::Wanted;
use super::lock::{self, Locked, PinnedBy};
use super::release::{From, Release};
use super::{Pinning, transfer};
use crate::error::{Note, messages};
use crate::report::Event;

/// Decides before anything is fetched: monstack's own pin, else what `components.lock` has, else upstream or the mirror.
pub(crate) fn decide(wanted: &Wanted<'_>, release: &Release, from: &From) -> Result<Locked> {
    if let Some(known) = known(wanted, release)? {
        if known.pinned_by != PinnedBy::Monstack {
            agree(wanted, release, (from, &known))?;
        }
        return Ok(known);
    }
    let (sha256, pinned_by) = published(wanted, release, from)?;
    Ok(Locked { url: release.url.clone(), sha256, pinned_by })
}

/// What is known without asking anybody. Fails where only monstack's own pins will do and there is none.
pub(crate) fn known(wanted: &Wanted<'_>, release: &Release) -> Result<Option<Locked>> {
    let locked = lock::locked(wanted, &release.version)?;
    if let Some(pin) = release.pin {
        let pinned = Locked {
            url: release.url.clone(),
            sha256: pin.to_owned(),
            pinned_by: PinnedBy::Monstack,
        };
        if let Some(other) = locked.filter(|locked| locked.sha256 != pinned.sha256) {
            let message = format!(
                "`{}` has SHA-256 {} for version {}; monstack's own pin {pin} decides",
                wanted.sources.lock.display(),
                other.sha256,
                release.version,
            );
            wanted.sources.report.event(Event::warning(wanted.component.name, message));
        }
        return Ok(Some(pinned));
    }
    if wanted.sources.pinning == Pinning::Required {
        return Err(anyhow!(
            "monstack has no checksum of its own for `{}`, and only such are allowed",
            release.file,
        ))
        .hint("run without `--require-pinned`, or give the program's path");
    }
    Ok(locked)
}

/// Refuses a checksum file that has changed since it was recorded; one that cannot be had changes nothing.
fn agree(wanted: &Wanted<'_>, release: &Release, (from, locked): (&From, &Locked)) -> Result<()> {
    let published = match published(wanted, release, from) {
        Ok((published, _)) => published,
        Err(error) => {
            wanted.sources.check()?;
            let why = messages(&error).join(": ");
            wanted.step(format!("the checksum of `components.lock` is used: {why}"));
            return Ok(());
        }
    };
    if published == locked.sha256 {
        return Ok(());
    }
    let lock = wanted.sources.lock.display();
    Err(anyhow!(
        "the checksum of `{}` has changed: `{lock}` has SHA-256 {}, `{}` now says {published}",
        release.file,
        locked.sha256,
        from.checksums(wanted, release),
    ))
    .hint(format!(
        "find out why; if the new file is right, remove `{}` from `{lock}` and run again",
        wanted.component.name,
    ))
}

/// What upstream or the mirror says.
fn published(wanted: &Wanted<'_>, release: &Release, from: &From) -> Result<(String, PinnedBy)> {
    let place = from.checksums(wanted, release);
    let (text, pinned_by) = match from {
        From::Upstream => (transfer::text(wanted, &place)?, PinnedBy::Upstream),
        From::Url(_) => (transfer::text(wanted, &place)?, PinnedBy::Mirror),
        From::Folder(_) => {
            let text = fs::read_to_string(&place);
            (text.with_context(|| format!("cannot read `{place}`"))?, PinnedBy::Mirror)
        }
    };
    match parse(&text, &release.file) {
        Some(sha256) => Ok((sha256, pinned_by)),
        None => bail!("`{place}` has no SHA-256 of `{}`", release.file),
    }
}

/// The SHA-256 of `file` in the text of a checksum file: `<hash>  <name>` lines, BSD's lines, or one bare hash.
fn parse(text: &str, file: &str) -> Option<String> {
    let entries: Vec<_> = text.lines().filter_map(entry).collect();
    let named = entries.iter().find(|(_, name)| name.is_some_and(|name| is_file(name, file)));
    match (named, entries.as_slice()) {
        (Some((hash, _)), _) | (None, [(hash, None)]) => Some(hash.to_ascii_lowercase()),
        _ => None,
    }
}

fn entry(line: &str) -> Option<(&str, Option<&str>)> {
    let line = line.trim();
    if let Some((name, hash)) =
        line.strip_prefix("SHA256 (").and_then(|line| line.split_once(") = "))
    {
        return is_hash(hash).then_some((hash, Some(name)));
    }
    let (hash, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = name.trim_start().trim_start_matches('*');
    is_hash(hash).then_some((hash, Some(name).filter(|name| !name.is_empty())))
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether `name` means `file`, with or without a folder before it.
fn is_file(name: &str, file: &str) -> bool {
    name.rsplit('/').next() == Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    #[test]
    fn the_line_of_the_file_is_taken() {
        let text = format!("{A}  other.zip\r\n{B} *./dist/loki.zip\n");
        assert_eq!(parse(&text, "loki.zip"), Some(B.to_lowercase()));
        assert_eq!(parse(&text, "oki.zip"), None);
        assert_eq!(parse(&format!("SHA256 (loki.zip) = {A}\n"), "loki.zip"), Some(A.to_owned()));
    }

    #[test]
    fn a_bare_hash_is_the_files() {
        assert_eq!(parse(&format!("{A}\n"), "grafana.tar.gz"), Some(A.to_owned()));
        assert_eq!(parse(&format!("{A}\n{B}\n"), "grafana.tar.gz"), None, "two bare hashes");
        assert_eq!(parse(&format!("{A}  other\n"), "grafana.tar.gz"), None, "another file");
    }

    #[test]
    fn an_error_page_is_no_checksum() {
        assert_eq!(parse("<html>not found</html>", "loki.zip"), None);
        assert_eq!(parse(&format!("{}  loki.zip", &A[1..]), "loki.zip"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_trouble(text in ".{0,200}", file in "[a-z.]{0,9}") {
            if let Some(hash) = parse(&text, &file) {
                prop_assert!(is_hash(&hash));
            }
        }
    }
}
