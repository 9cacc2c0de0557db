//! What a script may rely on: exit codes, streams, one JSON document, and no file where none belongs.
//!
//! | code | proven by |
//! |---|---|
//! | 0, 7, 8, 10, 11, 13, 130, 143 | `codes::a_running_stack_answers_with_its_codes` |
//! | 1 | `codes::a_record_that_cannot_be_read_is_an_unclassified_failure` |
//! | 2 | `usage` |
//! | 3, 6, 9 | `codes::what_is_missing_has_a_code` |
//! | 4 | `codes::a_step_that_fails_has_a_code` |
//! | 12 | kept for `doctor` |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails, and one that is skipped says so"
)]

mod common;

#[path = "contract/codes.rs"]
mod codes;
#[path = "contract/files.rs"]
mod files;
#[path = "contract/streams.rs"]
mod streams;
#[path = "contract/usage.rs"]
mod usage;
