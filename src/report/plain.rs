//! Progress as plain lines, for logs and CI: one line per event, no escape codes, and a sign of life every 15 s.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Event, Reporter};

/// How long may pass without a line.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Writes lines to `out`.
pub struct Plain<W: Write + Send + 'static> {
    shared: Arc<Shared<W>>,
    over: Arc<AtomicBool>,
    heart: Option<JoinHandle<()>>,
}

struct Shared<W> {
    inner: Mutex<Inner<W>>,
}

struct Inner<W> {
    out: W,
    last: Instant,
    began: Instant,
    doing: Option<String>,
}

impl<W: Write + Send + 'static> Plain<W> {
    /// Starts writing to `out`, with a sign of life after every `heartbeat` of silence.
    pub fn new(out: W, heartbeat: Duration) -> Self {
        let now = Instant::now();
        let inner = Mutex::new(Inner { out, last: now, began: now, doing: None });
        let shared = Arc::new(Shared { inner });
        let over = Arc::new(AtomicBool::new(false));
        let heart = thread::spawn({
            let (shared, over) = (Arc::clone(&shared), Arc::clone(&over));
            move || {
                while !over.load(Ordering::Relaxed) {
                    thread::park_timeout(heartbeat / 10);
                    shared.beat(heartbeat);
                }
            }
        });
        Self { shared, over, heart: Some(heart) }
    }
}

impl<W: Write> Shared<W> {
    fn beat(&self, heartbeat: Duration) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.last.elapsed() >= heartbeat
            && let Some(doing) = inner.doing.clone()
        {
            let seconds = inner.began.elapsed().as_secs();
            inner.line(&format!("      still at it: {doing} ({seconds} s)"));
        }
    }
}

impl<W: Write> Inner<W> {
    fn line(&mut self, text: &str) {
        // Progress that nobody can read any more is no reason to stop.
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
        self.last = Instant::now();
    }
}

impl<W: Write + Send + 'static> Reporter for Plain<W> {
    fn event(&self, event: Event) {
        let mut inner = self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::PhaseStarted { title, .. } => {
                inner.doing = Some((*title).to_owned());
                inner.began = Instant::now();
            }
            Event::PhaseFinished { .. } | Event::PhaseFailed { .. } => inner.doing = None,
            Event::Progress { subject, .. } => {
                inner.doing = Some(subject.clone());
                return;
            }
            _ => {}
        }
        if let Some(text) = text(&event) {
            inner.line(&text);
        }
    }
}

impl<W: Write + Send + 'static> Drop for Plain<W> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(heart) = self.heart.take() {
            heart.thread().unpark();
            // The heart does nothing that must be told when it fails.
            let _ = heart.join();
        }
    }
}

/// An event as one line.
pub fn text(event: &Event) -> Option<String> {
    Some(match event {
        Event::PhaseStarted { index, total, title } => format!("[{index}/{total}] {title}"),
        Event::Step { subject, message } => format!("      {subject}: {message}"),
        Event::Would { subject, message } => format!("      {subject}: would {message}"),
        Event::Warning { subject, message } => format!("warning: {subject}: {message}"),
        Event::PhaseFinished { seconds, changed: true, .. } => {
            format!("      done in {seconds:.1} s")
        }
        Event::PhaseFinished { seconds, .. } => format!("      nothing to do ({seconds:.1} s)"),
        Event::PhaseFailed { title, seconds, .. } => {
            format!("      {title}: failed after {seconds:.1} s")
        }
        Event::Progress { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn one_line_per_event() {
        let page = Page::default();
        let plain = Plain::new(page.clone(), HEARTBEAT);
        plain.event(Event::PhaseStarted { index: 1, total: 2, title: "Find programs" });
        plain.event(Event::Progress { subject: "loki".into(), done: 1, total: None });
        plain.event(Event::step("loki", "downloaded"));
        plain.event(Event::PhaseFinished { title: "Find programs", seconds: 1.26, changed: true });
        assert_eq!(
            page.text(),
            "[1/2] Find programs\n      loki: downloaded\n      done in 1.3 s\n"
        );
    }

    #[test]
    fn silence_is_broken_by_a_sign_of_life() {
        let page = Page::default();
        let plain = Plain::new(page.clone(), Duration::from_millis(10));
        plain.event(Event::PhaseStarted { index: 1, total: 2, title: "Start services" });
        while !page.text().contains("still at it: Start services") {
            thread::yield_now();
        }
    }
}
