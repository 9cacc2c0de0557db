//! The variables that templates see.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};
use tera::Context;

use super::{Input, SOURCE};
use crate::component::{CATALOGUE, Component};
use crate::config;
use crate::config::model::{Email, TargetKind};
use crate::error::Note;
use crate::exit::Exit;
use crate::layout::{Layout, secret};
use crate::topology::{Service, Topology};

/// All that variables are made from.
pub(super) struct World<'a> {
    topology: &'a Topology,
    layout: &'a Layout,
    input: &'a Input,
    shared: Map<String, Value>,
}

impl<'a> World<'a> {
    /// Works out what is the same for every service.
    pub(super) fn new(
        topology: &'a Topology,
        layout: &'a Layout,
        input: &'a Input,
    ) -> Result<Self> {
        let mut world = Self { topology, layout, input, shared: Map::new() };
        let worker = input.facts.worker.as_ref();
        let shared = [
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("stack", world.stack()),
            ("services", world.services()),
            ("jobs", world.jobs()),
            ("settings", world.settings()),
            ("notify", world.notify()?),
            ("files", world.files()?),
            ("logs", json!(text(&layout.logs())?)),
            ("worker", json!(worker.map(|(user, group)| json!({"user": user, "group": group})))),
        ];
        world.shared = shared.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(world)
    }

    /// Where things lie.
    pub(super) fn layout(&self) -> &Layout {
        self.layout
    }

    /// The variables for `service`.
    pub(super) fn context(&self, service: &Service<'_>) -> Result<Context> {
        self.complete(service, Map::new())
    }

    /// The variables for a file of `service` that may embed secrets.
    pub(super) fn secret_context(&self, service: &Service<'_>) -> Result<Context> {
        let secrets = self.input.secrets.iter();
        let secrets: Map<_, _> = secrets.map(|(name, it)| (name.clone(), json!(it))).collect();
        self.complete(service, Map::from_iter([("secrets".to_owned(), Value::Object(secrets))]))
    }

    fn complete(&self, service: &Service<'_>, mut all: Map<String, Value>) -> Result<Context> {
        let node = service.node;
        all.extend(self.shared.clone());
        all.insert("node".to_owned(), json!({"name": node.name, "address": node.address}));
        all.insert("own".to_owned(), self.own(service)?);
        all.insert("tails".to_owned(), self.tails(service)?);
        Ok(Context::from_serialize(&all)?)
    }

    fn stack(&self) -> Value {
        json!({"name": self.topology.stack.name, "target": self.topology.stack.target})
    }

    fn services(&self) -> Value {
        let mut all = Map::new();
        for service in self.topology.services() {
            all.entry(service.component.name).or_insert_with(|| Value::Object(reach(&service)));
        }
        Value::Object(all)
    }

    fn own(&self, service: &Service<'_>) -> Result<Value> {
        let (node, component) = (&service.node.name, service.component.name);
        let mut own = reach(service);
        let folders = [
            ("files", self.layout.rendered(node, component)),
            ("secret_files", self.layout.rendered_secret(node, component)),
            ("data", self.layout.data(component)),
            ("logs", self.layout.logs()),
        ];
        for (name, path) in folders {
            own.insert(name.to_owned(), json!(text(&path)?));
        }
        let facts = &self.input.facts;
        if let Some(home) = facts.homes.get(component) {
            own.insert("home".to_owned(), json!(text(home)?));
        }
        let shipped = self.layout.rendered(node, component).join(SOURCE);
        let source = facts.sources.get(component).unwrap_or(&shipped);
        own.insert("source".to_owned(), json!(text(source)?));
        Ok(Value::Object(own))
    }

    /// Scrape jobs of what is there, in the order of the catalogue.
    fn jobs(&self) -> Value {
        let job = |component: &'static Component| {
            let job = component.job.as_ref()?;
            let services = self.topology.services();
            let targets: Vec<_> = services
                .filter(|service| service.component.name == component.name)
                .map(|service| {
                    let address = service.listen(job.port);
                    json!({"address": address, "node": service.node.name, "role": component.name})
                })
                .collect();
            (!targets.is_empty())
                .then(|| json!({"name": job.name, "path": job.path, "targets": targets}))
        };
        CATALOGUE.iter().filter_map(job).collect()
    }

    fn settings(&self) -> Value {
        let components = config::effective(&self.topology.stack).components;
        let of = |name: &str| components.get(name).cloned().unwrap_or_default();
        let prometheus = of("prometheus");
        json!({
            "scrape_interval": prometheus.scrape_interval,
            "evaluation_interval": prometheus.scrape_interval,
            "retention": prometheus.retention,
            "log_retention": of("loki").retention,
        })
    }

    fn notify(&self) -> Result<Value> {
        let notify = &self.topology.stack.notify;
        let mut all = Map::new();
        if notify.slack.is_some() {
            all.insert("slack".to_owned(), json!({"webhook_file": self.secret(secret::SLACK)?}));
        }
        if notify.discord.is_some() {
            all.insert(
                "discord".to_owned(),
                json!({"webhook_file": self.secret(secret::DISCORD)?}),
            );
        }
        if let Some(mail) = &notify.email {
            all.insert("email".to_owned(), self.email(mail)?);
        }
        Ok(Value::Object(all))
    }

    fn email(&self, mail: &Email) -> Result<Value> {
        let from = mail.from.as_ref().or(mail.to.first());
        let host = &mail.smtp.host;
        // An IPv6 address needs brackets to be told from its port.
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let mut all = Map::from_iter([
            ("to".to_owned(), json!(mail.to)),
            ("from".to_owned(), json!(from)),
            ("smarthost".to_owned(), json!(format!("{host}:{}", mail.smtp.port))),
        ]);
        if mail.smtp.password.is_some() {
            all.insert("user".to_owned(), json!(mail.smtp.user.as_ref().or(from)));
            all.insert("password_file".to_owned(), json!(self.secret(secret::SMTP)?));
        }
        Ok(Value::Object(all))
    }

    /// Files with secrets that programs read themselves.
    fn files(&self) -> Result<Value> {
        let mut all = Map::new();
        all.insert("grafana_admin_password".to_owned(), json!(self.secret(secret::GRAFANA)?));
        all.insert("grafana_secret_key".to_owned(), json!(self.secret(secret::GRAFANA_KEY)?));
        if self.topology.stack.app.database_url.is_some() {
            all.insert("app_database_url".to_owned(), json!(self.secret(secret::DATABASE)?));
        }
        Ok(Value::Object(all))
    }

    fn secret(&self, name: &str) -> Result<String> {
        text(&self.layout.secrets().join(name))
    }

    /// Log files that a log shipper beside `service` finds: those of its node, or all where all nodes are one machine.
    fn tails(&self, service: &Service<'_>) -> Result<Value> {
        let one_machine = self.topology.stack.target == TargetKind::Local;
        let mut all = Vec::new();
        for other in self.topology.services() {
            if !one_machine && other.node.name != service.node.name {
                continue;
            }
            let captured = format!("{}.log", other.component.name);
            let files = other.component.service.logs.iter().copied();
            for file in files.chain([captured.as_str()]) {
                all.push(json!({
                    "path": text(&self.layout.logs().join(file))?,
                    "job": file.trim_end_matches(".log"),
                    "node": other.node.name,
                    "service": other.component.name,
                }));
            }
        }
        Ok(Value::Array(all))
    }
}

/// How a service is reached.
fn reach(service: &Service<'_>) -> Map<String, Value> {
    let first = service.component.ports.first();
    let mut sockets = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    let mut ports = BTreeMap::new();
    for port in service.component.ports {
        let socket = service.listen(port.name);
        if let Some((address, _)) = socket.rsplit_once(':') {
            addresses.insert(port.name, address.to_owned());
        }
        sockets.insert(port.name, socket);
        ports.insert(port.name, service.number(port));
    }
    Map::from_iter([
        ("listen".to_owned(), json!(service.listen("http"))),
        ("url".to_owned(), json!(service.url())),
        ("address".to_owned(), json!(service.node.address)),
        ("port".to_owned(), json!(first.map(|port| service.number(port)))),
        ("node".to_owned(), json!(service.node.name)),
        ("ports".to_owned(), json!(ports)),
        ("addresses".to_owned(), json!(addresses)),
        ("sockets".to_owned(), json!(sockets)),
    ])
}

fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("the path `{}` is not valid UTF-8", path.display()))
        .exit(Exit::USAGE)
        .hint("run monstack in a folder whose path is valid UTF-8, or name one with `-C`")
}
