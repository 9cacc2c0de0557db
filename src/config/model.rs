//! The types of `monstack.yml`; the JSON Schema is generated from them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::Duration;
use super::rule;

/// A monitoring stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StackFile {
    /// Name of the stack: lower-case letters, digits and `-`, at most 32.
    #[schemars(schema_with = "rule::stack_name")]
    pub name: String,
    /// Where the stack runs.
    pub target: TargetKind,
    /// Settings of components, by name.
    pub components: BTreeMap<String, ComponentSettings>,
    /// The application that is watched.
    pub app: AppSettings,
    /// Who is told about alerts.
    pub notify: Notify,
}

impl Default for StackFile {
    fn default() -> Self {
        Self {
            name: "monstack".to_owned(),
            target: TargetKind::Local,
            components: BTreeMap::new(),
            app: AppSettings::default(),
            notify: Notify::default(),
        }
    }
}

/// Where a stack runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// This machine: no root, no containers.
    #[default]
    Local,
    /// Five EC2 instances.
    Aws,
    /// Machines that you have.
    Hosts,
}

/// Settings of one component; each component knows some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("not" = {"required": ["version", "path"]}))]
pub struct ComponentSettings {
    /// Release to use instead of the pinned one; its checksum comes from upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule::version")]
    pub version: Option<String>,
    /// Program to use as it is; it is neither downloaded nor checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule::line")]
    pub path: Option<PathBuf>,
    /// How long samples or log lines are kept, such as `15d` (prometheus, loki).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// How often targets are scraped, such as `15s` (prometheus); by default `2s` on `local`, else `15s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_interval: Option<Duration>,
}

/// The application that is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("not" = {"required": ["source", "path"]}))]
pub struct AppSettings {
    /// The built-in app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<AppSource>,
    /// Folder of a WSGI app of your own, instead of `source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule::line")]
    pub path: Option<PathBuf>,
    /// URL of the app's database; absent: SQLite on `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<SecretRef>,
}

/// Apps that come with monstack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AppSource {
    /// The visit counter.
    Builtin,
}

/// Who is told about alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// A Slack channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack: Option<Webhook>,
    /// A Discord channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discord: Option<Webhook>,
    /// Mail to people on call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
}

/// An incoming webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its URL, which is a secret.
    pub webhook: SecretRef,
}

/// Mail to people on call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// Addresses to write to.
    #[schemars(schema_with = "rule::addresses")]
    pub to: Vec<String>,
    /// Address to write from; the first of `to` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule::address")]
    pub from: Option<String>,
    /// The server that takes the mail.
    pub smtp: Smtp,
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Its host name.
    #[schemars(schema_with = "rule::host")]
    pub host: String,
    /// Its port.
    #[serde(default = "submission")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User to log in as; the sender's address if absent and a password is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule::line")]
    pub user: Option<String>,
    /// Password to log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
}

fn submission() -> u16 {
    587
}

/// Where a secret is read from; exactly one key. The secret itself is never written here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = rule::secret)]
pub struct SecretRef {
    /// An environment variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule::variable")]
    pub env: Option<String>,
    /// A file; `~/` is your home, another relative path starts at the stack file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule::secret_file")]
    pub file: Option<PathBuf>,
    /// A command whose standard output is the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule::text")]
    pub command: Option<String>,
    /// A secret of AWS Secrets Manager, by name or ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rule::line")]
    pub aws_secret: Option<String>,
}
