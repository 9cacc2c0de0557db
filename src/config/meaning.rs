//! Checks that a schema cannot express.

use super::duration::Duration;
use super::option::TIMED;
use super::rule::quoted;
use super::tree::{Data, Node, Problem};

/// Targets that can be used; the schema knows more, so that a file can be written ahead.
const TARGETS: &[&str] = &["local"];

/// All that is wrong with `tree` beyond its schema.
pub fn check(tree: &Node) -> Vec<Problem> {
    target(tree).into_iter().chain(durations(tree)).collect()
}

fn target(tree: &Node) -> Option<Problem> {
    let node = &tree.entry("target")?.node;
    let Data::Text(target) = &node.data else { return None };
    let planned = ["aws", "hosts"].contains(&target.as_str());
    (planned && !TARGETS.contains(&target.as_str())).then(|| {
        let message = format!("target `{target}` is not in this version; use `local`");
        Problem::new(node.place, message)
    })
}

fn durations(tree: &Node) -> impl Iterator<Item = Problem> {
    TIMED.iter().filter_map(|row| {
        let settings = &tree.entry("components")?.node.entry(row.component)?.node;
        let node = &settings.entry(row.key)?.node;
        let (Data::Text(text), Some(least)) = (&node.data, row.least) else { return None };
        let short = text.parse::<Duration>().is_ok_and(|duration| duration < least);
        short.then(|| {
            let reason = format!("is too short; `{}` takes `{least}` or more", row.component);
            Problem::new(node.place, format!("{} {reason}", quoted(text)))
        })
    })
}
