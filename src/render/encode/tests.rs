//! Each encoder against a reader of its format that was written apart from it.

use proptest::prelude::*;

use super::*;

/// Text of any characters, rich in those that formats take for something.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        4 => any::<char>().prop_map(String::from),
        2 => "[ -~]{1,6}",
        3 => proptest::sample::select(vec![
            "$", "$$", "${HOME}", "$__file{/etc/passwd}", "$__env{A}", "{{", "}}", "{{ x }}", "{%", "%}", "{#", "\n",
            "\r\n", "\t", "\"", "'", "`", "\"\"\"", "\\", "\\n", "\\\"", "%", "%i", "%(a)s", "#", " #", ";", ";#", ": ",
            "- ", "&a", "*a", "!!str", "~", "null", "\u{0}", "\u{1f}", "\u{7f}", "\u{85}", "\u{2028}", "\u{feff}",
            "\u{fffe}", "\u{10ffff}", "\u{1f600}", "[a]", "{a,b}", "?", "/", " ", "",
        ]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

fn from_yaml(value: &str) -> String {
    let map: std::collections::BTreeMap<String, String> =
        serde_yaml::from_str(&format!("key: {value}\nnext: x\n")).unwrap();
    assert_eq!((map.len(), map["next"].as_str()), (2, "x"), "{value}");
    map["key"].clone()
}

/// Reads a template of Go as Alertmanager executes it, where it holds nothing but texts and quoted texts.
fn from_go_template(source: &str) -> String {
    let mut all = String::new();
    let mut rest = source;
    while let Some((before, action)) = rest.split_once("{{") {
        let (action, after) = action.split_once("}}").unwrap();
        all.push_str(before);
        let quoted = action.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap();
        assert!(!quoted.contains(['"', '\\']), "{source}");
        all.push_str(quoted);
        rest = after;
    }
    all + rest
}

/// Replaces variables in a value of a provisioning file the way Grafana does: `$$` parts it first.
fn from_grafana(value: &str) -> String {
    let parts: Vec<_> = value.split("$$").collect();
    assert!(
        parts.iter().all(|part| !part.contains('$')),
        "Grafana would replace something in {value}"
    );
    parts.join("$")
}

/// Reads `key = value` of an INI file as Grafana's reader does, and the variables in it.
fn from_ini(line: &str) -> String {
    let line = line.split('\n').next().unwrap();
    let value = line.split_once('=').unwrap().1.trim_start();
    let inner = value.strip_prefix('`').unwrap();
    let value = &inner[..inner.rfind('`').unwrap()];
    let expander = regex::Regex::new(r"\$(|__\w+)\{([^}]+)\}").unwrap();
    let interpolation = regex::Regex::new(r"%\(([^)]+)\)s").unwrap();
    assert!(!interpolation.is_match(value), "{value}");
    match expander.captures(value) {
        Some(found) => {
            assert_eq!((&found[0], &found[1]), (value, "__file"));
            found[2].to_owned()
        }
        None => value.to_owned(),
    }
}

/// Reads a quoted word of nginx's configuration; escapes are those of its reader.
fn from_nginx(word: &str) -> String {
    let mut all = String::new();
    let mut characters = word.strip_prefix('"').unwrap().chars();
    loop {
        match characters.next().unwrap() {
            '"' => break,
            '\\' => match characters.next().unwrap() {
                't' => all.push('\t'),
                'r' => all.push('\r'),
                'n' => all.push('\n'),
                same @ ('"' | '\'' | '\\') => all.push(same),
                other => all.extend(['\\', other]),
            },
            other => all.push(other),
        }
    }
    assert_eq!(characters.as_str(), ";", "{word}");
    all
}

/// Reads an interpreted string of Go, which is what Alloy has.
fn from_go_string(literal: &str) -> String {
    let mut all = String::new();
    let mut characters = literal.strip_prefix('"').unwrap().chars();
    loop {
        match characters.next().unwrap() {
            '"' => break,
            '\n' => panic!("a string ends with its line"),
            '\\' => {
                let number = |digits: usize, characters: &mut std::str::Chars<'_>| {
                    let text: String = characters.take(digits).collect();
                    char::from_u32(u32::from_str_radix(&text, 16).unwrap()).unwrap()
                };
                all.push(match characters.next().unwrap() {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'u' => number(4, &mut characters),
                    'U' => number(8, &mut characters),
                    same @ ('"' | '\\') => same,
                    other => panic!("Go does not know \\{other}"),
                });
            }
            '\0' | '\u{feff}' => panic!("Go refuses this character in a source"),
            other => all.push(other),
        }
    }
    assert_eq!(characters.as_str(), "", "{literal}");
    all
}

fn holds(text: &str, any: &[&str]) -> bool {
    any.iter().any(|it| text.contains(it))
}

/// The one name that a pattern matches, if it has no wildcard.
fn from_pattern(pattern: &str, wild: &str) -> String {
    let mut all = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        assert!(!wild.contains(character), "{pattern} matches more than one name");
        all.push(if character == '\\' { characters.next().unwrap() } else { character });
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn yaml_reads_back(text in text()) {
        prop_assert_eq!(from_yaml(&yaml(&text).unwrap()), text);
    }

    #[test]
    fn a_yaml_scalar_is_printable(text in text()) {
        let scalar = yaml(&text).unwrap();
        prop_assert!(scalar.chars().all(|it| !it.is_control() && it != '\u{feff}'), "{:?}", scalar);
    }

    #[test]
    fn a_label_reads_back_or_holds_a_dollar(text in text()) {
        match prometheus_label(&text) {
            Ok(value) => prop_assert_eq!(from_yaml(&value), text),
            Err(_) => prop_assert!(text.contains('$')),
        }
    }

    #[test]
    fn a_regular_expression_matches_its_text_alone(text in text(), other in text()) {
        let pattern = from_yaml(&prometheus_regex(&text).unwrap());
        let pattern = regex::Regex::new(&format!("^(?s:{pattern})$")).unwrap();
        prop_assert!(pattern.is_match(&text));
        prop_assert_eq!(pattern.is_match(&other), other == text);
    }

    #[test]
    fn a_rule_file_reads_back_or_holds_an_asterisk(text in text()) {
        match prometheus_glob(&text) {
            Ok(value) => prop_assert_eq!(from_pattern(&from_yaml(&value), "*?["), text),
            Err(_) => prop_assert!(text.contains('*')),
        }
    }

    #[test]
    fn an_alertmanager_template_reads_back(text in text()) {
        prop_assert_eq!(from_go_template(&from_yaml(&alertmanager(&text).unwrap())), text);
    }

    #[test]
    fn a_provisioned_value_reads_back(text in text()) {
        prop_assert_eq!(from_grafana(&from_yaml(&grafana(&text).unwrap())), text);
    }

    #[test]
    fn json_reads_back(text in text()) {
        let read: String = serde_json::from_str(&json(&text).unwrap()).unwrap();
        prop_assert_eq!(read, text);
    }

    #[test]
    fn ini_reads_back_or_refuses(text in text()) {
        match ini(&text) {
            Ok(value) => prop_assert_eq!(from_ini(&format!("key = {value}\nnext = `x`\n")), text),
            Err(_) => prop_assert!(holds(&text, &["\n", "\r", "\0", "${", "$__", "%("]), "{:?}", text),
        }
    }

    #[test]
    fn an_ini_file_reads_back_or_refuses(text in "/[ -~é`\"#;$]{0,20}".prop_union("/[ -|\n]{0,9}")) {
        match ini_file(&text) {
            Ok(value) => prop_assert_eq!(from_ini(&format!("key = {value}\n")), text),
            Err(_) => prop_assert!(holds(&text, &["\n", "}", "%("]), "{:?}", text),
        }
    }

    #[test]
    fn nginx_reads_back_or_refuses(text in text()) {
        match nginx(&text) {
            Ok(value) => prop_assert_eq!(from_nginx(&format!("{value};")), text),
            Err(_) => prop_assert!(text.contains('\0')),
        }
    }

    #[test]
    fn nginx_replaces_nothing_in_a_literal(text in text()) {
        match nginx_literal(&text) {
            Ok(value) => {
                prop_assert!(!value.contains('$'));
                prop_assert_eq!(from_nginx(&format!("{value};")), text);
            }
            Err(_) => prop_assert!(text.contains(['\0', '$'])),
        }
    }

    #[test]
    fn alloy_reads_back(text in text()) {
        prop_assert_eq!(from_go_string(&alloy(&text).unwrap()), text);
    }

    #[test]
    fn an_alloy_pattern_reads_back_or_holds_a_backslash(text in text()) {
        match alloy_glob(&text) {
            Ok(value) => prop_assert_eq!(from_pattern(&from_go_string(&value), "*?[]{}"), text),
            Err(_) => prop_assert!(text.contains('\\')),
        }
    }
}

#[test]
fn what_nginx_cannot_read_at_once_is_refused() {
    assert!(nginx(&"a".repeat(3998)).is_ok());
    assert_eq!(
        nginx(&"a".repeat(3999)).unwrap_err(),
        "nginx cannot hold a value of more than 4000 bytes"
    );
}

#[test]
fn names_of_encoders_are_unique() {
    let names: std::collections::BTreeSet<_> = ENCODERS.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), ENCODERS.len());
}
