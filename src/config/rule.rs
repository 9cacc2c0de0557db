//! What texts of the stack file must look like: for the schema a pattern, for people a reason.

use std::net::Ipv6Addr;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::duration::Duration;

/// A kind of text, named by the keyword `format` of the schema.
pub struct Rule {
    /// Its name in the schema.
    pub format: &'static str,
    /// What is wanted, with an example.
    pub wanted: &'static str,
    pattern: &'static str,
    examples: &'static [&'static str],
    check: fn(&str) -> Result<(), String>,
}

/// Every kind of text.
pub const RULES: &[Rule] =
    &[STACK_NAME, VERSION, DURATION, ADDRESS, HOST, VARIABLE, LINE, SECRET_FILE];

/// The name of a stack; it becomes a folder and part of other names.
pub const STACK_NAME: Rule = Rule {
    format: "stack-name",
    wanted: "a name such as `demo`",
    pattern: "^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$",
    examples: &["demo"],
    check: check_stack_name,
};

const VERSION: Rule = Rule {
    format: "version",
    wanted: "a version such as `3.14.0`",
    pattern: r"^[0-9]+\.[0-9]+\.[0-9]+$",
    examples: &["3.14.0"],
    check: check_version,
};

/// A span of time.
pub const DURATION: Rule = Rule {
    format: "prometheus-duration",
    wanted: "a duration such as `15d`, `2h30m` or `15s`",
    pattern: "^(?=.*[1-9])([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
    examples: &["15d", "2h30m", "15s"],
    check: |text| text.parse::<Duration>().map(drop),
};

const ADDRESS: Rule = Rule {
    format: "email",
    wanted: "an address such as `oncall@example.org`",
    pattern: "^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$",
    examples: &["oncall@example.org"],
    check: check_address,
};

const HOST: Rule = Rule {
    format: "host",
    wanted: "a host such as `smtp.example.org`",
    pattern: "^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$",
    examples: &["smtp.example.org"],
    check: check_host,
};

const VARIABLE: Rule = Rule {
    format: "environment-variable",
    wanted: "the name of an environment variable such as `SLACK_WEBHOOK_URL`",
    pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
    examples: &["SLACK_WEBHOOK_URL"],
    check: check_variable,
};

const LINE: Rule = Rule {
    format: "line",
    wanted: "a line of text in quotes",
    pattern: r"^[^\x00-\x1f\x7f]+$",
    examples: &[],
    check: check_line,
};

const SECRET_FILE: Rule = Rule {
    format: "secret-file",
    wanted: "a path such as `~/.secrets/slack`",
    pattern: r"^(?!.*://)[^\x00-\x1f\x7f]+$",
    examples: &["~/.secrets/slack"],
    check: check_secret_file,
};

impl Rule {
    /// The rule of this format.
    pub fn named(format: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.format == format)
    }

    /// Says why `text` breaks the rule.
    pub fn check(&self, text: &str) -> Result<(), String> {
        (self.check)(text)
    }

    /// The rule as JSON Schema.
    pub fn schema(&self) -> Schema {
        let mut schema = json_schema!({
            "type": "string",
            "format": self.format,
            "pattern": self.pattern,
            "patternErrorMessage": format!("wanted {}", self.wanted),
        });
        if !self.examples.is_empty() {
            schema.insert("examples".to_owned(), self.examples.into());
        }
        schema
    }
}

/// Schema of a stack's name.
pub fn stack_name(_: &mut SchemaGenerator) -> Schema {
    STACK_NAME.schema()
}

/// Schema of a version.
pub fn version(_: &mut SchemaGenerator) -> Schema {
    VERSION.schema()
}

/// Schema of a mail address.
pub fn address(_: &mut SchemaGenerator) -> Schema {
    ADDRESS.schema()
}

/// Schema of a list of mail addresses that is not empty.
pub fn addresses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": ADDRESS.schema(), "minItems": 1})
}

/// Schema of a host.
pub fn host(_: &mut SchemaGenerator) -> Schema {
    HOST.schema()
}

/// Schema of an environment variable's name.
pub fn variable(_: &mut SchemaGenerator) -> Schema {
    VARIABLE.schema()
}

/// Schema of a text in one line.
pub fn line(_: &mut SchemaGenerator) -> Schema {
    LINE.schema()
}

/// Schema of the path of a file that holds a secret.
pub fn secret_file(_: &mut SchemaGenerator) -> Schema {
    SECRET_FILE.schema()
}

/// Schema of a text that is not empty.
pub fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1})
}

/// Makes the schema of a secret reference want one key, and forbids to show what was found instead.
pub fn secret(schema: &mut Schema) {
    schema.insert("minProperties".to_owned(), 1.into());
    schema.insert("maxProperties".to_owned(), 1.into());
    schema.insert("writeOnly".to_owned(), true.into());
    let message = "a secret is never written in the stack file or on the command line; say where it is read from, such as `{env: NAME}`";
    schema.insert("errorMessage".to_owned(), message.into());
}

/// `text` between backticks, without characters that could disturb a terminal, and not at full length if it is long.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    let shown = |c: char| {
        if c.is_alphanumeric() || c == ' ' || c.is_ascii_graphic() {
            c.to_string()
        } else {
            c.escape_unicode().to_string()
        }
    };
    if text.is_empty() {
        return "`\"\"`".to_owned();
    }
    let end = if text.chars().count() > LONGEST { "..." } else { "" };
    format!("`{}{end}`", text.chars().take(LONGEST).map(shown).collect::<String>())
}

fn check_stack_name(name: &str) -> Result<(), String> {
    let fault = |reason: &str| {
        let rule = "wanted lower-case letters, digits and `-`, such as `demo`";
        Err(format!("{} {reason}; {rule}", quoted(name)))
    };
    let odd = name.chars().find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && *c != '-');
    match odd {
        _ if name.is_empty() => return fault("is empty"),
        _ if name.contains(['/', '\\']) || name.contains("..") => return fault("is a path"),
        Some(c) if c.is_ascii_uppercase() => return fault("has upper-case letters"),
        Some(c) => return fault(&format!("has {} in it", quoted(&c.to_string()))),
        None => {}
    }
    if name.len() > 32 {
        return fault("is longer than 32 characters");
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return fault("does not begin with a letter");
    }
    if name.ends_with('-') {
        return fault("ends with `-`");
    }
    Ok(())
}

fn check_version(version: &str) -> Result<(), String> {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if version.split('.').count() == 3 && version.split('.').all(number) {
        return Ok(());
    }
    match version.strip_prefix('v') {
        Some(rest) => Err(format!(
            "{} is not a version; wanted {} without the `v`",
            quoted(version),
            quoted(rest)
        )),
        None => Err(format!("{} is not {}", quoted(version), VERSION.wanted)),
    }
}

fn check_address(address: &str) -> Result<(), String> {
    // A long text or a URL in this place may well be a secret, so what was found is not repeated.
    let fault = || Err(format!("this is not {}", ADDRESS.wanted));
    let Some((user, host)) = address.split_once('@') else { return fault() };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    if (1..=64).contains(&user.len()) && user.chars().all(plain) && is_host_name(host) {
        return Ok(());
    }
    fault()
}

fn check_host(host: &str) -> Result<(), String> {
    if is_host_name(host) || host.parse::<Ipv6Addr>().is_ok() {
        return Ok(());
    }
    // A URL may hold a password, so what was found is not repeated.
    let found = match host.rsplit_once(':') {
        _ if host.contains("://") => "this is a URL",
        Some((name, port)) if is_host_name(name) && port.parse::<u16>().is_ok() => {
            return Err("the port is written under `port`, not with the host".to_owned());
        }
        _ => "this is no host name",
    };
    Err(format!("{found}; wanted {}", HOST.wanted))
}

/// Whether `host` is made of labels as DNS has them, or is an IPv4 address; `_` is let through as private names use it.
fn is_host_name(host: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn check_variable(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    if !name.is_empty() && !digit && name.chars().all(plain) {
        return Ok(());
    }
    // What stands here instead of a name may be the secret itself, so it is not repeated.
    Err(format!("this is not {}", VARIABLE.wanted))
}

fn check_line(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("this text is empty".to_owned());
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err("this text has a line break or a control character in it".to_owned());
    }
    Ok(())
}

fn check_secret_file(path: &str) -> Result<(), String> {
    // A URL here is most likely the secret itself, so it is not repeated.
    if path.contains("://") {
        return Err(format!("this is a URL; wanted {}", SECRET_FILE.wanted));
    }
    check_line(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(rule: &Rule, text: &str) -> String {
        rule.check(text).unwrap_err()
    }

    #[test]
    fn a_name_is_refused_with_its_reason() {
        let rule = "; wanted lower-case letters, digits and `-`, such as `demo`";
        for (name, reason) in [
            ("", "`\"\"` is empty"),
            ("../etc", "`../etc` is a path"),
            ("a..b", "`a..b` is a path"),
            ("a/b", "`a/b` is a path"),
            ("a\\b", "`a\\b` is a path"),
            ("Demo", "`Demo` has upper-case letters"),
            ("d\u{e9}mo", "`d\u{e9}mo` has `\u{e9}` in it"),
            ("a\u{202e}b", "`a\\u{202e}b` has `\\u{202e}` in it"),
            ("my demo", "`my demo` has ` ` in it"),
            ("a_b", "`a_b` has `_` in it"),
            ("1a", "`1a` does not begin with a letter"),
            ("-a", "`-a` does not begin with a letter"),
            ("a-", "`a-` ends with `-`"),
        ] {
            assert_eq!(fault(&STACK_NAME, name), format!("{reason}{rule}"));
        }
        assert!(fault(&STACK_NAME, &"a".repeat(33)).contains("is longer than 32 characters"));
        assert_eq!(STACK_NAME.check(&"a".repeat(32)), Ok(()));
    }

    #[test]
    fn a_version_has_three_numbers() {
        assert_eq!(VERSION.check("3.14.0"), Ok(()));
        assert_eq!(fault(&VERSION, "3.14"), "`3.14` is not a version such as `3.14.0`");
        let without = "`v3.14.0` is not a version; wanted `3.14.0` without the `v`";
        assert_eq!(fault(&VERSION, "v3.14.0"), without);
        for version in ["latest", "3.14.0-rc.0", "3..0", "3.14.0\n", "../3.14.0"] {
            assert!(VERSION.check(version).is_err(), "{version}");
        }
    }

    #[test]
    fn a_host_is_a_name_alone() {
        for host in ["localhost", "smtp.example.org", "10.0.0.1", "::1", "mail_1"] {
            assert_eq!(HOST.check(host), Ok(()), "{host}");
        }
        assert!(fault(&HOST, "smtps://a:secret@smtp.example.org").starts_with("this is a URL;"));
        assert!(fault(&HOST, "smtp.example.org:587").contains("under `port`"));
        for host in ["", "a b", "a..b", "-a", "a-", ".", "me@example.org", "m\u{fc}ller.example"] {
            assert!(HOST.check(host).is_err(), "{host}");
        }
    }

    #[test]
    fn an_address_has_a_user_and_a_host() {
        for address in ["oncall@example.org", "root@localhost", "a.b+c@x-y.example"] {
            assert_eq!(ADDRESS.check(address), Ok(()), "{address}");
        }
        for address in ["", "oncall", "@example.org", "a@", "a@b@c", "A <a@b>", "a@b,c@d", "a\n@b"]
        {
            assert!(ADDRESS.check(address).is_err(), "{address}");
        }
    }

    #[test]
    fn the_reason_does_not_repeat_what_may_be_a_secret() {
        let secret = "https://hooks.example.org/T0/CANARY";
        for rule in [&ADDRESS, &HOST, &VARIABLE, &SECRET_FILE] {
            assert!(!fault(rule, secret).contains("CANARY"), "{}", rule.format);
        }
    }

    #[test]
    fn a_quoted_text_is_short_and_harmless() {
        assert_eq!(quoted("a\u{1b}[31m"), "`a\\u{1b}[31m`");
        assert_eq!(quoted(&"x".repeat(41)), format!("`{}...`", "x".repeat(40)));
    }

    /// Texts that look like what the rules want, so that both outcomes are frequent.
    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-zA-Z0-9._@:-]{0,40}",
            "([0-9]{1,3}(ms|[ywdhms])){1,3}",
            "[0-9]{1,2}(\\.[0-9]{1,2}){1,3}",
            "[a-z]{1,5}(@[a-z]{1,5}){0,2}(\\.[a-z]{1,4}){0,2}",
        ]
    }

    proptest! {
        #[test]
        fn the_pattern_lets_through_whatever_the_rule_does(text in texts()) {
            for rule in RULES {
                let schema = serde_json::json!({"type": "string", "pattern": rule.pattern});
                let allowed = jsonschema::is_valid(&schema, &text.clone().into());
                match rule.check(&text) {
                    Ok(()) => prop_assert!(allowed, "{} {text:?}", rule.format),
                    // Patterns are looser in two points: they do not count a host's letters, nor sum up a duration.
                    Err(_) if [ADDRESS.format, HOST.format].contains(&rule.format) => {}
                    Err(reason) if reason.ends_with("a hundred years") => {}
                    Err(_) => prop_assert!(!allowed, "{} {text:?}", rule.format),
                }
            }
        }
    }
}
