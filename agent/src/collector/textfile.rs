//! Metrics that other programs leave in files.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::Result;

use self::parse::{Sample, TextFamily};
use super::{Collected, Context};
use crate::exposition::{Family, Kind};
use crate::host::Root;

pub mod parse;

/// Reads every `.prom` file of the user's folder. A file that is wrong is left out and said, but spoils nothing else.
pub fn collect(cx: &Context) -> Result<Collected> {
    let mut merged = Merged::default();
    let mut times = Family::gauge(
        "node_textfile_mtime_seconds",
        "Unixtime mtime of textfiles successfully read.",
    );
    if let Some(folder) = cx.host.location(Root::Textfile) {
        for name in names(cx, folder, &mut merged) {
            let path = folder.join(&name).display().to_string();
            match read(cx, &name) {
                Ok((families, modified)) => {
                    families.into_iter().for_each(|family| merged.add(&path, family));
                    times.add(&[("file", &path)], modified as f64);
                }
                Err(problem) => merged.notices.push(format!("`{path}`: {problem}")),
            }
        }
    }
    let has_failed = f64::from(u8::from(!merged.notices.is_empty()));
    let error = Family::gauge(
        "node_textfile_scrape_error",
        "1 if there was an error opening or reading a file, 0 otherwise",
    );
    let (mut families, notices) = merged.finish();
    families.extend([times, error.value(has_failed)]);
    Ok(Collected { families, notices, ..Collected::default() })
}

fn names(cx: &Context, folder: &Path, merged: &mut Merged) -> Vec<String> {
    match cx.host.list(Root::Textfile, "") {
        Ok(names) => names.into_iter().filter(|name| name.ends_with(".prom")).collect(),
        Err(error) => {
            merged.notices.push(format!("cannot read the folder `{}`: {error}", folder.display()));
            Vec::new()
        }
    }
}

fn read(cx: &Context, name: &str) -> Result<(Vec<TextFamily>, i64), String> {
    // Only a regular file is opened: opening a pipe would wait for somebody to write into it.
    let modified = cx.host.modified(Root::Textfile, name).map_err(|error| error.to_string())?;
    let bytes = cx.host.read(Root::Textfile, name).map_err(|error| error.to_string())?;
    Ok((parse::families(&bytes)?, modified))
}

/// What several files say together.
#[derive(Default)]
struct Merged {
    families: BTreeMap<String, Shared>,
    seen: HashSet<String>,
    notices: Vec<String>,
}

/// A metric that may be in several files.
struct Shared {
    kind: Kind,
    help: Option<String>,
    samples: Vec<Sample>,
    files: Vec<String>,
}

impl Merged {
    /// The first file decides about type and help text; a series that is there already is left out.
    fn add(&mut self, file: &str, family: TextFamily) {
        if family.samples.is_empty() {
            return;
        }
        let TextFamily { name, help, kind, samples } = family;
        let kind = kind.unwrap_or(Kind::Untyped);
        let help = help.filter(|help| !help.is_empty());
        let shared = self.families.entry(name.clone()).or_insert_with(|| Shared {
            kind,
            help: help.clone(),
            samples: Vec::new(),
            files: Vec::new(),
        });
        if shared.kind != kind {
            let (first, kind) = (shared.kind.word(), kind.word());
            self.notices.push(format!(
                "`{file}`: `{name}` is a {kind} here, but a {first} in `{}`",
                shared.files.join("`, `")
            ));
            return;
        }
        match (&shared.help, help) {
            (Some(first), Some(help)) if *first != help => {
                self.notices.push(format!(
                    "`{file}`: the help text of `{name}` is not that of `{}`",
                    shared.files.join("`, `")
                ));
            }
            (None, Some(help)) => shared.help = Some(help),
            _ => {}
        }
        shared.files.push(file.to_owned());
        for sample in samples {
            match self.seen.insert(sample.identity()) {
                true => shared.samples.push(sample),
                false => self.notices.push(format!(
                    "`{file}`: `{:.200}` is in another file, too",
                    sample.identity()
                )),
            }
        }
    }

    fn finish(self) -> (Vec<Family>, Vec<String>) {
        let family = |(name, shared): (String, Shared)| {
            let help = shared
                .help
                .unwrap_or_else(|| format!("Metric read from {}", shared.files.join(", ")));
            let mut family = Family::new(name, shared.kind, &help);
            shared
                .samples
                .iter()
                .for_each(|sample| family.add_part(&sample.name, &sample.labels, sample.value));
            family
        };
        (self.families.into_iter().map(family).collect(), self.notices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::render;

    fn merge(files: &[(&str, &str)]) -> (String, Vec<String>) {
        let mut merged = Merged::default();
        for (file, text) in files {
            parse::families(text.as_bytes())
                .unwrap()
                .into_iter()
                .for_each(|family| merged.add(file, family));
        }
        let (families, notices) = merged.finish();
        (render(families), notices)
    }

    #[test]
    fn files_may_share_a_metric() {
        let (text, notices) = merge(&[
            ("a.prom", "m{x=\"1\"} 1\nn 1\n"),
            ("b.prom", "# HELP m Shared.\nm{x=\"2\"} 2\n# TYPE untouched gauge\n"),
        ]);
        assert_eq!(
            text,
            "# HELP m Shared.\n# TYPE m untyped\nm{x=\"1\"} 1\nm{x=\"2\"} 2\n# HELP n Metric read from a.prom\n# TYPE n untyped\nn 1\n"
        );
        assert_eq!(notices, [""; 0]);
    }

    #[test]
    fn files_that_disagree_are_said() {
        let (text, notices) = merge(&[
            ("a.prom", "# HELP m One.\n# TYPE m gauge\nm 1\n# TYPE k gauge\nk 1\n"),
            (
                "b.prom",
                "# HELP m Two.\n# TYPE m gauge\nm 2\nm{x=\"1\"} 3\n# TYPE k counter\nk{x=\"1\"} 1\n",
            ),
        ]);
        assert_eq!(
            text,
            "# HELP k Metric read from a.prom\n# TYPE k gauge\nk 1\n# HELP m One.\n# TYPE m gauge\nm 1\nm{x=\"1\"} 3\n"
        );
        assert_eq!(
            notices,
            [
                "`b.prom`: the help text of `m` is not that of `a.prom`",
                "`b.prom`: `m` is in another file, too",
                "`b.prom`: `k` is a counter here, but a gauge in `a.prom`",
            ]
        );
    }

    #[test]
    fn a_part_of_a_histogram_cannot_appear_twice() {
        let (text, notices) = merge(&[
            ("a.prom", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n"),
            ("b.prom", "h_count 7\nh_sum{x=\"1\"} 7\n"),
        ]);
        assert_eq!(text.matches("\nh_count 2\n").count(), 1);
        assert!(!text.contains("h_count 7"));
        assert_eq!(notices, ["`b.prom`: `h_count` is in another file, too"]);
    }
}
