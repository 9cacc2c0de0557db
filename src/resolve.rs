//! Finds the program of a component: path, cache, download, PATH, distribution package.
