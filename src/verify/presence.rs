//! Which series a Prometheus has, to say what keeps an expression empty.

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::Result;

use super::selector::{Selector, selectors};
use super::source::Source;

/// What is known of the series of a Prometheus; nothing is asked twice.
pub struct Presence<'a> {
    source: &'a Source<'a>,
    known: RefCell<BTreeMap<String, bool>>,
}

impl<'a> Presence<'a> {
    /// Nothing is known of `source` yet.
    pub fn new(source: &'a Source<'a>) -> Self {
        Self { source, known: RefCell::default() }
    }

    /// The first metric or label that an expression names and that is not there.
    pub fn missing(&self, expression: &str) -> Result<Option<String>> {
        for selector in selectors(expression) {
            if !self.has(&selector)? {
                return self.why(&selector).map(Some);
            }
        }
        Ok(None)
    }

    /// The first alternative that an expression names and that is not there, which another one hides.
    pub fn hidden(&self, expression: &str) -> Result<Option<String>> {
        if !expression.split_whitespace().any(|word| word == "or") {
            return Ok(None);
        }
        for selector in selectors(expression) {
            if !self.has(&selector)? {
                return Ok(Some(selector.text()));
            }
        }
        Ok(None)
    }

    fn has(&self, selector: &Selector) -> Result<bool> {
        let text = selector.text();
        if let Some(answer) = self.known.borrow().get(&text) {
            return Ok(*answer);
        }
        let answer = !self.source.query(&format!("count({text})"))?.is_empty();
        self.known.borrow_mut().insert(text, answer);
        Ok(answer)
    }

    fn why(&self, selector: &Selector) -> Result<String> {
        let Some(metric) = &selector.metric else {
            return Ok(format!("there is no series `{}`", selector.text()));
        };
        if !self.has(&selector.with(|_| false))? {
            return Ok(format!("the metric `{metric}` is missing"));
        }
        for matcher in &selector.matchers {
            if !self.has(&selector.with(|one| one == matcher))? {
                return Ok(format!("no series of `{metric}` has `{matcher}`"));
            }
        }
        Ok(format!("no series of `{metric}` has all of `{}`", selector.matchers.join(",")))
    }
}
