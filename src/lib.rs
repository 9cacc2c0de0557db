//! Stands up, proves, loads and removes a complete monitoring stack.
