//! Reads secrets from where the stack file says they are, makes new ones, and keeps them out of texts.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::config::model::SecretRef;
use crate::error::{Note, failure};
use crate::exec::{Cmd, Runner};
use crate::exit::Exit;

mod file;

pub use file::exposure;

/// More bytes than this are no password, token or URL.
const LONGEST: usize = 64 * 1024;

/// A command that asks a person or a network may take this long.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Letters and digits without those that look alike.
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
const PASSWORD_LENGTH: usize = 24;

/// A secret; it prints as `***` and cannot be serialized.
///
/// ```compile_fail
/// # fn show(secret: monstack::secret::Secret) {
/// serde_json::to_string(&secret);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret in the clear, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A secret of one line; a line break at its end is dropped. `origin` says where it was read, for the error.
    fn new(text: &str, origin: &str) -> Result<Self> {
        let line = text.trim_end_matches(['\n', '\r']);
        let fault = match line {
            "" => "is empty",
            _ if line.len() > LONGEST => "is too long to be a secret",
            _ if line.contains('\n') => "has more than one line, wanted the secret alone",
            _ if line.chars().any(char::is_control) => "has a control character in it",
            _ => return Ok(Self(line.to_owned())),
        };
        Err(failure(Exit::CREDENTIALS, format!("{origin} {fault}")))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads the secret that `reference` names; relative files and commands start at `base`, the stack file's folder.
pub fn read(reference: &SecretRef, runner: &dyn Runner, base: &Path) -> Result<Secret> {
    match reference {
        SecretRef { env: Some(name), file: None, command: None, aws_secret: None } => {
            from_environment(name)
        }
        SecretRef { file: Some(path), env: None, command: None, aws_secret: None } => {
            file::read(path, base)
        }
        SecretRef { command: Some(command), env: None, file: None, aws_secret: None } => {
            from_command(command, runner, base)
        }
        SecretRef { aws_secret: Some(_), env: None, file: None, command: None } => {
            Err(failure(Exit::USAGE, "`aws_secret` is not in this version"))
                .hint("use `env`, `file` or `command`")
        }
        _ => Err(failure(
            Exit::USAGE,
            "a secret needs exactly one of `env`, `file`, `command` and `aws_secret`",
        )),
    }
}

/// Makes a password of 24 letters and digits from the operating system's random source.
pub fn generate_password() -> Result<Secret> {
    let mut password = String::with_capacity(PASSWORD_LENGTH);
    // Bytes beyond the last full round of the alphabet are thrown away, so that no letter is more frequent.
    let fair = 256 / ALPHABET.len() * ALPHABET.len();
    while password.len() < PASSWORD_LENGTH {
        let mut bytes = [0u8; 2 * PASSWORD_LENGTH];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let fair =
            bytes[..filled].iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        let letters = fair.map(|byte| char::from(ALPHABET[byte % ALPHABET.len()]));
        password.extend(letters.take(PASSWORD_LENGTH - password.len()));
    }
    Ok(Secret(password))
}

/// `text` with `***` in place of each secret, also where one is written as in JSON or in a URL.
pub fn redact(text: &str, secrets: &[Secret]) -> String {
    let mut spans: Vec<(usize, usize)> = secrets
        .iter()
        .flat_map(|secret| forms(secret.expose()))
        .filter(|form| !form.is_empty())
        .flat_map(|form| occurrences(text, &form))
        .collect();
    spans.sort_unstable();
    let (mut clean, mut done) = (String::with_capacity(text.len()), 0);
    for (start, end) in spans {
        if start >= done {
            clean.push_str(&text[done..start]);
            clean.push_str("***");
        }
        done = done.max(end);
    }
    clean.push_str(&text[done..]);
    clean
}

fn from_environment(name: &str) -> Result<Secret> {
    let origin = format!("environment variable `{name}`");
    let Some(text) = std::env::var_os(name) else {
        return Err(failure(Exit::CREDENTIALS, format!("{origin} is not set")))
            .hint(format!("export {name}=..."));
    };
    let Some(text) = text.to_str() else {
        return Err(failure(Exit::CREDENTIALS, format!("{origin} is not UTF-8")));
    };
    Secret::new(text, &origin).hint(format!("export {name}=..."))
}

fn from_command(command: &str, runner: &dyn Runner, base: &Path) -> Result<Secret> {
    // Only the program is named: its arguments, or variables set before it, are nobody's business.
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let first = command.split_whitespace().next().filter(|word| word.chars().all(plain));
    let program = first.unwrap_or("sh");
    let origin = format!("the output of the secret's command `{program} ...`");
    let hint = "run the command by hand to see what it says";
    let cmd = Cmd::read("sh")
        .args(["-c", command])
        .dir(base)
        .timeout(COMMAND_TIMEOUT)
        .alias("the command of a secret");
    let output = match runner.read(&cmd) {
        Ok(output) => output,
        // The runner's reason is left out, for it repeats what the command printed.
        Err(error) => {
            let exit = match crate::error::exit_of(&error) {
                exit @ (Exit::TIMEOUT | Exit::INTERRUPTED | Exit::TERMINATED) => exit,
                _ => Exit::CREDENTIALS,
            };
            let outcome = if exit == Exit::TIMEOUT { "took too long" } else { "failed" };
            let message = format!("the secret's command `{program} ...` {outcome}");
            return Err(failure(exit, message)).hint(hint);
        }
    };
    Secret::new(&output, &origin).hint(hint)
}

/// How a secret may be written in a text.
fn forms(secret: &str) -> [String; 3] {
    let json = serde_json::Value::from(secret).to_string();
    let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let url = secret
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    [secret.to_owned(), json.to_owned(), url]
}

/// All places of `form` in `text`, those that overlap too.
fn occurrences(text: &str, form: &str) -> Vec<(usize, usize)> {
    text.char_indices()
        .filter(|(start, _)| text[*start..].starts_with(form))
        .map(|(start, _)| (start, start + form.len()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit_of, hint_of, messages};
    use crate::exec::script::Script;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn env(name: &str) -> SecretRef {
        SecretRef { env: Some(name.to_owned()), ..SecretRef::default() }
    }

    fn command(command: &str) -> SecretRef {
        SecretRef { command: Some(command.to_owned()), ..SecretRef::default() }
    }

    fn ask(reference: &SecretRef, runner: &Script) -> Result<Secret> {
        read(reference, runner, Path::new("/base"))
    }

    #[test]
    fn a_variable_is_read_and_a_missing_one_is_named() {
        let secret = ask(&env("CARGO_PKG_NAME"), &Script::default()).unwrap();
        assert_eq!(secret.expose(), "monstack");
        let error = ask(&env("MONSTACK_TEST_UNSET"), &Script::default()).unwrap_err();
        assert_eq!(error.to_string(), "environment variable `MONSTACK_TEST_UNSET` is not set");
        assert_eq!(hint_of(&error), Some("export MONSTACK_TEST_UNSET=..."));
        assert_eq!(exit_of(&error), Exit::CREDENTIALS);
    }

    #[test]
    fn a_command_gives_its_output_without_the_line_break() {
        let script = Script::default().answer("sh -c 'pass show slack'", "token\n");
        assert_eq!(ask(&command("pass show slack"), &script).unwrap().expose(), "token");
        assert_eq!(script.asked(), ["sh -c 'pass show slack'"]);
    }

    #[test]
    fn what_a_command_printed_is_in_no_error() {
        let failing = Script::default().fail("sh", "exit status: 1: CANARY");
        let talking = Script::default().answer("sh", "CANARY\nmore\n");
        let silent = Script::default().answer("sh", "");
        for (script, said) in [
            (failing, "the secret's command `pass ...` failed"),
            (
                talking,
                "the output of the secret's command `pass ...` has more than one line, wanted the secret alone",
            ),
            (silent, "the output of the secret's command `pass ...` is empty"),
        ] {
            let error = ask(&command("pass CANARY"), &script).unwrap_err();
            assert_eq!(messages(&error), [said]);
            assert_eq!(exit_of(&error), Exit::CREDENTIALS);
            assert!(!format!("{error:?}{:?}", hint_of(&error)).contains("CANARY"));
        }
        let error = ask(&command("TOKEN=CANARY vault"), &Script::default()).unwrap_err();
        assert_eq!(error.to_string(), "the secret's command `sh ...` failed");
    }

    #[test]
    fn a_secret_of_aws_is_refused_for_now() {
        let aws = SecretRef { aws_secret: Some("db".to_owned()), ..SecretRef::default() };
        let error = ask(&aws, &Script::default()).unwrap_err();
        assert_eq!(error.to_string(), "`aws_secret` is not in this version");
        assert_eq!(hint_of(&error), Some("use `env`, `file` or `command`"));
    }

    #[test]
    fn a_reference_to_two_places_or_none_is_refused() {
        for reference in
            [SecretRef::default(), SecretRef { env: Some("A".to_owned()), ..command("b") }]
        {
            let error = ask(&reference, &Script::default()).unwrap_err().to_string();
            assert!(error.contains("exactly one of"), "{error}");
        }
    }

    #[test]
    fn a_secret_prints_as_stars() {
        let secret = Secret("CANARY".to_owned());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
    }

    #[test]
    fn passwords_are_long_and_use_every_letter_alike() {
        let mut count: BTreeMap<char, usize> = BTreeMap::new();
        let rounds = 2000;
        for _ in 0..rounds {
            let password = generate_password().unwrap();
            assert_eq!(password.expose().len(), PASSWORD_LENGTH);
            password.expose().chars().for_each(|c| *count.entry(c).or_default() += 1);
        }
        assert_eq!(count.len(), ALPHABET.len());
        assert!(!count.keys().any(|c| "0O1lI".contains(*c)));
        // 842 of each are expected; seven standard deviations are 203, so chance alone does not fail this.
        let expected = rounds * PASSWORD_LENGTH / ALPHABET.len();
        assert!(count.values().all(|n| n.abs_diff(expected) < 203), "{count:?}");
    }

    #[test]
    fn redaction_covers_what_overlaps_and_what_is_escaped() {
        let secrets = ["aba", "token", "to", "a\"b/c", ""].map(|text| Secret(text.to_owned()));
        for (text, clean) in [
            ("ababa x", "*** x"),
            ("a token to", "a *** ***"),
            (r#"{"p": "a\"b/c"}"#, r#"{"p": "***"}"#),
            ("u:a%22b%2Fc@h", "u:***@h"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redact(text, &secrets), clean);
        }
    }

    proptest! {
        #[test]
        fn no_secret_survives(parts in prop::collection::vec("[a-c\u{e4}]{0,4}", 0..9), secrets in prop::collection::vec("[a-c\u{e4}]{1,3}", 0..4)) {
            let all: Vec<Secret> = secrets.iter().cloned().map(Secret).collect();
            let clean = redact(&parts.concat(), &all);
            prop_assert!(!secrets.iter().any(|secret| clean.contains(secret)), "{clean}");
        }
    }
}
