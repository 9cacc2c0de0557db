//! The agent as a whole: against a machine made of files, as a program, and beside node_exporter.

#[cfg(test)]
mod machine;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod program;
#[cfg(test)]
mod scrape;
#[cfg(test)]
mod served;
