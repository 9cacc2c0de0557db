//! The stack file, as written and as checked.

pub mod model;

pub use model::StackFile;
