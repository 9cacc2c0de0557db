//! The log: one JSON object a line, on the standard error stream.

use std::fmt::Debug;
use std::io::Write;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Sends every event of the level `info` and above to the standard error stream, and panics as well.
pub fn start() {
    // A second call, as in a test, keeps the first one's.
    let _ = tracing_subscriber::registry()
        .with(Lines(std::io::stderr).with_filter(LevelFilter::INFO))
        .try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            place,
            panic = crate::patience::words(panic.payload()),
            "a part of the agent crashed and is given up"
        );
    }));
}

/// Writes each event to what the function opens.
struct Lines<F>(F);

impl<S: Subscriber, W: Write, F: Fn() -> W + 'static> Layer<S> for Lines<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line {
            time: format!("{:.3}", jiff::Timestamp::now()),
            level: event.metadata().level().as_str().to_lowercase(),
            fields,
        };
        let Ok(line) = serde_json::to_string(&line) else { return };
        // One write for the whole line, so that lines of several threads never mix. Nobody can be told that the log
        // itself does not work.
        let _ = (self.0)().write_all((line + "\n").as_bytes());
    }
}

#[derive(Serialize)]
struct Line {
    time: String,
    level: String,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Default, Serialize)]
struct Fields {
    message: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.set(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.set(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_event_is_one_json_object_on_one_line() {
        let buffer = Buffer::default();
        let sink = buffer.clone();
        let subscriber = tracing_subscriber::registry()
            .with(Lines(move || sink.clone()).with_filter(LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(count = 3, path = "a\n\"b\"", "two\nlines of {}", "text");
            tracing::debug!("not of interest");
            tracing::error!(is_it = true, share = 0.5, "bad");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "info");
        assert_eq!(lines[0]["message"], "two\nlines of text");
        assert_eq!((&lines[0]["count"], &lines[0]["path"]), (&3.into(), &"a\n\"b\"".into()));
        assert!(lines[0]["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!(
            (&lines[1]["level"], &lines[1]["is_it"], &lines[1]["share"]),
            (&"error".into(), &true.into(), &0.5.into())
        );
    }
}
