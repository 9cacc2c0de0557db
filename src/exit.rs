//! Exit codes: what a script may rely on.

/// How a run of the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// The command did what it was asked; the stack is healthy where health was asked for.
    pub const DONE: Self = Self(0);
    /// Something failed that has no code of its own.
    pub const FAILURE: Self = Self(1);
    /// The command line or the stack file is wrong; nothing was touched.
    pub const USAGE: Self = Self(2);
    /// Credentials are missing or were refused.
    pub const CREDENTIALS: Self = Self(3);
    /// A step of the run failed; running `up` again continues.
    pub const STEP: Self = Self(4);
    /// There is no such stack here.
    pub const NO_STACK: Self = Self(6);
    /// Changes or drift are present (`plan --check`).
    pub const CHANGES: Self = Self(7);
    /// The user declined, or did not confirm.
    pub const DECLINED: Self = Self(8);
    /// The time given was over before the work was.
    pub const TIMEOUT: Self = Self(9);
    /// The stack is unhealthy, or `verify` found a fault.
    pub const UNHEALTHY: Self = Self(10);
    /// Another run holds the lock.
    pub const LOCKED: Self = Self(11);
    /// `doctor` found a failure.
    pub const DOCTOR: Self = Self(12);
    /// `down` left something behind.
    pub const LEFTOVERS: Self = Self(13);
    /// Stopped cleanly by SIGINT (128 + 2).
    pub const INTERRUPTED: Self = Self(130);
    /// Stopped cleanly by SIGTERM (128 + 15).
    pub const TERMINATED: Self = Self(143);
}
