//! Proves the signals of a stack.
