//! Encoders: any text to a value of a file format, or a reason why the format cannot hold it.
//!
//! Each is a Tera filter of the same name, and the only way for a text to get into a rendered file.

use std::fmt::Write;

/// Turns a text into a value, or says why the format cannot hold it.
pub type Encoder = fn(&str) -> Result<String, &'static str>;

/// The encoders by the names that templates use.
pub const ENCODERS: &[(&str, Encoder)] = &[
    ("yaml", yaml),
    ("prometheus_label", prometheus_label),
    ("prometheus_regex", prometheus_regex),
    ("prometheus_glob", prometheus_glob),
    ("alertmanager", alertmanager),
    ("grafana", grafana),
    ("json", json),
    ("ini", ini),
    ("ini_file", ini_file),
    ("nginx", nginx),
    ("nginx_literal", nginx_literal),
    ("alloy", alloy),
    ("alloy_glob", alloy_glob),
];

/// nginx reads its configuration through a buffer of 4096 bytes, and a value must fit into it with its quotes.
const NGINX_LIMIT: usize = 4000;

/// A double-quoted YAML scalar, readable by YAML 1.1 and 1.2 parsers.
pub fn yaml(text: &str) -> Result<String, &'static str> {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            // Go takes `\xNN` for a byte and YAML for a character; `\u` is the same for both.
            _ if hidden(character) => escape(&mut quoted, character),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

/// A YAML scalar for a label value in `prometheus.yml`, where Prometheus 3 replaces `$NAME` and Prometheus 2 does not.
pub fn prometheus_label(text: &str) -> Result<String, &'static str> {
    if text.contains('$') {
        return Err("an external label cannot hold `$`, which Prometheus 3 takes for a variable");
    }
    yaml(text)
}

/// A YAML scalar for a regular expression in `prometheus.yml` that matches exactly this text.
pub fn prometheus_regex(text: &str) -> Result<String, &'static str> {
    yaml(&escaped(text, r"\.+*?()|[]{}^$"))
}

/// A YAML scalar for `rule_files` in `prometheus.yml` that matches exactly this path.
pub fn prometheus_glob(text: &str) -> Result<String, &'static str> {
    if text.contains('*') {
        return Err("the path of a rule file of Prometheus cannot hold `*`");
    }
    yaml(&escaped(text, r"\?["))
}

/// A YAML scalar for a field of `alertmanager.yml` that Alertmanager takes for a Go template.
pub fn alertmanager(text: &str) -> Result<String, &'static str> {
    yaml(&text.replace("{{", r#"{{"{{"}}"#))
}

/// A YAML scalar for a provisioning file of Grafana, which replaces `$NAME` and reads `$$` as `$`.
pub fn grafana(text: &str) -> Result<String, &'static str> {
    yaml(&text.replace('$', "$$"))
}

/// A JSON string.
pub fn json(text: &str) -> Result<String, &'static str> {
    serde_json::to_string(text).map_err(|_| "JSON cannot hold this text")
}

/// A value of `grafana.ini`, between backquotes, in which Grafana reads up to the last one of the line.
pub fn ini(text: &str) -> Result<String, &'static str> {
    ini_safe(text)?;
    if text.contains("${") || text.contains("$__") {
        return Err("an INI value cannot hold `${` or `$__`, which Grafana replaces");
    }
    Ok(format!("`{text}`"))
}

/// A value of `grafana.ini` that Grafana reads from the file at this path.
pub fn ini_file(text: &str) -> Result<String, &'static str> {
    ini_safe(text)?;
    if text.contains('}') {
        return Err("the path of a file that Grafana reads a value from cannot hold `}`");
    }
    Ok(format!("`$__file{{{text}}}`"))
}

/// A quoted string of nginx, for a directive that knows no variables.
pub fn nginx(text: &str) -> Result<String, &'static str> {
    if text.contains('\0') {
        return Err("nginx cannot hold a NUL character");
    }
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    if quoted.len() > NGINX_LIMIT {
        return Err("nginx cannot hold a value of more than 4000 bytes");
    }
    Ok(quoted)
}

/// A quoted string of nginx, for a directive that replaces `$name`; nginx has no way to write `$` itself there.
pub fn nginx_literal(text: &str) -> Result<String, &'static str> {
    if text.contains('$') {
        return Err("nginx cannot hold `$` here, because it takes it for a variable");
    }
    nginx(text)
}

/// A string of an Alloy configuration.
pub fn alloy(text: &str) -> Result<String, &'static str> {
    // Alloy reads Go's strings, which know all the escapes that `yaml` uses.
    yaml(text)
}

/// A string of an Alloy configuration that matches exactly this path where a pattern is wanted.
pub fn alloy_glob(text: &str) -> Result<String, &'static str> {
    if text.contains('\\') {
        return Err("a path that Alloy looks for cannot hold a backslash");
    }
    alloy(&escaped(text, "*?[]{}"))
}

/// The text with a backslash before each of the `special` characters.
fn escaped(text: &str, special: &str) -> String {
    let mut all = String::new();
    for character in text.chars() {
        if special.contains(character) {
            all.push('\\');
        }
        all.push(character);
    }
    all
}

fn ini_safe(text: &str) -> Result<(), &'static str> {
    if text.contains(['\n', '\r']) {
        return Err("an INI value cannot hold a line break");
    }
    if text.contains('\0') {
        return Err("an INI value cannot hold a NUL character");
    }
    if text.contains("%(") {
        return Err("an INI value cannot hold `%(`, which Grafana replaces");
    }
    Ok(())
}

/// Whether a character is outside of what YAML calls printable, or would be taken for a line break or a byte order mark.
fn hidden(character: char) -> bool {
    let code = u32::from(character);
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
        || code & 0xfffe == 0xfffe
}

fn escape(into: &mut String, character: char) {
    let code = u32::from(character);
    // Writing to a `String` does not fail.
    let _ = match code {
        0..=0xffff => write!(into, "\\u{code:04x}"),
        _ => write!(into, "\\U{code:08x}"),
    };
}

#[cfg(test)]
mod tests;
