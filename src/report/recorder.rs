//! A `Reporter` for tests: keeps every event.

use std::sync::{Mutex, PoisonError};

use super::{Event, Reporter};

/// Keeps every event.
#[derive(Default)]
pub struct Recorder {
    events: Mutex<Vec<Event>>,
}

impl Recorder {
    /// All events so far, but progress.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Reporter for Recorder {
    fn event(&self, event: Event) {
        if !matches!(event, Event::Progress { .. }) {
            self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        }
    }
}
