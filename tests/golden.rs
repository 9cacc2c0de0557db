//! What monstack renders: whole trees against golden ones, and what the programs that read the files say of them.
//!
//! `MONSTACK_BLESS=1 cargo test --test golden` rewrites the golden trees; read the difference before committing it.
//! Programs are looked for in the folder `MONSTACK_TEST_BIN` and on `PATH`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail like tests, and say loudly what they skip"
)]

#[path = "golden/programs.rs"]
mod programs;
#[path = "golden/queries.rs"]
mod queries;
#[path = "golden/support.rs"]
mod support;
#[path = "golden/tidy.rs"]
mod tidy;
#[path = "golden/trees.rs"]
mod trees;
