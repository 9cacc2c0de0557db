//! Tera, set up so that a value gets into a file through an encoder or not at all.

use std::io::{Error as IoError, ErrorKind as IoErrorKind, Write};

use anyhow::{Result, anyhow};
use tera::{Context, Error, ErrorKind, Kwargs, ReportError, State, Tera, TeraResult, Value};

use super::encode::{ENCODERS, Encoder};
use crate::asset::Assets;
use crate::error::{Note, failure};
use crate::exit::Exit;

/// Tera with the encoders.
pub(super) struct Engine {
    tera: Tera,
}

impl Engine {
    /// An engine without templates.
    pub(super) fn new() -> Self {
        let mut tera = Tera::new();
        // Every template "escapes", and what it would have to escape is refused.
        tera.autoescape_on([""]);
        tera.set_escape_fn(refuse);
        for (name, encoder) in ENCODERS {
            tera.register_filter(*name, filter(*encoder));
        }
        Self { tera }
    }

    /// Renders the asset, a path and its bytes.
    pub(super) fn file(
        &self,
        assets: &Assets<'_>,
        (asset, bytes): (&str, &[u8]),
        context: &Context,
    ) -> Result<String> {
        let result = std::str::from_utf8(bytes)
            .map_err(|_| anyhow!("it is not UTF-8"))
            .and_then(|source| self.strict(asset, source, context));
        let result = result
            .map_err(|error| failure(Exit::USAGE, format!("cannot render `{asset}`: {error}")));
        if assets.is_shadowed(asset) {
            return result.hint(format!(
                "correct your own `{asset}`, or remove it to use the one that comes with monstack"
            ));
        }
        result
    }

    /// Renders text that belongs to no file and needs no encoder, such as an argument.
    pub(super) fn plain(&self, place: &str, source: &str, context: &Context) -> Result<String> {
        self.tera.render_str(source, context, false).map_err(|error| {
            failure(Exit::USAGE, format!("cannot render {place}: {}", explain(&error, source)))
        })
    }

    fn strict(&self, name: &str, source: &str, context: &Context) -> Result<String> {
        let explained = |error: Error| anyhow!(explain(&error, source));
        let mut tera = self.tera.clone();
        tera.add_raw_template(name, source).map_err(explained)?;
        // A misspelt name would be merely false in an `if`.
        let used = tera.get_template_variables(name).map_err(explained)?;
        let mut unknown: Vec<_> = used.into_iter().filter(|it| !context.contains_key(it)).collect();
        unknown.sort_unstable();
        if let Some(variable) = unknown.first() {
            return Err(anyhow!("there is no variable `{variable}`"));
        }
        tera.render(name, context).map_err(explained)
    }
}

fn filter(encoder: Encoder) -> impl Fn(Value, Kwargs, &State<'_>) -> TeraResult<Value> {
    move |value: Value, _: Kwargs, _: &State<'_>| {
        if value.is_undefined() {
            return Err(Error::message("the value is not defined"));
        }
        let text = match value.as_str() {
            Some(text) => text.to_owned(),
            None if value.is_number() || value.is_bool() => value.to_string(),
            None => return Err(Error::message("only a text can be encoded")),
        };
        encoder(&text).map(|text| Value::safe_string(&text)).map_err(Error::message)
    }
}

fn refuse(_: &str, _: &mut dyn Write) -> std::io::Result<()> {
    Err(IoError::from(IoErrorKind::InvalidInput))
}

fn explain(error: &Error, source: &str) -> String {
    match error.kind() {
        ErrorKind::RenderingError(report) => {
            let line = report.span().start_line;
            match expression(report, source) {
                Some(text) => format!("line {line}, `{text}`: {}", first(report.message())),
                None => format!("line {line}: {}", first(report.message())),
            }
        }
        ErrorKind::SyntaxError(report) => {
            format!("line {}: {}", report.span().start_line, first(report.message()))
        }
        ErrorKind::Io(_) => {
            "a value has no encoder; write for example `{{ own.data | yaml }}`".to_owned()
        }
        _ => first(&error.to_string()),
    }
}

/// The expression between braces that the error is about.
fn expression(report: &ReportError, source: &str) -> Option<String> {
    let span = report.span();
    let line = source.lines().nth(span.start_line.checked_sub(1)?)?;
    let before: String = line.chars().take(span.start_col).collect();
    let from = before.rfind("{{").or_else(|| before.rfind("{%"))?;
    let rest = line.get(from + 2..)?;
    let end = rest.find("}}").or_else(|| rest.find("%}"))?;
    Some(rest.get(..end)?.trim_matches(['-', ' ']).to_owned())
}

/// Tera's first sentence, in the words' form of our errors.
fn first(message: &str) -> String {
    let sentence = message.lines().next().unwrap_or_default();
    let sentence = sentence.split(". Available").next().unwrap_or_default();
    let mut characters = sentence.trim_end_matches('.').chars();
    match characters.next() {
        Some(head) => head.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{hint_of, messages};

    fn context() -> Context {
        Context::from_serialize(&serde_json::json!({
            "own": {"data": "/a b", "port": 80, "odd": "two\nlines"},
            "services": {},
        }))
        .unwrap()
    }

    fn rendered(source: &str) -> Result<String> {
        let none = |_: &str| None;
        Engine::new().file(&Assets::new(&none), ("templates/x.yml", source.as_bytes()), &context())
    }

    fn refused(source: &str) -> String {
        messages(&rendered(source).unwrap_err()).remove(0)
    }

    #[test]
    fn a_number_needs_no_encoder() {
        assert_eq!(rendered("p: {{ own.port }}").unwrap(), "p: 80");
    }

    #[test]
    fn a_text_without_an_encoder_is_refused() {
        assert!(refused("d: {{ own.data }}").contains("a value has no encoder"));
        assert_eq!(rendered("d: {{ own.data | yaml }}").unwrap(), "d: \"/a b\"");
    }

    #[test]
    fn a_joined_text_is_encoded_as_a_whole() {
        assert_eq!(rendered("{{ (own.data ~ '/x') | yaml }}").unwrap(), "\"/a b/x\"");
        assert!(refused("{{ own.data ~ ('x' | yaml) }}").contains("a value has no encoder"));
    }

    #[test]
    fn an_unknown_variable_is_named_with_its_template() {
        assert_eq!(
            refused("{% if sevices.loki %}{% endif %}"),
            "cannot render `templates/x.yml`: there is no variable `sevices`"
        );
        assert_eq!(
            refused("a\n{{ own.nope | yaml }}"),
            "cannot render `templates/x.yml`: line 2, `own.nope | yaml`: the value is not defined"
        );
        assert!(
            refused("{{ own.nope }}")
                .starts_with("cannot render `templates/x.yml`: line 1, `own.nope`: ")
        );
    }

    #[test]
    fn an_absent_service_can_be_asked_for() {
        assert_eq!(rendered("{% if services.loki %}yes{% else %}no{% endif %}").unwrap(), "no");
    }

    #[test]
    fn what_a_format_cannot_hold_is_named_with_its_place() {
        assert_eq!(
            refused("x = {{ own.odd | ini }}"),
            "cannot render `templates/x.yml`: line 1, `own.odd | ini`: an INI value cannot hold a line break"
        );
    }

    #[test]
    fn the_user_is_told_that_the_template_is_theirs() {
        let shadow = |_: &str| Some(Vec::new());
        let error = Engine::new()
            .file(&Assets::new(&shadow), ("templates/x.yml", b"{{ nope }}"), &context())
            .unwrap_err();
        assert!(hint_of(&error).unwrap().starts_with("correct your own `templates/x.yml`"));
    }

    #[test]
    fn a_syntax_error_has_a_line() {
        assert!(refused("\n{% if %}").starts_with("cannot render `templates/x.yml`: line 2: "));
    }
}
