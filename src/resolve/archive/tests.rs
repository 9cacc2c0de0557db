//! Archives that mean harm, and some that do not.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use ::tar::{Builder, EntryType, Header};
use ::zip::ZipWriter;
use ::zip::write::SimpleFileOptions;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::tree::{LIMITS, Limits, Tree};
use super::*;

/// An entry of a tar archive: its kind, name, target and content.
type Entry<'a> = (EntryType, &'a str, &'a str, &'a str);

/// A tar archive with entries that a well-meaning builder would refuse to write.
fn tar_gz(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (kind, name, target, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o6777);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn file<'a>(name: &'a str, content: &'a str) -> Entry<'a> {
    (EntryType::Regular, name, "", content)
}

fn link<'a>(name: &'a str, target: &'a str) -> Entry<'a> {
    (EntryType::Symlink, name, target, "")
}

struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "keep").unwrap();
        Self { folder }
    }

    fn unpack(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let archive = self.folder.path().join(name);
        fs::write(&archive, bytes).unwrap();
        let into = self.folder.path().join("into");
        unpack(&archive, &into, &AtomicBool::new(false)).map(|()| into)
    }

    /// Nothing but the archive and its folder may have appeared beside them, and the neighbour is unchanged.
    fn is_untouched(&self) -> bool {
        let names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !["into", "secret", "a.tar.gz", "a.zip"].contains(&name.as_str()))
            .collect();
        names.is_empty() && fs::read(self.folder.path().join("secret")).unwrap() == b"keep"
    }
}

fn refused(entries: &[Entry<'_>]) -> String {
    let room = Room::new();
    let error = room.unpack("a.tar.gz", &tar_gz(entries)).unwrap_err();
    assert!(room.is_untouched());
    format!("{error:#}")
}

#[test]
fn a_good_archive_is_unpacked_without_special_bits() {
    let room = Room::new();
    let entries = [
        (EntryType::Directory, "./x-1/", "", ""),
        file("./x-1/bin/x", "program"),
        link("x-1/x", "bin/../bin/x"),
        link("x-1/gone", "nothing"),
        (EntryType::Link, "x-1/hard", "x-1/bin/x", ""),
    ];
    let into = room.unpack("a.tar.gz", &tar_gz(&entries)).unwrap();
    assert_eq!(fs::read(into.join("x-1/x")).unwrap(), b"program");
    assert_eq!(fs::read(into.join("x-1/hard")).unwrap(), b"program");
    assert!(fs::symlink_metadata(into.join("x-1/gone")).is_err(), "it leads nowhere");
    let mode = fs::metadata(into.join("x-1/bin/x")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7022, 0, "{mode:o}");
    assert_eq!(mode & 0o700, 0o700, "{mode:o}");
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for name in ["../x", "a/../../x", "/tmp/monstack-escape", "a/.."] {
        let error = refused(&[file(name, "")]);
        assert!(error.contains("leaves the folder"), "{name}: {error}");
    }
    assert!(refused(&[file(".", "")]).contains("no name"));
}

#[test]
fn links_that_leave_the_folder_are_refused() {
    for (name, target) in [("x", "../secret"), ("x", "/etc/passwd"), ("a/x", "../../secret")] {
        let error = refused(&[link(name, target)]);
        assert!(error.contains("leaves the folder"), "{name}: {error}");
    }
    // The text of the second link stays inside; the first one makes it leave.
    let error =
        refused(&[file("a/b/c/f", ""), link("a/b/c/up", "../../.."), link("x", "a/b/c/up/..")]);
    assert!(error.contains("leaves the folder"), "{error}");
    for target in ["../secret", "/etc/passwd", "secret"] {
        refused(&[(EntryType::Link, "x", target, "")]);
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let error = refused(&[link("x", "sub"), file("sub/f", ""), file("x/evil", "")]);
    assert!(error.contains("twice"), "{error}");
    refused(&[link("x", "."), link("x/y", "..")]);
    assert!(refused(&[file("x", "1"), file("x", "2")]).contains("`x` is there twice"));
    assert!(refused(&[file("x", "1"), file("x/y", "2")]).contains("is no folder"));
}

#[test]
fn devices_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let error = refused(&[(kind, "dev", "", "")]);
        assert!(error.contains("neither a file, a folder nor a link"), "{error}");
    }
}

#[test]
fn an_endless_archive_is_refused() {
    let bytes = tar_gz(&[file("a", &"0".repeat(1000)), file("b", "")]);
    let unpack = |limits: Limits| {
        let room = Room::new();
        let archive = room.folder.path().join("a.tar.gz");
        fs::write(&archive, &bytes).unwrap();
        let stop = AtomicBool::new(false);
        let mut tree = Tree::new(&room.folder.path().join("into"), limits, &stop).unwrap();
        super::tar::unpack(File::open(archive).unwrap(), &mut tree)
    };
    assert!(unpack(LIMITS).is_ok());
    let error = unpack(Limits { bytes: 999, ..LIMITS }).unwrap_err();
    assert_eq!(error.to_string(), "it unpacks to more than 999 bytes");
    let error = unpack(Limits { entries: 1, ..LIMITS }).unwrap_err();
    assert_eq!(error.to_string(), "it has more than 1 entries");
}

#[test]
fn half_an_archive_is_refused() {
    let noise: String = (0..9000_u32).map(|n| char::from(33 + (n * n % 90) as u8)).collect();
    let bytes = tar_gz(&[file("a", &noise)]);
    let room = Room::new();
    assert!(room.unpack("a.tar.gz", &bytes[..bytes.len() / 2]).is_err());
    assert!(Room::new().unpack("a.tar.gz", b"<html>not found</html>").is_err());
    assert!(Room::new().unpack("a.zip", b"PK but no zip").is_err());
    assert!(Room::new().unpack("a.rar", b"").is_err());
}

fn zip(entries: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default().unix_permissions(*mode & 0o7777);
        if mode & 0o170_000 == 0o120_000 {
            writer.add_symlink(*name, *content, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_zip_has_the_same_bounds() {
    let room = Room::new();
    let good = zip(&[("bin/x", 0o755, "program"), ("x", 0o120_777, "bin/x")]);
    let into = room.unpack("a.zip", &good).unwrap();
    assert_eq!(fs::read(into.join("x")).unwrap(), b"program");
    for (name, mode, content) in [
        ("../x", 0o644, ""),
        ("/tmp/monstack-escape", 0o644, ""),
        ("x", 0o120_777, "../secret"),
        ("x", 0o120_777, "/etc/passwd"),
    ] {
        let room = Room::new();
        let error = room.unpack("a.zip", &zip(&[(name, mode, content)])).unwrap_err();
        assert!(format!("{error:#}").contains("leaves the folder"), "{name}: {error:#}");
        assert!(room.is_untouched());
    }
}

#[test]
fn a_damaged_zip_is_refused() {
    let mut bytes = zip(&[("x", 0o644, &"content ".repeat(100))]);
    bytes[40] ^= 0xff;
    assert!(Room::new().unpack("a.zip", &bytes).is_err());
}

#[test]
fn unpacking_can_be_interrupted() {
    let room = Room::new();
    let archive = room.folder.path().join("a.tar.gz");
    fs::write(&archive, tar_gz(&[file("a", "")])).unwrap();
    let error = unpack(&archive, &room.folder.path().join("into"), &AtomicBool::new(true));
    assert_eq!(crate::error::exit_of(&error.unwrap_err()), crate::exit::Exit::INTERRUPTED);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever an archive says: what is outside stays as it was, and no link inside leads there.
    #[test]
    fn nothing_ever_leaves_the_folder(
        entries in prop::collection::vec((0..4_usize, path(), path()), 1..8)
    ) {
        let kinds = [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link];
        let entries: Vec<_> = entries
            .iter()
            .map(|(kind, name, target)| (kinds[*kind], name.as_str(), target.as_str(), ""))
            .collect();
        let room = Room::new();
        if let Ok(into) = room.unpack("a.tar.gz", &tar_gz(&entries)) {
            let root = into.canonicalize().unwrap();
            let mut folders = vec![root.clone()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    prop_assert!(path.canonicalize().unwrap().starts_with(&root));
                    if fs::symlink_metadata(&path).unwrap().is_dir() {
                        folders.push(path);
                    }
                }
            }
        }
        prop_assert!(room.is_untouched());
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "..", "."]), 1..5)
        .prop_map(|parts| parts.join("/"))
}
