//! Reads secrets from where the stack file says they are.
