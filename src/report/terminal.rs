//! Progress on a terminal: finished phases stay, the running one has a live row per component.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::fold::fold;
use super::{Event, Reporter};

/// How much the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Phases, and rows while they run.
    Normal,
    /// Every step stays on the screen.
    Steps,
}

/// Draws on standard error.
pub struct Terminal {
    bars: MultiProgress,
    detail: Detail,
    screen: Mutex<Screen>,
}

#[derive(Default)]
struct Screen {
    phase: Option<ProgressBar>,
    rows: BTreeMap<String, Row>,
}

/// The latest news of one component.
struct Row {
    bar: ProgressBar,
    message: String,
}

impl Terminal {
    /// An empty screen.
    pub fn new(detail: Detail) -> Self {
        Self { bars: MultiProgress::new(), detail, screen: Mutex::default() }
    }

    fn set(&self, screen: &mut Screen, subject: &str, message: String) {
        let new = || {
            let bar = self.bars.add(ProgressBar::no_length());
            bar.set_style(style("{wide_msg}"));
            Row { bar, message: String::new() }
        };
        let row = screen.rows.entry(subject.to_owned()).or_insert_with(new);
        let line = line(subject, message.lines().next().unwrap_or_default());
        row.bar.set_message(console::truncate_str(&line, columns(), "…").into_owned());
        row.message = message;
    }

    fn start(&self, screen: &mut Screen, (index, total, title): (usize, usize, &str)) {
        let bar = self.bars.add(ProgressBar::no_length());
        bar.set_style(style("  {spinner:.cyan} {prefix:.dim} {msg:.bold} {elapsed:.dim}"));
        bar.set_prefix(format!("{index}/{total}"));
        bar.set_message(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        screen.phase = Some(bar);
        if self.detail == Detail::Steps {
            self.say(&format!("  {} {title}", dim(format!("{index}/{total}"))));
        }
    }

    fn finish(&self, screen: &mut Screen, line: &str) {
        for row in std::mem::take(&mut screen.rows).into_values() {
            row.bar.finish_and_clear();
        }
        if let Some(phase) = screen.phase.take() {
            phase.finish_and_clear();
        }
        self.say(line);
    }

    /// How far each component came stays on the screen.
    fn keep_rows(&self, screen: &Screen) {
        for (subject, row) in &screen.rows {
            self.say(&line(subject, &row.message));
        }
    }

    fn say(&self, text: &str) {
        // A terminal that is gone cannot be written to; the run goes on.
        let _ = self.bars.println(fold(text, columns()));
    }
}

/// What is told of a component, below its phase.
fn line(subject: &str, message: &str) -> String {
    format!("        {subject:15} {message}")
}

fn columns() -> usize {
    usize::from(Term::stderr().size().1)
}

fn dim(text: String) -> console::StyledObject<String> {
    console::style(text).dim().for_stderr()
}

impl Reporter for Terminal {
    fn event(&self, event: Event) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::PhaseStarted { index, total, title } => {
                self.start(&mut screen, (index, total, title))
            }
            Event::Progress { subject, done, total } => {
                self.set(&mut screen, &subject, amount(done, total));
            }
            Event::Step { subject, message } if self.detail == Detail::Steps => {
                self.say(&line(&subject, &message));
            }
            Event::Step { subject, message } => self.set(&mut screen, &subject, message),
            Event::Would { subject, message } => {
                self.say(&format!("  ~ {subject:15} would {message}"))
            }
            Event::Warning { subject, message } => {
                let mark = console::style("!").yellow().for_stderr();
                self.say(&format!("  {mark} {subject}: {message}"));
            }
            Event::PhaseFinished { title, seconds, changed } => {
                let mark = console::style("✓").green().for_stderr();
                let time =
                    if changed { format!("{seconds:.1} s") } else { "nothing to do".to_owned() };
                self.finish(&mut screen, &format!("  {mark} {title}  {}", dim(time)));
            }
            Event::PhaseFailed { title, seconds, .. } => {
                let mark = console::style("✗").red().for_stderr();
                self.keep_rows(&screen);
                self.finish(&mut screen, &format!("  {mark} {title} failed after {seconds:.1} s"));
            }
        }
    }
}

fn amount(done: u64, total: Option<u64>) -> String {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    match total.filter(|total| *total > 0) {
        Some(total) => {
            let filled = usize::try_from(done.saturating_mul(20) / total).unwrap_or(20).min(20);
            let bar = format!("{}{}", "━".repeat(filled), "╌".repeat(20 - filled));
            format!("{bar} {:.1} of {:.1} MiB", mebibytes(done), mebibytes(total))
        }
        None => format!("{:.1} MiB", mebibytes(done)),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_drawn_to_scale() {
        assert_eq!(amount(1 << 20, Some(2 << 20)), "━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌ 1.0 of 2.0 MiB");
        assert_eq!(amount(3 << 20, None), "3.0 MiB");
        assert_eq!(amount(5, Some(0)), "0.0 MiB");
    }
}
