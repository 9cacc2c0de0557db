//! The rows. Versions were current on 2026-11-21; `docs/components.md` says which checksums are pinned.

use super::{
    Component, File, Job, Kind, Native, Package, Peer, Place, Port, Program, Release, Reload,
    Reopen, Service, Signal, Supply,
};

const fn open(name: &'static str, number: u16, from: &'static [Peer]) -> Port {
    Port { name, number, fallback: None, from, lasting: true }
}

const fn template(template: &'static str, to: &'static str) -> File {
    File { template, to, kind: Kind::Template }
}

const fn verbatim(template: &'static str, to: &'static str) -> File {
    File { template, to, kind: Kind::Verbatim }
}

/// Every component of the stack, in the order in which people look at them.
pub const CATALOGUE: &[Component] = &[
    Component {
        name: "prometheus",
        title: "Prometheus",
        place: Place::On("prometheus"),
        required: true,
        programs: &[Program {
            name: "prometheus",
            version_args: &["--version"],
            version_mark: "prometheus, version ",
            supply: Supply::Native(Native {
                aliases: &[],
                tools: &["promtool"],
                release: Some(Release {
                    version: "3.14.0",
                    url: "https://github.com/prometheus/prometheus/releases/download/v{version}/prometheus-{version}.linux-{arch}.tar.gz",
                    checksums: "https://github.com/prometheus/prometheus/releases/download/v{version}/sha256sums.txt",
                    pins: &[
                        (
                            "amd64",
                            "f665c6da19eb7ba399c915d30c7d9793c9b417bf8a749b504bc470678631478d",
                        ),
                        (
                            "arm64",
                            "077f3781ab7245dc04c9a3c9b78ba120fc8e41aa0dc97489b0af67247e50ba83",
                        ),
                    ],
                    program: "prometheus-{version}.linux-{arch}/prometheus",
                }),
                package: Some(Package {
                    name: "prometheus",
                    program: "usr/bin/prometheus",
                    shared: &["/usr/share/prometheus/web"],
                }),
            }),
        }],
        ports: &[open("http", 9090, &[Peer::Node("grafana")])],
        files: &[
            template("prometheus/prometheus.yml", "prometheus.yml"),
            verbatim("prometheus/rules/app.yml", "rules/app.yml"),
            verbatim("prometheus/rules/hosts.yml", "rules/hosts.yml"),
            verbatim("prometheus/rules/stack.yml", "rules/stack.yml"),
            verbatim("prometheus/rules/test.yml", "rules/test.yml"),
        ],
        health: "/-/ready",
        job: Some(Job { name: "prometheus", port: "http", path: "/metrics" }),
        service: Service {
            args: &[
                "--config.file={{ own.files }}/prometheus.yml",
                "--storage.tsdb.path={{ own.data }}",
                "--storage.tsdb.retention.time={{ settings.retention }}",
                "--web.listen-address={{ own.listen }}",
                "--web.external-url={{ own.url }}",
            ],
            env: &[],
            reload: Reload::Signal(Signal::Hup),
            reopen: Reopen::Never,
            secrets: &[],
            logs: &[],
            check: Some(("promtool", &["check", "config", "{{ own.files }}/prometheus.yml"])),
        },
    },
    Component {
        name: "alertmanager",
        title: "Alertmanager",
        place: Place::On("prometheus"),
        required: true,
        programs: &[Program {
            name: "alertmanager",
            version_args: &["--version"],
            version_mark: "alertmanager, version ",
            supply: Supply::Native(Native {
                aliases: &["prometheus-alertmanager"],
                tools: &["amtool"],
                release: Some(Release {
                    version: "0.34.0",
                    url: "https://github.com/prometheus/alertmanager/releases/download/v{version}/alertmanager-{version}.linux-{arch}.tar.gz",
                    checksums: "https://github.com/prometheus/alertmanager/releases/download/v{version}/sha256sums.txt",
                    pins: &[(
                        "amd64",
                        "19c75a11d8c03dc4ade7abdbddfb3a8f28c9e7b000d0849cda0cd71dffd74a03",
                    )],
                    program: "alertmanager-{version}.linux-{arch}/alertmanager",
                }),
                package: Some(Package {
                    name: "prometheus-alertmanager",
                    program: "usr/bin/prometheus-alertmanager",
                    shared: &["/usr/share/prometheus/alertmanager"],
                }),
            }),
        }],
        ports: &[
            open("http", 9093, &[Peer::Node("grafana")]),
            Port {
                name: "test-receiver",
                number: 9099,
                fallback: None,
                from: &[Peer::Loopback],
                lasting: false,
            },
        ],
        files: &[File {
            template: "alertmanager/alertmanager.yml",
            to: "alertmanager.yml",
            kind: Kind::Secret,
        }],
        health: "/-/ready",
        job: Some(Job { name: "alertmanager", port: "http", path: "/metrics" }),
        service: Service {
            args: &[
                "--config.file={{ own.secret_files }}/alertmanager.yml",
                "--storage.path={{ own.data }}",
                "--web.listen-address={{ own.listen }}",
                "--web.external-url={{ own.url }}",
                "--cluster.listen-address=",
            ],
            env: &[],
            reload: Reload::Signal(Signal::Hup),
            reopen: Reopen::Never,
            secrets: &["slack_webhook", "discord_webhook", "smtp_password"],
            logs: &[],
            check: Some(("amtool", &["check-config", "{{ own.secret_files }}/alertmanager.yml"])),
        },
    },
    Component {
        name: "loki",
        title: "Loki",
        place: Place::On("loki"),
        required: false,
        programs: &[Program {
            name: "loki",
            version_args: &["--version"],
            version_mark: "loki, version ",
            supply: Supply::Native(Native {
                aliases: &["loki-linux-amd64", "loki-linux-arm64"],
                tools: &[],
                release: Some(Release {
                    version: "3.7.6",
                    url: "https://github.com/grafana/loki/releases/download/v{version}/loki-linux-{arch}.zip",
                    checksums: "https://github.com/grafana/loki/releases/download/v{version}/SHA256SUMS",
                    pins: &[],
                    program: "loki-linux-{arch}",
                }),
                package: None,
            }),
        }],
        ports: &[
            open("http", 3100, &[Peer::Node("grafana"), Peer::Node("prometheus"), Peer::EveryNode]),
            open("grpc", 9096, &[Peer::Loopback]),
        ],
        files: &[template("loki/loki.yml", "loki.yml")],
        health: "/ready",
        job: Some(Job { name: "loki", port: "http", path: "/metrics" }),
        service: Service {
            args: &["-config.file={{ own.files }}/loki.yml"],
            env: &[],
            reload: Reload::Restart,
            reopen: Reopen::Never,
            secrets: &[],
            logs: &[],
            check: Some(("loki", &["-verify-config", "-config.file={{ own.files }}/loki.yml"])),
        },
    },
    Component {
        name: "grafana",
        title: "Grafana",
        place: Place::On("grafana"),
        required: false,
        programs: &[Program {
            name: "grafana",
            version_args: &["--version"],
            version_mark: "grafana version ",
            supply: Supply::Native(Native {
                aliases: &[],
                tools: &[],
                release: Some(Release {
                    version: "13.2.3",
                    url: "https://dl.grafana.com/oss/release/grafana-{version}.linux-{arch}.tar.gz",
                    checksums: "https://dl.grafana.com/oss/release/grafana-{version}.linux-{arch}.tar.gz.sha256",
                    pins: &[
                        (
                            "amd64",
                            "6107ad27016296aac38e0d7ffa8753ab540b5541ad27e94790f771289d733235",
                        ),
                        (
                            "arm64",
                            "a2a41b960ba4c25e83140484e48813730d3c81891a128439a2a9d2df6eb3840e",
                        ),
                    ],
                    program: "grafana-{version}/bin/grafana",
                }),
                package: None,
            }),
        }],
        ports: &[open("http", 3000, &[Peer::Admin, Peer::Node("prometheus")])],
        files: &[
            template("grafana/grafana.ini", "grafana.ini"),
            template(
                "grafana/provisioning/datasources/stack.yml",
                "provisioning/datasources/stack.yml",
            ),
            template(
                "grafana/provisioning/dashboards/stack.yml",
                "provisioning/dashboards/stack.yml",
            ),
            template("grafana/provisioning/alerting/logs.yml", "provisioning/alerting/logs.yml"),
            verbatim("grafana/dashboards/application.json", "dashboards/application.json"),
            verbatim("grafana/dashboards/hosts.json", "dashboards/hosts.json"),
            verbatim("grafana/dashboards/stack.json", "dashboards/stack.json"),
        ],
        health: "/api/health",
        job: Some(Job { name: "grafana", port: "http", path: "/metrics" }),
        service: Service {
            args: &["server", "--homepath={{ own.home }}", "--config={{ own.files }}/grafana.ini"],
            env: &[],
            reload: Reload::Restart,
            reopen: Reopen::Never,
            secrets: &["grafana_admin_password", "grafana_secret_key"],
            logs: &[],
            check: None,
        },
    },
    Component {
        name: "node_exporter",
        title: "node_exporter",
        place: Place::Everywhere,
        required: true,
        programs: &[Program {
            name: "node_exporter",
            version_args: &["--version"],
            version_mark: "node_exporter, version ",
            supply: Supply::Native(Native {
                aliases: &["prometheus-node-exporter"],
                tools: &[],
                release: Some(Release {
                    version: "1.12.1",
                    url: "https://github.com/prometheus/node_exporter/releases/download/v{version}/node_exporter-{version}.linux-{arch}.tar.gz",
                    checksums: "https://github.com/prometheus/node_exporter/releases/download/v{version}/sha256sums.txt",
                    pins: &[
                        (
                            "amd64",
                            "b51d8a76aa2a9156a55d501aca6276fae09e262259a5e4e831d2c2222f084e63",
                        ),
                        (
                            "arm64",
                            "ad35b605f9954b9f1ffddf5ba054bdc5a98d790b9eae5291e1eeb83f1ecbd0e7",
                        ),
                    ],
                    program: "node_exporter-{version}.linux-{arch}/node_exporter",
                }),
                package: Some(Package {
                    name: "prometheus-node-exporter",
                    program: "usr/bin/prometheus-node-exporter",
                    shared: &[],
                }),
            }),
        }],
        ports: &[open("http", 9100, &[Peer::Node("prometheus")])],
        files: &[],
        health: "/",
        job: Some(Job { name: "node", port: "http", path: "/metrics" }),
        service: Service {
            args: &[
                "--web.listen-address={{ own.listen }}",
                "--collector.textfile.directory={{ own.data }}/textfile",
            ],
            env: &[],
            reload: Reload::Restart,
            reopen: Reopen::Never,
            secrets: &[],
            logs: &[],
            check: None,
        },
    },
    Component {
        name: "agent",
        title: "monstack-agent",
        place: Place::On("app"),
        required: true,
        programs: &[Program {
            name: "monstack-agent",
            version_args: &["--version"],
            version_mark: "monstack-agent ",
            supply: Supply::Sibling,
        }],
        ports: &[open("http", 9101, &[Peer::Node("prometheus")])],
        files: &[],
        health: "/health",
        job: Some(Job { name: "agent", port: "http", path: "/metrics" }),
        service: Service {
            args: &[
                "run",
                "--listen={{ own.listen }}",
                "--data-dir={{ own.data }}",
                "--collector.textfile.directory={{ own.data }}/textfile",
            ],
            env: &[],
            reload: Reload::Restart,
            reopen: Reopen::Never,
            secrets: &[],
            logs: &[],
            check: None,
        },
    },
    Component {
        name: "app",
        title: "Application",
        place: Place::On("app"),
        required: true,
        programs: &[Program {
            name: "gunicorn",
            version_args: &["--version"],
            version_mark: "gunicorn (version ",
            supply: Supply::Python,
        }],
        ports: &[open("http", 8000, &[Peer::Loopback])],
        files: &[],
        health: "/health",
        job: None,
        service: Service {
            args: &["--config", "{{ own.source }}/gunicorn.conf.py"],
            env: &[
                ("MONSTACK_APP_BIND", "{{ own.listen }}"),
                ("MONSTACK_APP_DATA_DIR", "{{ own.data }}"),
                ("MONSTACK_APP_LOG", "{{ own.logs }}/flask.log"),
                ("MONSTACK_APP_FAULT_FILE", "{{ own.data }}/fault.json"),
                ("MONSTACK_APP_VERSION", "{{ version }}"),
                (
                    "MONSTACK_APP_DATABASE_URL_FILE",
                    "{% if files.app_database_url %}{{ files.app_database_url }}{% endif %}",
                ),
            ],
            reload: Reload::Restart,
            reopen: Reopen::Itself,
            secrets: &["app_database_url"],
            logs: &["flask.log"],
            check: None,
        },
    },
    Component {
        name: "nginx",
        title: "nginx",
        place: Place::On("app"),
        required: true,
        programs: &[Program {
            name: "nginx",
            version_args: &["-v"],
            version_mark: "nginx version: nginx/",
            supply: Supply::Native(Native {
                aliases: &[],
                tools: &[],
                release: None,
                package: Some(Package { name: "nginx", program: "usr/sbin/nginx", shared: &[] }),
            }),
        }],
        ports: &[
            Port {
                name: "http",
                number: 80,
                fallback: Some(8080),
                from: &[Peer::Everyone],
                lasting: true,
            },
            open("metrics", 9102, &[Peer::Node("prometheus")]),
        ],
        files: &[template("nginx/nginx.conf", "nginx.conf")],
        health: "/health",
        job: Some(Job { name: "app", port: "metrics", path: "/metrics" }),
        service: Service {
            args: &[
                "-e",
                "{{ own.logs }}/nginx_error.log",
                "-p",
                "{{ own.data }}",
                "-c",
                "{{ own.files }}/nginx.conf",
                "-g",
                "daemon off;",
            ],
            env: &[],
            reload: Reload::Signal(Signal::Hup),
            reopen: Reopen::Signal(Signal::Hup),
            secrets: &[],
            logs: &["nginx_access.log", "nginx_error.log"],
            check: Some((
                "nginx",
                &[
                    "-t",
                    "-q",
                    "-e",
                    "{{ own.logs }}/nginx_error.log",
                    "-p",
                    "{{ own.data }}",
                    "-c",
                    "{{ own.files }}/nginx.conf",
                ],
            )),
        },
    },
    Component {
        name: "alloy",
        title: "Grafana Alloy",
        place: Place::Everywhere,
        required: false,
        programs: &[Program {
            name: "alloy",
            version_args: &["--version"],
            version_mark: "alloy, version ",
            supply: Supply::Native(Native {
                aliases: &["alloy-linux-amd64", "alloy-linux-arm64"],
                tools: &[],
                release: Some(Release {
                    version: "1.18.1",
                    url: "https://github.com/grafana/alloy/releases/download/v{version}/alloy-linux-{arch}.zip",
                    checksums: "https://github.com/grafana/alloy/releases/download/v{version}/SHA256SUMS",
                    pins: &[(
                        "amd64",
                        "fac853cbc3983a50a2368f9a685b31f74392ae86dd6155461b11a911c07b483c",
                    )],
                    program: "alloy-linux-{arch}",
                }),
                package: None,
            }),
        }],
        ports: &[open("http", 12345, &[Peer::Node("prometheus")])],
        files: &[template("alloy/config.alloy", "config.alloy")],
        health: "/-/ready",
        job: Some(Job { name: "alloy", port: "http", path: "/metrics" }),
        service: Service {
            args: &[
                "run",
                "--server.http.listen-addr={{ own.listen }}",
                "--storage.path={{ own.data }}",
                "--disable-reporting",
                "{{ own.files }}/config.alloy",
            ],
            env: &[],
            reload: Reload::Signal(Signal::Hup),
            reopen: Reopen::Never,
            secrets: &[],
            logs: &[],
            check: Some(("alloy", &["validate", "{{ own.files }}/config.alloy"])),
        },
    },
];
