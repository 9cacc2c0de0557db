//! Topology to files: pure, by Tera.
