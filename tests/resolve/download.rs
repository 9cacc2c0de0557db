//! Releases from upstream and from mirrors.

use std::fs;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, SystemTime};

use monstack::error::exit_of;
use monstack::exit::Exit;
use monstack::report::Event;
use monstack::resolve::{Mirror, Origin, Pinning, at_hand, resolve, resolve_all, still_there};
use serde_json::{Value, json};

use crate::bench::{
    ARCHIVE, Answer, Bench, Row, SUMS, archive, leak, sha256, sums, text, upstream, walk,
};

fn lock(bench: &Bench) -> Value {
    serde_json::from_slice(&fs::read(bench.path("components.lock")).unwrap()).unwrap()
}

#[test]
fn a_release_is_downloaded_once_and_then_cached() {
    let (server, bytes) = upstream();
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    assert!(at_hand(row, &bench.sources()).is_err());
    let found = resolve(row, &bench.sources()).unwrap();
    assert_eq!((found.origin, found.version.as_str()), (Origin::Download, "1.2.3"));
    assert_eq!(found.source, format!("{}{ARCHIVE}", server.url));
    assert_eq!(found.sha256, Some(sha256(&bytes)));
    let entry = bench.path("cache/probe/1.2.3-amd64");
    assert_eq!(found.home, entry.join("files/probe-1.2.3"));
    assert_eq!(found.program, found.home.join("bin/zz-probe"));
    assert_eq!(found.tools["zz-tool"], found.home.join("bin/zz-tool"));
    assert!(found.home.join("conf/defaults.ini").is_file());
    assert_eq!(mode(&found.program), 0o755, "special bits are dropped");
    assert!(still_there(&found));
    let wanted = json!({"probe": {"version": "1.2.3", "amd64": {
        "url": format!("{}{ARCHIVE}", server.url),
        "sha256": sha256(&bytes),
        "pinned_by": "upstream",
    }}});
    assert_eq!(lock(&bench), wanted);

    let again = resolve(row, &bench.sources()).unwrap();
    assert_eq!(again.origin, Origin::Cache);
    assert_eq!(again.program, found.program);
    assert_eq!(at_hand(row, &bench.sources()).unwrap(), again);
    assert_eq!((server.count(ARCHIVE), server.count(SUMS)), (1, 1));
    assert_eq!(bench.parts(), [""; 0].map(std::path::PathBuf::from));
}

fn mode(path: &std::path::Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o7777
}

#[test]
fn a_found_program_that_changes_is_noticed() {
    let (server, _) = upstream();
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    let found = resolve(row, &bench.sources()).unwrap();
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<monstack::resolve::Found>(&text).unwrap(), found);

    // A damaged entry is fetched anew.
    fs::write(&found.program, "#!/bin/sh\necho 'probe, version 6.6.6'\n").unwrap();
    assert!(!still_there(&found));
    let again = resolve(row, &bench.sources()).unwrap();
    assert_eq!((again.origin, again.version.as_str()), (Origin::Download, "1.2.3"));
    fs::remove_file(&again.program).unwrap();
    assert!(!still_there(&again));
    // A touched program is the same program.
    let third = resolve(row, &bench.sources()).unwrap();
    let then = SystemTime::now() - Duration::from_secs(99);
    fs::File::open(&third.program).unwrap().set_modified(then).unwrap();
    assert_eq!(resolve(row, &bench.sources()).unwrap().origin, Origin::Cache);
    assert_eq!(server.count(ARCHIVE), 3);
}

/// The download fails with a message that holds `wanted`; nothing is left, nothing was unpacked, nothing recorded.
fn refused(bench: &Bench, row: &'static monstack::component::Component, wanted: &str) {
    let error = resolve(row, &bench.sources()).unwrap_err();
    let said = text(&error);
    assert!(said.contains(wanted), "{said}\ndoes not contain {wanted}");
    assert_eq!(exit_of(&error), Exit::STEP);
    assert!(bench.parts().is_empty(), "{:?}", bench.parts());
    assert!(!bench.path("cache/probe/1.2.3-amd64").exists());
    assert!(!walk(&bench.path("cache")).iter().any(|path| path.ends_with("zz-probe")));
}

#[test]
fn a_wrong_byte_is_refused_before_unpacking() {
    let (server, bytes) = upstream();
    let mut wrong = bytes.clone();
    wrong[100] ^= 1;
    server.now(ARCHIVE, Answer::Body(wrong.clone()));
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    let message = format!("its SHA-256 is {}, wanted {}", sha256(&wrong), sha256(&bytes));
    refused(&bench, row, &message);
    assert_eq!(server.count(ARCHIVE), 1, "a wrong file is not asked for again");
    assert!(!bench.path("components.lock").exists());
}

#[test]
fn a_transfer_that_breaks_off_is_tried_once_more() {
    let (server, bytes) = upstream();
    server.now(ARCHIVE, Answer::Length(bytes[..999].to_vec(), bytes.len()));
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    refused(&bench, row, "broke off after 999 of");
    assert_eq!(server.count(ARCHIVE), 2);
    server.answer(ARCHIVE, Answer::Body(bytes));
    assert_eq!(resolve(row, &bench.sources()).unwrap().origin, Origin::Download);
}

#[test]
fn a_wrong_length_is_refused() {
    let (server, bytes) = upstream();
    // Shorter than the body: what arrives is cut, and the checksum says so.
    server.now(ARCHIVE, Answer::Length(bytes.clone(), bytes.len() - 1));
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    refused(&bench, row, "its SHA-256 is");
}

#[test]
fn a_redirect_to_another_scheme_is_refused() {
    let (server, _) = upstream();
    for away in ["http://example.org/x.tar.gz", "ftp://127.0.0.1/x", "file:///etc/passwd"] {
        server.now(ARCHIVE, Answer::Redirect(away.to_owned()));
        let (row, bench) = (Row::default().of(&server.url), Bench::new());
        refused(&bench, row, &format!("redirects to `{away}`, which is not an `https` URL"));
    }
    server.now(ARCHIVE, Answer::Redirect(ARCHIVE.to_owned()));
    refused(&Bench::new(), Row::default().of(&server.url), "redirects more than 5 times");
}

#[test]
fn plain_http_to_another_machine_is_refused() {
    let row = Row::default().of("http://example.org");
    refused(&Bench::new(), row, "is not an `https` URL");
}

#[test]
fn a_server_that_is_not_there_is_named_and_not_asked_twice() {
    let row = Row::default().of("http://127.0.0.1:1");
    let bench = Bench::new();
    refused(&bench, row, "cannot download `http://127.0.0.1:1/1.2.3/sums.txt`");
    let retried =
        bench.report.events().iter().any(|event| format!("{event:?}").contains("once more"));
    assert!(!retried);
}

#[test]
fn an_absent_release_or_checksum_is_said() {
    let (server, _) = upstream();
    server.now(SUMS, Answer::Body(b"<html>sign in</html>".to_vec()));
    refused(&Bench::new(), Row::default().of(&server.url), "has no SHA-256 of `probe-1.2.3.linux");
    let row = Row { checksums: "none", ..Row::default() }.of(&server.url);
    refused(&Bench::new(), row, "/1.2.3/none` answered 404");
}

#[test]
fn an_archive_without_the_program_is_refused() {
    let (server, _) = upstream();
    let row = Row { program: "probe-{version}/other", ..Row::default() }.of(&server.url);
    refused(&Bench::new(), row, "does not hold `probe-1.2.3/other`");
}

#[test]
fn our_own_pin_decides() {
    let (server, bytes) = upstream();
    // Upstream's checksum file may say what it likes.
    server.now(SUMS, sums(&"1".repeat(64)));
    let pins: &'static [_] = Box::leak(Box::new([("amd64", leak(sha256(&bytes)))]));
    let row = Row { pins, ..Row::default() }.of(&server.url);
    let mut bench = Bench::new();
    bench.pinning = Pinning::Required;
    assert_eq!(resolve(row, &bench.sources()).unwrap().origin, Origin::Download);
    assert_eq!(lock(&bench)["probe"]["amd64"]["pinned_by"], "monstack");
    assert_eq!(server.count(SUMS), 0);

    let wrong: &'static [_] = Box::leak(Box::new([("amd64", leak("2".repeat(64)))]));
    let row = Row { pins: wrong, ..Row::default() }.of(&server.url);
    refused(&Bench::new(), row, &format!("wanted {}", "2".repeat(64)));
    // What is in the cache is measured by the pin, too.
    let error = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(error.contains("cache, download: `http"), "{error}");
}

#[test]
fn only_our_own_pins_will_do_when_the_user_says_so() {
    let (server, _) = upstream();
    let (row, mut bench) = (Row::default().of(&server.url), Bench::new());
    resolve(row, &bench.sources()).unwrap();
    bench.pinning = Pinning::Required;
    let error = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(
        error.contains("no checksum of its own for `probe-1.2.3.linux-amd64.tar.gz`"),
        "{error}"
    );
    assert!(error.contains("--require-pinned"), "{error}");
}

#[test]
fn a_checksum_is_binding_once_it_is_recorded() {
    let (server, bytes) = upstream();
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    resolve(row, &bench.sources()).unwrap();
    let before = fs::read(bench.path("components.lock")).unwrap();

    // On another machine, which shares the lock file, upstream now says and has something else.
    let other = Bench::new();
    fs::write(other.path("components.lock"), &before).unwrap();
    let changed = [&bytes[..], b"x"].concat();
    server.now(ARCHIVE, Answer::Body(changed.clone()));
    server.now(SUMS, sums(&sha256(&changed)));
    let error = text(&resolve(row, &other.sources()).unwrap_err());
    assert!(error.contains("has changed") && error.contains(&sha256(&bytes)), "{error}");
    assert!(error.contains(&sha256(&changed)) && error.contains("remove `probe` from"), "{error}");
    assert_eq!(server.count(ARCHIVE), 1);

    // Without a checksum file to ask, what is recorded still holds.
    server.now(SUMS, Answer::Redirect("ftp://x/".to_owned()));
    let error = text(&resolve(row, &other.sources()).unwrap_err());
    assert!(error.contains(&format!("wanted {}", sha256(&bytes))), "{error}");
    server.now(ARCHIVE, Answer::Body(bytes));
    assert_eq!(resolve(row, &other.sources()).unwrap().origin, Origin::Download);
    assert_eq!(fs::read(other.path("components.lock")).unwrap(), before);
}

#[test]
fn a_cached_release_is_recorded_and_measured_by_the_lock_of_each_stack() {
    let (server, bytes) = upstream();
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    resolve(row, &bench.sources()).unwrap();
    let mut sources = bench.sources();
    sources.lock = bench.path("other/components.lock");
    at_hand(row, &sources).unwrap();
    assert!(!sources.lock.exists(), "looking writes nothing");
    assert_eq!(resolve(row, &sources).unwrap().origin, Origin::Cache);
    let wanted = fs::read(bench.path("components.lock")).unwrap();
    assert_eq!(fs::read(&sources.lock).unwrap(), wanted);

    let text = String::from_utf8(wanted).unwrap().replace(&sha256(&bytes), &"3".repeat(64));
    fs::write(&sources.lock, text).unwrap();
    let error = resolve(row, &sources).unwrap_err();
    assert!(crate::bench::text(&error).contains(&format!("wanted {}", "3".repeat(64))));
}

#[test]
fn a_damaged_lock_file_is_named() {
    let (server, _) = upstream();
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    fs::write(bench.path("components.lock"), "{").unwrap();
    let error = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(error.contains("components.lock` is damaged") && error.contains("rm '"), "{error}");
}

#[test]
fn another_version_never_uses_our_pins() {
    let (server, bytes) = upstream();
    server.answer("/1.2.4/probe-1.2.4.linux-amd64.tar.gz", Answer::Body(bytes.clone()));
    let line = format!("{} *probe-1.2.4.linux-amd64.tar.gz\n", sha256(&bytes));
    server.answer("/1.2.4/sums.txt", Answer::Body(line.into_bytes()));
    let pins: &'static [_] = Box::leak(Box::new([("amd64", leak("4".repeat(64)))]));
    let row = Row { pins, program: "probe-1.2.3/bin/zz-probe", ..Row::default() }.of(&server.url);
    let mut bench = Bench::new();
    bench.settings.entry("probe".to_owned()).or_default().version = Some("v1.2.4".to_owned());
    // The archive is taken by upstream's checksum; its program turns out to be another version.
    let error = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(error.contains("has version 1.2.3, the stack file wants 1.2.4"), "{error}");
    assert_eq!(lock(&bench)["probe"]["version"], "1.2.4");
    bench.pinning = Pinning::Required;
    let error = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(error.contains("no checksum of its own"), "{error}");

    bench.settings.entry("probe".to_owned()).or_default().version = Some("../../x".to_owned());
    let error = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(error.contains("`../../x` is not a version"), "{error}");
}

#[test]
fn a_mirror_is_asked_before_upstream() {
    let (server, bytes) = upstream();
    let row = Row::default().of(&server.url);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("probe/1.2.3");
    fs::create_dir_all(&place).unwrap();
    let file = "probe-1.2.3.linux-amd64.tar.gz";
    fs::write(place.join(file), &bytes).unwrap();
    fs::write(place.join("SHA256SUMS"), format!("{}  {file}\n", sha256(&bytes))).unwrap();
    let mut bench = Bench::new();
    bench.mirror = Some(Mirror::parse(folder.path().to_str().unwrap()).unwrap());
    let found = resolve(row, &bench.sources()).unwrap();
    assert_eq!(found.origin, Origin::Mirror);
    assert_eq!(found.source, place.join(file).display().to_string());
    let locked = &lock(&bench)["probe"]["amd64"];
    assert_eq!(
        (&locked["pinned_by"], &locked["url"]),
        (&json!("mirror"), &json!(format!("{}{ARCHIVE}", server.url)))
    );
    assert_eq!(server.count(ARCHIVE) + server.count(SUMS), 0);

    let web = crate::bench::Server::start();
    web.answer("/m/probe/1.2.3/SHA256SUMS", sums(&sha256(&bytes)));
    web.answer(&format!("/m/probe/1.2.3/{file}"), Answer::Body(bytes));
    let mut bench = Bench::new();
    bench.mirror = Some(Mirror::parse(&format!("{}/m/", web.url)).unwrap());
    assert_eq!(resolve(row, &bench.sources()).unwrap().origin, Origin::Mirror);
    assert_eq!(server.count(ARCHIVE), 0);
}

#[test]
fn a_mirror_is_not_trusted_and_upstream_is_next() {
    let (server, bytes) = upstream();
    let row = Row::default().of(&server.url);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("probe/1.2.3");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("probe-1.2.3.linux-amd64.tar.gz"), b"wrong").unwrap();
    fs::write(
        place.join("SHA256SUMS"),
        format!("{}  probe-1.2.3.linux-amd64.tar.gz", sha256(&bytes)),
    )
    .unwrap();
    let mut bench = Bench::new();
    bench.mirror = Some(Mirror::Folder(folder.path().to_owned()));
    assert_eq!(resolve(row, &bench.sources()).unwrap().origin, Origin::Download);
}

#[test]
fn a_mirror_is_a_folder_or_a_safe_url_without_a_password() {
    assert!(
        matches!(Mirror::parse("some/folder"), Ok(Mirror::Folder(folder)) if folder.is_absolute())
    );
    assert!(Mirror::parse("http://mirror.example.org").is_err());
    let error = Mirror::parse("https://me:s3cret@mirror.example.org/x").unwrap_err();
    assert!(!text(&error).contains("s3cret"));
    assert_eq!(exit_of(&error), Exit::USAGE);
}

#[test]
fn two_runs_of_one_component_share_one_download() {
    let (server, bytes) = upstream();
    server.now(ARCHIVE, Answer::Length(bytes[..200].to_vec(), bytes.len()));
    server.answer(ARCHIVE, Answer::Body(bytes));
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    let found: Vec<_> = thread::scope(|scope| {
        let runs = [(), ()].map(|()| scope.spawn(|| resolve(row, &bench.sources()).unwrap()));
        runs.map(|run| run.join().unwrap()).into()
    });
    assert_eq!(found[0].program, found[1].program);
    // One download whose first attempt broke off, and none by the other.
    assert_eq!(server.count(ARCHIVE), 2);
    assert!(bench.parts().is_empty());
}

#[test]
fn many_components_are_resolved_at_once_and_in_order() {
    let (server, _) = upstream();
    let rows = [
        Row::default().of(&server.url),
        Row::default().of("http://127.0.0.1:1"),
        Row::default().of(&server.url),
    ];
    let bench = Bench::new();
    let results = resolve_all(&rows, &bench.sources());
    assert!(results.iter().zip(rows).all(|((row, _), wanted)| std::ptr::eq(*row, wanted)));
    assert!(results[0].1.is_ok() && results[2].1.is_ok());
    assert_eq!(server.count(ARCHIVE), 1);
}

#[test]
fn what_a_killed_run_left_is_swept_after_a_day() {
    let (server, _) = upstream();
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    let old = bench.file("cache/probe/.part-old/archive.tar.gz", "half", 0o644);
    let new = bench.file("cache/probe/.part-new/archive.tar.gz", "half", 0o644);
    let then = SystemTime::now() - Duration::from_secs(25 * 3600);
    for path in [old.as_path(), old.parent().unwrap()] {
        fs::File::open(path).unwrap().set_modified(then).unwrap();
    }
    resolve(row, &bench.sources()).unwrap();
    assert!(!old.exists() && new.exists(), "a download of today may still run");
}

#[test]
fn a_run_that_is_killed_while_it_downloads_leaves_nothing_that_is_used() {
    let (server, bytes) = upstream();
    server.now(ARCHIVE, Answer::Slow(bytes.clone()));
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "download::child_downloads", "--ignored"])
        .env("MONSTACK_TEST_SERVER", &server.url)
        .env("MONSTACK_TEST_CACHE", bench.path("cache"))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = |path: &std::path::PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 10)
    };
    while !walk(&bench.path("cache"))
        .iter()
        .any(|path| path.extension().is_some_and(|end| end == "gz") && begun(path))
    {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!bench.parts().is_empty());
    assert!(at_hand(row, &bench.sources()).is_err());
    server.now(ARCHIVE, Answer::Body(bytes));
    assert_eq!(resolve(row, &bench.sources()).unwrap().origin, Origin::Download);
}

#[test]
#[ignore = "another test starts it, to kill it"]
fn child_downloads() {
    let server = std::env::var("MONSTACK_TEST_SERVER").unwrap();
    let bench = Bench::new();
    let mut sources = bench.sources();
    sources.cache = std::env::var_os("MONSTACK_TEST_CACHE").unwrap().into();
    resolve(Row::default().of(&server), &sources).unwrap();
}

#[test]
fn an_interruption_ends_the_search_at_once() {
    let (server, bytes) = upstream();
    server.now(ARCHIVE, Answer::Slow(bytes));
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(|| resolve(row, &bench.sources()));
        while server.count(ARCHIVE) == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        bench.interrupted.store(true, Ordering::Relaxed);
        run.join().unwrap()
    });
    assert_eq!(exit_of(&outcome.unwrap_err()), Exit::INTERRUPTED);
    assert!(bench.parts().is_empty());
}

#[test]
fn a_program_that_lacks_a_library_is_not_fetched_twice() {
    let server = crate::bench::Server::start();
    let broken = "#!/bin/sh\necho \"$0: error while loading shared libraries: libzz.so.1: cannot open shared object file\" >&2\nexit 127\n";
    let mut builder =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(broken.len() as u64);
    builder.append_data(&mut header, "probe-1.2.3/bin/zz-probe", broken.as_bytes()).unwrap();
    let bytes = builder.into_inner().unwrap().finish().unwrap();
    server.answer(SUMS, sums(&sha256(&bytes)));
    server.answer(ARCHIVE, Answer::Body(bytes));
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    for _ in 0..2 {
        let error = text(&resolve(row, &bench.sources()).unwrap_err());
        assert!(error.contains("the shared library `libzz.so.1` is missing"), "{error}");
    }
    assert_eq!(server.count(ARCHIVE), 1);
}

#[test]
fn a_bare_program_in_a_zip_is_fine() {
    let server = crate::bench::Server::start();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o644);
    zip.start_file("probe-linux-amd64", options).unwrap();
    std::io::Write::write_all(&mut zip, crate::bench::script("probe, version v1.2.3").as_bytes())
        .unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    server.answer("/1.2.3/probe.zip.sha256", Answer::Body(sha256(&bytes).into_bytes()));
    server.answer("/1.2.3/probe.zip", Answer::Body(bytes));
    let row = Row {
        archive: "probe.zip",
        program: "probe-linux-{arch}",
        checksums: "probe.zip.sha256",
        ..Row::default()
    };
    let bench = Bench::new();
    let found = resolve(row.of(&server.url), &bench.sources()).unwrap();
    assert_eq!(found.version, "1.2.3");
    assert_eq!(found.home, bench.path("cache/probe/1.2.3-amd64/files/"));
}

#[test]
fn progress_is_told() {
    struct Counter(std::sync::Mutex<Vec<(u64, Option<u64>)>>);
    impl monstack::report::Reporter for Counter {
        fn event(&self, event: Event) {
            if let Event::Progress { subject, done, total } = event {
                assert_eq!(subject, "probe");
                self.0.lock().unwrap().push((done, total));
            }
        }
    }
    let (server, bytes) = upstream();
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    let counter = Counter(std::sync::Mutex::default());
    let mut sources = bench.sources();
    sources.report = &counter;
    resolve(row, &sources).unwrap();
    let length = bytes.len() as u64;
    assert_eq!(counter.0.lock().unwrap().last(), Some(&(length, Some(length))));
    assert_eq!(archive(), bytes, "the fixture is the same each time");
}
