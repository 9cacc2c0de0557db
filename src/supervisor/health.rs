//! Asks services how they are, each from a thread of its own, so that a hung one holds up nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{Http, Request};

/// How often a service that has not answered yet is asked.
const EAGER: Duration = Duration::from_millis(100);
/// How often a healthy service is asked.
const CALM: Duration = Duration::from_secs(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A thread that asks one service; it ends when the probe is dropped.
pub struct Probe {
    shared: Arc<Shared>,
}

struct Shared {
    over: AtomicBool,
    seen: Mutex<Seen>,
}

/// What a probe saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The last healthy answer.
    pub healthy: Option<Instant>,
    /// Since when answers have been bad; none while they are good.
    pub failing: Option<Instant>,
}

impl Probe {
    /// Starts asking `url`.
    pub fn start(http: &Arc<dyn Http>, url: &str) -> Self {
        let shared = Arc::new(Shared { over: AtomicBool::new(false), seen: Mutex::default() });
        let request = Request::get(url).timeout(PATIENCE);
        thread::spawn({
            let (shared, http) = (Arc::clone(&shared), Arc::clone(http));
            move || {
                while !shared.over.load(Ordering::Relaxed) {
                    let good = http.send(&request).is_ok_and(|answer| answer.status == 200);
                    shared.note(good);
                    thread::sleep(if good { CALM } else { EAGER });
                }
            }
        });
        Self { shared }
    }

    /// What it saw so far.
    pub fn seen(&self) -> Seen {
        *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn note(&self, good: bool) {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if good {
            *seen = Seen { healthy: Some(now), failing: None };
        } else {
            seen.failing.get_or_insert(now);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}
