//! Pinned releases: from the cache, from a mirror, from upstream.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::attempt::Wanted;
use super::cache::{Entry, Manifest, plain_name, staging_in};
use super::identity::identify;
use super::{Found, Mirror, Origin, archive, checksum, disk, lock, transfer};
use crate::component;
use crate::error::Note;

/// Systems and architectures that releases exist for.
const PLATFORMS: &[(&str, &str)] = &[("linux", "amd64"), ("linux", "arm64")];

/// A release with everything filled in.
#[derive(Debug)]
pub(crate) struct Release {
    /// Its version.
    pub version: String,
    /// Where upstream has the archive.
    pub url: String,
    /// Where upstream has its checksum.
    pub checksums: String,
    /// Name of the archive.
    pub file: String,
    /// Path of the program in the archive.
    pub program: PathBuf,
    /// The SHA-256 that monstack itself knows for this version.
    pub pin: Option<&'static str>,
}

/// Where an archive is fetched from.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// The project that makes it.
    Upstream,
    /// The user's mirror, by URL.
    Url(String),
    /// The user's mirror, a folder.
    Folder(PathBuf),
}

impl From {
    /// Where the archive is.
    fn archive(&self, wanted: &Wanted<'_>, release: &Release) -> String {
        match self {
            Self::Upstream => release.url.clone(),
            _ => self.beside(wanted, release, &release.file),
        }
    }

    /// Where its checksum is.
    pub(crate) fn checksums(&self, wanted: &Wanted<'_>, release: &Release) -> String {
        match self {
            Self::Upstream => release.checksums.clone(),
            _ => self.beside(wanted, release, "SHA256SUMS"),
        }
    }

    fn beside(&self, wanted: &Wanted<'_>, release: &Release, file: &str) -> String {
        let path = format!("{}/{}/{file}", wanted.component.name, release.version);
        match self {
            Self::Folder(folder) => folder.join(path).display().to_string(),
            Self::Url(url) => format!("{url}/{path}"),
            Self::Upstream => path,
        }
    }
}

/// The release of an earlier run.
pub(crate) fn cached(wanted: &Wanted<'_>) -> Result<Option<Found>> {
    let Some(release) = release(wanted)? else { return Ok(None) };
    let entry = entry(wanted, &release);
    let Some(manifest) = entry.open() else {
        bail!("`{}` is not there", entry.folder().display());
    };
    trust(wanted, &release, &manifest)?;
    found(wanted, &entry, (&manifest, Origin::Cache)).map(Some)
}

/// The release from the user's mirror.
pub(crate) fn from_mirror(wanted: &Wanted<'_>) -> Result<Option<Found>> {
    let from = match &wanted.sources.mirror {
        None => return Ok(None),
        Some(Mirror::Folder(folder)) => From::Folder(folder.clone()),
        Some(Mirror::Url(url)) => From::Url(url.clone()),
    };
    fetch(wanted, (&from, Origin::Mirror))
}

/// The release from upstream.
pub(crate) fn download(wanted: &Wanted<'_>) -> Result<Option<Found>> {
    fetch(wanted, (&From::Upstream, Origin::Download))
}

/// The release of the program for this machine in the version that is wanted, if the row has one.
fn release(wanted: &Wanted<'_>) -> Result<Option<Release>> {
    let Some(release) = wanted.native().and_then(|native| native.release.as_ref()) else {
        return Ok(None);
    };
    let platform = &wanted.sources.platform;
    let (os, arch) = (platform.os.as_str(), platform.arch.as_str());
    if !PLATFORMS.contains(&(os, arch)) {
        bail!("there is no release for {os} on {arch}");
    }
    let version = wanted.version_setting().unwrap_or(release.version);
    plain_name(version).hint(format!(
        "correct `components.{}.version` in the stack file",
        wanted.component.name
    ))?;
    fill(release, (version, arch)).map(Some)
}

fn fill(release: &component::Release, (version, arch): (&str, &str)) -> Result<Release> {
    let fill = |text: &str| text.replace("{version}", version).replace("{arch}", arch);
    let url = fill(release.url);
    let file = url.rsplit('/').next().unwrap_or_default().to_owned();
    if file.is_empty() {
        return Err(anyhow!("`{url}` names no file"));
    }
    // A version from the stack file is somebody else's archive: our pins say nothing about it.
    let own = if version == release.version { release.pins } else { &[] };
    let pin = own.iter().find(|(known, _)| *known == arch).map(|(_, pin)| *pin);
    Ok(Release {
        version: version.to_owned(),
        checksums: fill(release.checksums),
        program: PathBuf::from(fill(release.program)),
        url,
        file,
        pin,
    })
}

fn entry(wanted: &Wanted<'_>, release: &Release) -> Entry {
    let key = format!("{}-{}", release.version, wanted.sources.platform.arch);
    Entry::new(&wanted.folder(), &key)
}

/// Records the checksum of the cached release, which another stack may have fetched.
pub(crate) fn keep(wanted: &Wanted<'_>) -> Result<()> {
    let Some(release) = release(wanted)? else { return Ok(()) };
    let Some(manifest) = entry(wanted, &release).open() else { return Ok(()) };
    lock::record(wanted, &release.version, &trust(wanted, &release, &manifest)?)
}

/// Refuses an entry that was unpacked from another archive than the one that is wanted now.
fn trust(wanted: &Wanted<'_>, release: &Release, manifest: &Manifest) -> Result<lock::Locked> {
    let (Some(sha256), Some(pinned_by)) = (&manifest.sha256, manifest.pinned_by) else {
        bail!("its checksum was not kept");
    };
    let known = checksum::known(wanted, release)?;
    if let Some(known) = &known {
        transfer::compare(&manifest.source, (sha256, &known.sha256))?;
    }
    let url = release.url.clone();
    Ok(known.unwrap_or_else(|| lock::Locked { url, sha256: sha256.clone(), pinned_by }))
}

fn fetch(wanted: &Wanted<'_>, (from, origin): (&From, Origin)) -> Result<Option<Found>> {
    let Some(release) = release(wanted)? else { return Ok(None) };
    let entry = entry(wanted, &release);
    let _alone = entry.lock(wanted.sources)?;
    // Another run may have made it while this one waited; one that is there but does not start is not fetched again.
    let made = entry.open().filter(|manifest| trust(wanted, &release, manifest).is_ok());
    let (manifest, origin) = match made {
        Some(manifest) => (manifest, Origin::Cache),
        None => (make(wanted, (&release, from), &entry)?, origin),
    };
    found(wanted, &entry, (&manifest, origin)).map(Some)
}

/// Fetches, checks and unpacks; nothing is in its place before all of that is done.
fn make(
    wanted: &Wanted<'_>,
    (release, from): (&Release, &From),
    entry: &Entry,
) -> Result<Manifest> {
    let locked = checksum::decide(wanted, release, from)?;
    let source = from.archive(wanted, release);
    let staging = staging_in(&wanted.folder())?;
    let file = staging.path().join(&release.file);
    wanted.step(format!("fetching {} from {source}", release.version));
    let sha256 = match from {
        From::Folder(_) => transfer::copy(Path::new(&source), &file)?,
        From::Upstream | From::Url(_) => transfer::download(wanted, &source, &file)?,
    };
    transfer::compare(&source, (&sha256, &locked.sha256))?;
    lock::record(wanted, &release.version, &locked)?;
    let files = staging.path().join("files");
    archive::unpack(&file, &files, wanted.sources.interrupted)?;
    // The archive is of no more use, and half of the room.
    disk::writing(std::fs::remove_file(&file), &file)?;
    if !files.join(&release.program).is_file() {
        bail!("`{source}` does not hold `{}`", release.program.display());
    }
    let mut parts = release.program.components();
    let top = parts.next().filter(|_| parts.next().is_some());
    let manifest = Manifest {
        source,
        sha256: Some(sha256),
        pinned_by: Some(locked.pinned_by),
        home: top.map(|top| PathBuf::from(top.as_os_str())).unwrap_or_default(),
        program: release.program.clone(),
        libraries: Vec::new(),
        program_sha256: String::new(),
        stamp: None,
    };
    entry.publish(staging, manifest)
}

fn found(
    wanted: &Wanted<'_>,
    entry: &Entry,
    (manifest, origin): (&Manifest, Origin),
) -> Result<Found> {
    let found = identify(wanted, entry.located(manifest), (origin, manifest.source.clone()))?;
    Ok(Found { sha256: manifest.sha256.clone(), ..found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_pins_are_for_the_pinned_version_only() {
        let row = component::Release {
            version: "1.2.3",
            url: "https://example.org/v{version}/x-{version}.linux-{arch}.tar.gz",
            checksums: "https://example.org/v{version}/sums",
            pins: &[("amd64", "aa")],
            program: "x-{version}/x",
        };
        let own = fill(&row, ("1.2.3", "amd64")).unwrap();
        assert_eq!(own.url, "https://example.org/v1.2.3/x-1.2.3.linux-amd64.tar.gz");
        assert_eq!(own.file, "x-1.2.3.linux-amd64.tar.gz");
        assert_eq!(own.program, Path::new("x-1.2.3/x"));
        assert_eq!(own.pin, Some("aa"));
        assert_eq!(fill(&row, ("1.2.3", "arm64")).unwrap().pin, None);
        assert_eq!(fill(&row, ("1.2.4", "amd64")).unwrap().pin, None);
    }

    #[test]
    fn every_release_of_the_catalogue_can_be_filled_in() {
        for row in component::CATALOGUE {
            for program in row.programs {
                let component::Supply::Native(native) = &program.supply else { continue };
                let Some(release) = &native.release else { continue };
                for (_, arch) in PLATFORMS {
                    let filled = fill(release, (release.version, arch)).unwrap();
                    for url in [&filled.url, &filled.checksums] {
                        assert!(crate::http::real::check_url(url).is_ok(), "{url}");
                        assert!(!url.contains('{'), "{url}");
                    }
                    archive::format(&filled.file).unwrap();
                    assert!(filled.pin.is_none_or(|pin| {
                        pin.len() == 64 && pin.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
                    }));
                }
            }
        }
    }
}
