//! Which component knows which option, and what holds where the stack file is silent.

use super::duration::Duration;
use super::model::{ComponentSettings, TargetKind};
use super::suggest::all;
use crate::component::{CATALOGUE, Component, Supply};

/// A span of time that a component can be given.
pub struct Timed {
    /// The component's name.
    pub component: &'static str,
    /// The option's key.
    pub key: &'static str,
    /// The component takes no less.
    pub least: Option<Duration>,
    /// The default on one's own machine.
    pub local: Duration,
    /// The default elsewhere.
    pub elsewhere: Duration,
    /// Where the settings keep it.
    pub field: fn(&mut ComponentSettings) -> &mut Option<Duration>,
}

/// Every span of time that can be set.
pub const TIMED: &[Timed] = &[
    Timed {
        component: "prometheus",
        key: "retention",
        least: None,
        local: Duration::days(15),
        elsewhere: Duration::days(15),
        field: |settings| &mut settings.retention,
    },
    Timed {
        component: "prometheus",
        key: "scrape_interval",
        least: None,
        local: Duration::seconds(2),
        elsewhere: Duration::seconds(15),
        field: |settings| &mut settings.scrape_interval,
    },
    Timed {
        component: "loki",
        key: "retention",
        least: Some(Duration::days(1)),
        local: Duration::days(15),
        elsewhere: Duration::days(15),
        field: |settings| &mut settings.retention,
    },
];

/// Whether `component` knows the option `key`.
pub fn knows(component: &Component, key: &str) -> bool {
    match key {
        "path" => true,
        "version" => release(component).is_some(),
        _ => TIMED.iter().any(|row| row.component == component.name && row.key == key),
    }
}

/// The pinned version of `component`, if it is had as a release.
pub fn release(component: &Component) -> Option<&'static str> {
    component.programs.iter().find_map(|program| match &program.supply {
        Supply::Native(native) => native.release.as_ref().map(|release| release.version),
        Supply::Python | Supply::Sibling => None,
    })
}

/// The default of `row` on `target`.
pub fn default(row: &Timed, target: TargetKind) -> Duration {
    match target {
        TargetKind::Local => row.local,
        TargetKind::Aws | TargetKind::Hosts => row.elsewhere,
    }
}

/// Says whose option `key` is, if it is one of other components.
pub fn owners(key: &str) -> Option<String> {
    let names: Vec<&str> =
        CATALOGUE.iter().filter(|row| knows(row, key)).map(|row| row.name).collect();
    (!names.is_empty())
        .then(|| format!("{} is an option of {}", super::rule::quoted(key), all(&names)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_of_a_component_and_keeps_its_own_rule() {
        for row in TIMED {
            assert!(Component::named(row.component).is_some(), "{}", row.component);
            for duration in [row.local, row.elsewhere] {
                assert!(row.least.is_none_or(|least| duration >= least), "{}", row.key);
            }
        }
    }

    #[test]
    fn versions_are_for_what_is_had_as_a_release() {
        let knows = |name| knows(Component::named(name).unwrap(), "version");
        assert!(knows("grafana") && !knows("nginx") && !knows("app"));
    }

    #[test]
    fn an_option_knows_its_owners() {
        let text = owners("retention").unwrap();
        assert_eq!(text, "`retention` is an option of `prometheus` and `loki`");
        assert_eq!(owners("retentoin"), None);
    }
}
