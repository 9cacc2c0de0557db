//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};

use crate::host::Machine;

/// Measures this host and serves it to Prometheus.
#[derive(Debug, Parser)]
#[command(
    name = "monstack-agent",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve `/metrics` and `/health` until SIGTERM or SIGINT
    Run(Run),
}

/// How to serve.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9101",
        env = "MONSTACK_AGENT_LISTEN"
    )]
    pub listen: SocketAddr,

    /// Allow an address that other machines can reach, although there is no login and no encryption
    #[arg(long, env = "MONSTACK_AGENT_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,

    /// Folder of the agent's own; the file `address` in it says where the agent listens
    #[arg(long, value_name = "FOLDER", env = "MONSTACK_AGENT_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Folder whose `.prom` files are served, too
    #[arg(
        long = "collector.textfile.directory",
        value_name = "FOLDER",
        env = "MONSTACK_AGENT_COLLECTOR_TEXTFILE_DIRECTORY"
    )]
    pub textfile_directory: Option<PathBuf>,

    /// Where procfs is mounted
    #[arg(
        long = "path.procfs",
        value_name = "FOLDER",
        default_value = "/proc",
        env = "MONSTACK_AGENT_PATH_PROCFS"
    )]
    pub procfs: PathBuf,

    /// Where sysfs is mounted
    #[arg(
        long = "path.sysfs",
        value_name = "FOLDER",
        default_value = "/sys",
        env = "MONSTACK_AGENT_PATH_SYSFS"
    )]
    pub sysfs: PathBuf,

    /// The root of the host's files
    #[arg(
        long = "path.rootfs",
        value_name = "FOLDER",
        default_value = "/",
        env = "MONSTACK_AGENT_PATH_ROOTFS"
    )]
    pub rootfs: PathBuf,
}

impl Run {
    /// Says everything that is wrong with the flags, each with a hint.
    pub fn check(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        if !self.listen.ip().to_canonical().is_loopback() && !self.insecure {
            let (address, port) = (self.listen.ip(), self.listen.port());
            problems.push(format!(
                "`--listen {}`: `{address}` can be reached from other machines, wanted a loopback address\n\n\
                 hint: use `--listen 127.0.0.1:{port}`, or add `--insecure` where a firewall lets only Prometheus in",
                self.listen
            ));
        }
        for (flag, path) in
            [("procfs", &self.procfs), ("sysfs", &self.sysfs), ("rootfs", &self.rootfs)]
        {
            problems.extend(folder_problem(flag, path));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n\n")) }
    }

    /// The machine to measure.
    pub fn machine(&self) -> Machine {
        Machine {
            procfs: self.procfs.clone(),
            sysfs: self.sysfs.clone(),
            rootfs: self.rootfs.clone(),
            textfile: self.textfile_directory.clone(),
        }
    }
}

fn folder_problem(flag: &str, path: &Path) -> Option<String> {
    let found = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => return None,
        Ok(_) => "a file".to_owned(),
        Err(error) => error.to_string(),
    };
    let path = path.display();
    Some(format!(
        "`--path.{flag} {path}`: found {found}, wanted a folder\n\nhint: look with `ls -ld '{path}'`"
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn check(arguments: &[&str]) -> Result<(), String> {
        let Command::Run(run) =
            Cli::parse_from(["monstack-agent", "run"].iter().chain(arguments)).command;
        run.check()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn loopback_addresses_need_no_consent() {
        for address in [
            "127.0.0.1:0",
            "127.77.3.5:9101",
            "127.255.255.254:1",
            "[::1]:9101",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(check(&["--listen", address]), Ok(()), "{address}");
        }
    }

    #[test]
    fn other_addresses_do() {
        for address in [
            "0.0.0.0:9101",
            "[::]:9101",
            "10.0.0.1:9101",
            "128.0.0.1:1",
            "[::ffff:10.0.0.1]:1",
            "[fe80::1]:1",
        ] {
            let error = check(&["--listen", address]).unwrap_err();
            assert!(error.contains("hint: use `--listen 127.0.0.1:"), "{error}");
            assert_eq!(check(&["--listen", address, "--insecure"]), Ok(()), "{address}");
        }
    }

    #[test]
    fn every_flag_has_a_variable_of_its_own() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for argument in run.get_arguments().filter(|argument| argument.get_id() != "help") {
            let flag = argument.get_long().unwrap();
            let expected =
                format!("MONSTACK_AGENT_{}", flag.replace(['-', '.'], "_").to_uppercase());
            assert_eq!(argument.get_env().unwrap().to_str(), Some(expected.as_str()));
        }
    }

    #[test]
    fn every_wrong_folder_is_named() {
        let error = check(&["--path.procfs", "/nowhere", "--path.sysfs", "/dev/null"]).unwrap_err();
        assert!(
            error.contains("`--path.procfs /nowhere`: found No such file or directory"),
            "{error}"
        );
        assert!(
            error.contains("`--path.sysfs /dev/null`: found a file, wanted a folder"),
            "{error}"
        );
    }
}
