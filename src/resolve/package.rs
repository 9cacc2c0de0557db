//! Packages of Debian and Ubuntu, unpacked into the cache: nothing is installed, no root is needed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::attempt::{Wanted, reason};
use super::cache::{self, Entry, Manifest};
use super::identity::identify;
use super::transfer::sha256_of;
use super::{Found, Origin, disk};
use crate::component::Package;
use crate::error::exit_of;
use crate::exit::Exit;

mod apt;
mod relocate;

use apt::{Apt, Lists, Planned};

/// How long an unpacked package is used before the distribution is asked for a newer one.
const FRESH: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What is wanted of a package: its name, and the path of the file that matters in what was unpacked.
pub(crate) struct Wish<'a> {
    /// Name of the package.
    pub name: &'a str,
    /// Finds the file, relative to the folder it is given.
    pub locate: &'a dyn Fn(&Path) -> Option<PathBuf>,
}

/// The package that an earlier run unpacked, unless it is old.
pub(crate) fn unpacked(wanted: &Wanted<'_>) -> Result<Option<Found>> {
    let Some(package) = package(wanted) else { return Ok(None) };
    match newest(wanted, package.name) {
        Some((entry, manifest)) if is_fresh(&entry) => found(wanted, &entry, &manifest).map(Some),
        _ => Ok(None),
    }
}

/// The package from the distribution.
pub(crate) fn fetch(wanted: &Wanted<'_>) -> Result<Option<Found>> {
    let Some(package) = package(wanted) else { return Ok(None) };
    let locate = |files: &Path| {
        files.join(package.program).is_file().then(|| PathBuf::from(package.program))
    };
    let (entry, manifest) = obtain(wanted, &Wish { name: package.name, locate: &locate })?;
    found(wanted, &entry, &manifest).map(Some)
}

/// The file of a package: from the cache while it is fresh, from the distribution, at last from the cache whatever its age.
pub(crate) fn file(wanted: &Wanted<'_>, wish: &Wish<'_>) -> Result<PathBuf> {
    let (entry, manifest) = match newest(wanted, wish.name) {
        Some(old) if is_fresh(&old.0) => old,
        _ => obtain(wanted, wish)?,
    };
    Ok(entry.located(&manifest).program)
}

fn package(wanted: &Wanted<'_>) -> Option<&'static Package> {
    wanted.native().and_then(|native| native.package.as_ref())
}

fn found(wanted: &Wanted<'_>, entry: &Entry, manifest: &Manifest) -> Result<Found> {
    let from = (Origin::Package, manifest.source.clone());
    let found = identify(wanted, entry.located(manifest), from)?;
    Ok(Found { sha256: manifest.sha256.clone(), ..found })
}

/// The entry of this package that was made last.
fn newest(wanted: &Wanted<'_>, package: &str) -> Option<(Entry, Manifest)> {
    let folder = wanted.folder();
    let prefix = format!("{package}_");
    let mut entries: Vec<_> = disk::entries(&folder)
        .iter()
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
        .filter(|name| name.starts_with(&prefix))
        .map(|name| Entry::new(&folder, &name))
        .filter_map(|entry| entry.open().map(|manifest| (entry, manifest)))
        .collect();
    entries.sort_by_key(|(entry, _)| std::cmp::Reverse(cache::age(entry.folder())));
    entries.pop()
}

fn is_fresh(entry: &Entry) -> bool {
    cache::age(entry.folder()).is_some_and(|age| age < FRESH)
}

/// Fetches and unpacks the package, by the system's package lists and, where these are of no use, by fresh ones.
fn obtain(wanted: &Wanted<'_>, wish: &Wish<'_>) -> Result<(Entry, Manifest)> {
    let apt = Apt::find(wanted)?;
    let mut reasons = Vec::new();
    for lists in [Lists::System, Lists::Own] {
        let refreshed = apt.prepare(lists);
        match refreshed.and_then(|()| unpack(wanted, wish, (&apt, lists))) {
            Ok(done) => return Ok(done),
            Err(error) if exit_of(&error) == Exit::INTERRUPTED => return Err(error),
            Err(error) => reasons.push(format!("{lists}: {}", reason(&error))),
        }
    }
    match newest(wanted, wish.name) {
        Some(old) => Ok(old),
        None => bail!("{}", reasons.join("\n")),
    }
}

fn unpack(
    wanted: &Wanted<'_>,
    wish: &Wish<'_>,
    (apt, lists): (&Apt<'_>, Lists),
) -> Result<(Entry, Manifest)> {
    let plan = apt.plan(lists, wish.name)?;
    let Some(main) = plan.iter().find(|planned| planned.name == wish.name) else {
        bail!("`{}` is installed already, but does not work", wish.name);
    };
    if let Some(setting) = wanted.version_setting()
        && !main.upstream_version().starts_with(setting)
    {
        bail!("`{}` has version {}, the stack file wants {setting}", main.name, main.version);
    }
    let arch = &wanted.sources.platform.arch;
    let key = format!("{}_{}-{arch}", main.name, main.version.replace([':', '/'], "+"));
    let entry = Entry::new(&wanted.folder(), &key);
    let _alone = entry.lock(wanted.sources)?;
    if let Some(manifest) = entry.open() {
        return Ok((entry, manifest));
    }
    let manifest = make(wanted, (&plan, main), (apt, lists, wish))
        .and_then(|(staging, manifest)| entry.publish(staging, manifest))?;
    Ok((entry, manifest))
}

fn make(
    wanted: &Wanted<'_>,
    (plan, main): (&[Planned], &Planned),
    (apt, lists, wish): (&Apt<'_>, Lists, &Wish<'_>),
) -> Result<(tempfile::TempDir, Manifest)> {
    let libraries = plan.iter().filter(|planned| planned.is_library() && planned.name != main.name);
    let all: Vec<_> = std::iter::once(main).chain(libraries).collect();
    let names: Vec<_> = all.iter().map(|planned| planned.to_string()).collect();
    wanted.step(format!("fetching {}", names.join(", ")));
    let staging = cache::staging_in(&wanted.folder())?;
    let (packages, files) = (staging.path().join("packages"), staging.path().join("files"));
    disk::make_folder(&packages)?;
    apt.download(lists, &names, &packages)?;
    let sha256 = extract(apt, (&packages, &files), &main.name)?;
    let program = (wish.locate)(&files)
        .with_context(|| format!("the package `{main}` does not hold what is wanted of it"))?;
    relocate::relocate(
        &files.join(&program),
        package(wanted).map_or(&[], |package| package.shared),
    )?;
    let libraries = if all.len() > 1 { library_folders(&files) } else { Vec::new() };
    let manifest = Manifest {
        source: main.to_string(),
        sha256,
        pinned_by: None,
        program,
        home: PathBuf::from("usr"),
        libraries,
        program_sha256: String::new(),
        stamp: None,
    };
    Ok((staging, manifest))
}

/// Unpacks all `packages` into `files` and removes them; returns the SHA-256 of the one called `main`.
fn extract(apt: &Apt<'_>, (packages, files): (&Path, &Path), main: &str) -> Result<Option<String>> {
    disk::make_folder(files)?;
    let mut sha256 = None;
    for package in disk::entries(packages) {
        apt.extract(&package, files)?;
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&format!("{main}_")) {
            sha256 = Some(sha256_of(&package)?);
        }
    }
    disk::writing(fs::remove_dir_all(packages), packages)?;
    harden(files)?;
    Ok(sha256)
}

/// Folders with shared libraries, such as `usr/lib/x86_64-linux-gnu`, relative to `files`.
fn library_folders(files: &Path) -> Vec<PathBuf> {
    ["usr/lib", "lib"]
        .iter()
        .flat_map(|parent| disk::entries(&files.join(parent)))
        .filter(|folder| folder.is_dir() && folder.to_string_lossy().contains("-linux-"))
        .filter_map(|folder| folder.strip_prefix(files).ok().map(Path::to_owned))
        .collect()
}

/// Drops set-user-id bits and the right of others to write, and lets the owner remove everything again.
fn harden(folder: &Path) -> Result<()> {
    for path in disk::entries(folder) {
        let kind = fs::symlink_metadata(&path)?;
        if kind.is_symlink() {
            continue;
        }
        let least = if kind.is_dir() { 0o700 } else { 0o600 };
        let mode = kind.permissions().mode() & 0o755 | least;
        disk::writing(fs::set_permissions(&path, fs::Permissions::from_mode(mode)), &path)?;
        if kind.is_dir() {
            harden(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_bits_are_dropped() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("bin");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("su");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o6777)).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        harden(root.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&folder), mode(&file)), (0o755, 0o755));
    }

    #[test]
    fn library_folders_are_those_of_the_architecture() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["usr/lib/x86_64-linux-gnu", "usr/lib/nginx", "lib/aarch64-linux-gnu"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let found = library_folders(root.path());
        assert_eq!(found, ["usr/lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"].map(PathBuf::from));
    }
}
