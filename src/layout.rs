//! Where things lie below a stack's folder; pure paths, nothing is touched.

use std::path::{Path, PathBuf};

/// Names of the files below `secrets/`.
pub mod secret {
    /// Slack's incoming webhook.
    pub const SLACK: &str = "slack_webhook";
    /// Discord's incoming webhook.
    pub const DISCORD: &str = "discord_webhook";
    /// Password of the mail server.
    pub const SMTP: &str = "smtp_password";
    /// URL of the app's database.
    pub const DATABASE: &str = "app_database_url";
    /// Password of Grafana's user `admin`.
    pub const GRAFANA: &str = "grafana_admin_password";
    /// Key with which Grafana encrypts what it stores.
    pub const GRAFANA_KEY: &str = "grafana_secret_key";

    /// Those that the stack file refers to.
    pub const REFERRED: &[&str] = &[SLACK, DISCORD, SMTP, DATABASE];
    /// Those that are made at the first `up`.
    pub const GENERATED: &[&str] = &[GRAFANA, GRAFANA_KEY];
}

/// The folder of one stack, `.monstack/<stack>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The stack's own folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved topology.
    pub fn stack(&self) -> PathBuf {
        self.root.join("stack.json")
    }

    /// Who works on the stack; it lies outside the stack's folder, so that `down` holds it to its very end.
    pub fn lock(&self) -> PathBuf {
        let name = self.root.file_name().unwrap_or_default().to_string_lossy();
        self.root.with_file_name(".locks").join(format!("{name}.lock"))
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.jsonl")
    }

    /// What node `node` gets for `component`.
    pub fn rendered(&self, node: &str, component: &str) -> PathBuf {
        self.root.join("rendered").join(node).join(component)
    }

    /// What node `node` gets for `component` and may embed a secret.
    pub fn rendered_secret(&self, node: &str, component: &str) -> PathBuf {
        self.secrets().join("rendered").join(node).join(component)
    }

    /// Generated passwords and resolved references, one file each, mode 0600 in a folder of 0700.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// What `component` keeps (target `local`).
    pub fn data(&self, component: &str) -> PathBuf {
        self.root.join("data").join(component)
    }

    /// Log files (target `local`).
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What the supervisor knows (target `local`).
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Reports of runs, one folder each.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }
}

#[cfg(test)]
mod tests {
    use super::secret::{GENERATED, REFERRED};
    use crate::component::CATALOGUE;
    use std::collections::BTreeSet;

    #[test]
    fn every_secret_is_read_by_a_component() {
        let read: BTreeSet<_> = CATALOGUE.iter().flat_map(|row| row.service.secrets).collect();
        assert_eq!(read, REFERRED.iter().chain(GENERATED).collect());
    }
}
