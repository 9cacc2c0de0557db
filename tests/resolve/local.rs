//! Programs that are on the machine: the stack file's, PATH's, those beside monstack.

use std::fs;

use monstack::component::{Program, Supply};
use monstack::error::exit_of;
use monstack::exit::Exit;
use monstack::report::Event;
use monstack::resolve::{Mirror, Origin, Platform, at_hand, resolve};

use crate::bench::{Bench, Row, component, text};

const NOWHERE: &str = "http://127.0.0.1:1";

#[test]
fn the_path_of_the_stack_file_decides() {
    let row = Row::default().of(NOWHERE);
    let mut bench = Bench::new();
    let program = bench.program("opt/bin/zz-probe", "probe, version 9.9");
    bench.settings.entry("probe".to_owned()).or_default().path = Some(program.clone());
    let found = resolve(row, &bench.sources()).unwrap();
    assert_eq!((found.origin, found.version.as_str()), (Origin::Path, "9.9"));
    assert_eq!(found.home, bench.path("opt").canonicalize().unwrap());
    assert_eq!(found.program, program);

    // It is that one or none.
    bench.path = bench.path("bin").into();
    bench.program("bin/zz-probe", "probe, version 1.2.3");
    bench.program("opt/bin/zz-probe", "another, version 9.9");
    let error = resolve(row, &bench.sources()).unwrap_err();
    let said = text(&error);
    assert!(
        said.contains("`components.probe.path` cannot be used") && said.contains("another program"),
        "{said}"
    );
    assert_eq!(exit_of(&error), Exit::STEP);
    fs::remove_file(&program).unwrap();
    let said = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(said.contains(&format!("there is no `{}`", program.display())), "{said}");
}

#[test]
fn an_impostor_on_path_is_passed_over() {
    let row = Row::default().of(NOWHERE);
    let mut bench = Bench::new();
    bench.program("a/zz-probe", "a clock, version 7");
    bench.file("b/zz-probe", "#!/no/such/interpreter\n", 0o755);
    bench.file("c/zz-probe", "not a program", 0o644);
    bench.program("d/zz-probe-alias", "probe, version 1.0.0-rc.1, built today");
    bench.program("d/zz-tool", "tool");
    let folders = ["a", "b", "c", "d"].map(|folder| bench.path(folder));
    bench.path = std::env::join_paths(folders).unwrap();
    let found = resolve(row, &bench.sources()).unwrap();
    assert_eq!((found.origin, found.version.as_str()), (Origin::SearchPath, "1.0.0-rc.1"));
    assert_eq!(found.program, bench.path("d/zz-probe-alias"));
    assert_eq!(found.tools["zz-tool"], bench.path("d/zz-tool"));
    assert_eq!(found.tools["zz-probe"], found.program);
    let warned = bench.report.events().into_iter().find_map(|event| match event {
        Event::Warning { message, .. } => Some(message),
        _ => None,
    });
    assert!(warned.unwrap().starts_with("not the pinned release; download: cannot download"));

    fs::remove_file(&found.program).unwrap();
    let said = text(&at_hand(row, &bench.sources()).unwrap_err());
    assert!(said.contains("it says `a clock, version 7`, not `probe, version ...`"), "{said}");
    assert!(said.contains("b/zz-probe` does not start"), "{said}");
}

#[test]
fn another_version_than_the_stack_file_wants_is_passed_over() {
    let row = Row::default().of(NOWHERE);
    let mut bench = Bench::new();
    bench.path = bench.path("a").into();
    bench.program("a/zz-probe", "probe, version 1.2.2");
    bench.settings.entry("probe".to_owned()).or_default().version = Some("1.2.2".to_owned());
    assert!(resolve(row, &bench.sources()).is_ok());
    bench.settings.entry("probe".to_owned()).or_default().version = Some("1.2.3".to_owned());
    let said = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(said.contains("has version 1.2.2, the stack file wants 1.2.3"), "{said}");
    // A stand-in says that it is one.
    bench.program("a/zz-probe", "probe, version stand-in");
    assert_eq!(resolve(row, &bench.sources()).unwrap().version, "stand-in");
}

#[test]
fn when_nothing_works_every_place_is_named_with_its_reason() {
    let package = monstack::component::Package {
        name: "zz-package",
        program: "usr/bin/zz-probe",
        shared: &[],
    };
    let row = Row { package: Some(package), ..Row::default() }.of(NOWHERE);
    let mut bench = Bench::new();
    bench.mirror = Some(Mirror::Folder(bench.path("mirror")));
    let error = resolve(row, &bench.sources()).unwrap_err();
    let root = bench.root.path().display().to_string();
    insta::assert_snapshot!(text(&error).replace(&root, "[root]"), @r"
    `probe` cannot be had:
      cache: `[root]/cache/probe/1.2.3-amd64` is not there
      mirror: cannot read `[root]/mirror/probe/1.2.3/SHA256SUMS`: No such file or directory (os error 2)
      download: cannot download `http://127.0.0.1:1/1.2.3/sums.txt`: io: Connection refused (os error 111)
      PATH: there is no `zz-probe`, `zz-probe-alias`
      package: there is no `apt-get`, so this is not Debian or Ubuntu
    hint: sudo apt-get install zz-package; or put `zz-probe` on PATH; or give `--mirror` a folder or URL that has it; or set `components.probe.path` in the stack file
    ");
    assert_eq!(exit_of(&error), Exit::STEP);
}

#[test]
fn a_machine_without_releases_is_told_so() {
    let row = Row::default().of(NOWHERE);
    let bench = Bench::new();
    let mut sources = bench.sources();
    sources.platform = Platform { os: "linux".to_owned(), arch: "riscv64".to_owned() };
    let said = text(&resolve(row, &sources).unwrap_err());
    assert!(said.contains("cache, download: there is no release for linux on riscv64"), "{said}");
}

#[test]
fn a_program_of_this_project_is_beside_monstack_or_on_path() {
    let row = component(Program {
        name: "zz-agent",
        version_args: &["--version"],
        version_mark: "zz-agent ",
        supply: Supply::Sibling,
    });
    let mut bench = Bench::new();
    bench.path = bench.path("bin").into();
    let said = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(
        said.contains("beside monstack: there is no `")
            && said.contains("hint: cargo build --release"),
        "{said}"
    );
    bench.program("bin/zz-agent", "zz-agent 0.1.0");
    assert_eq!(resolve(row, &bench.sources()).unwrap().origin, Origin::SearchPath);
    bench.program("sibling/zz-agent", "zz-agent 0.2.0");
    let found = resolve(row, &bench.sources()).unwrap();
    assert_eq!((found.origin, found.version.as_str()), (Origin::Sibling, "0.2.0"));
}
