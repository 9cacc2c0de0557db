//! The JSON Schema of `monstack.yml`: made from the types, and what the loader checks a file by.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::model::{StackFile, TargetKind};
use super::option::{TIMED, default, knows, release};
use crate::component::{CATALOGUE, Component};

/// The JSON Schema (draft 2020-12) of `monstack.yml`.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<StackFile>().to_value();
    without_null(&mut schema);
    schema["title"] = "A monitoring stack of monstack".into();
    schema["patternProperties"] =
        json!({"^x-": {"description": "Ignored: room for what aliases stand for."}});
    let settings = schema["$defs"]
        .as_object_mut()
        .and_then(|definitions| definitions.remove("ComponentSettings"))
        .unwrap_or_default();
    schema["properties"]["components"] = components(&settings);
    schema
}

/// The known components by name, each with the options that it knows.
fn components(settings: &Value) -> Value {
    let rows: Map<String, Value> = CATALOGUE
        .iter()
        .map(|component| (component.name.to_owned(), options(component, settings)))
        .collect();
    json!({
        "type": "object",
        "description": "Settings of components, by name.",
        "properties": rows,
        "additionalProperties": false,
    })
}

fn options(component: &Component, settings: &Value) -> Value {
    let mut options = settings.clone();
    options["description"] = format!("Settings of {}.", component.title).into();
    let Some(properties) = options["properties"].as_object_mut() else { return options };
    properties.retain(|key, _| knows(component, key));
    if let (Some(version), Some(property)) = (release(component), properties.get_mut("version")) {
        property["default"] = version.into();
    }
    for row in TIMED.iter().filter(|row| row.component == component.name) {
        if let Some(property) = properties.get_mut(row.key) {
            property["default"] = default(row, TargetKind::default()).to_string().into();
        }
    }
    options
}

/// Takes `null` out of optional values: a key without a value is refused, for it is mostly an oversight.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(keywords) => {
            keywords.values_mut().for_each(without_null);
            optional(keywords);
        }
        _ => {}
    }
}

fn optional(keywords: &mut Map<String, Value>) {
    if keywords.get("default").is_some_and(Value::is_null) {
        keywords.remove("default");
    }
    if let Some(Value::Array(types)) = keywords.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            keywords.insert("type".to_owned(), only);
        }
    }
    let null = json!({"type": "null"});
    if let Some(Value::Array(cases)) = keywords.get_mut("anyOf") {
        cases.retain(|case| *case != null);
        if let [Value::Object(only)] = cases.as_slice() {
            let only = only.clone();
            keywords.remove("anyOf");
            keywords.extend(only);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_schema_of_draft_2020_12() {
        let schema = schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        jsonschema::meta::validate(&schema).unwrap();
    }

    #[test]
    fn every_key_is_described() {
        fn visit(schema: &Value, path: &str) {
            for (key, property) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{key}");
                assert!(
                    property["description"].as_str().is_some_and(|text| text.len() > 8),
                    "{path}"
                );
                visit(property, &path);
            }
            for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
                visit(definition, name);
            }
        }
        visit(&schema(), "");
    }

    #[test]
    fn each_component_has_its_own_options() {
        let components = &schema()["properties"]["components"]["properties"];
        assert_eq!(components.as_object().unwrap().len(), CATALOGUE.len());
        let options = |name: &str| {
            let options = components[name]["properties"].as_object().unwrap();
            options.keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(options("prometheus"), "path retention scrape_interval version");
        assert_eq!(options("loki"), "path retention version");
        assert_eq!(options("nginx"), "path");
    }
}
