//! A table in one word, as a flag gives it: `http:/healthz,interval=5s` or `id=51,priority=150`.
//!
//! The word becomes the text of a table, so that flags and files have the same keys and the same refusals.

use super::super::place::Problems;
use super::kind::Kind;
use super::reader::{Section, Source};

/// Reads the words after a flag as the table `key`; `named` are those whose keys are known already, like
/// `kind = "http"`. `manual` says where the keys stand.
pub(super) fn read<T>(
    flag: &str,
    (table, named): (&'static Kind, Vec<(&str, &str)>),
    words: &[&str],
    read: impl FnOnce(&mut Section) -> Option<T>,
) -> Result<T, Problems> {
    let key = table.name.trim_matches(['[', ']']);
    let mut pairs = named;
    for word in words {
        let Some((key, value)) = word.split_once('=').filter(|(key, _)| table.keys.contains(key)) else {
            return Err(Problems(vec![format!(
                "{flag}: '{word}' is not KEY=VALUE of a {key}; tapvs.toml(5) has the keys"
            )]));
        };
        pairs.push((key, value));
    }
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} = {}", quoted(value))).collect();
    let text = pairs.join("\n");
    let source = Source::new(flag, &text);
    let found = source.section(table).and_then(|mut section| read(&mut section));
    // Where in the word something is wrong is seen by itself.
    let problems: Vec<String> = source.problems().0.iter().map(|problem| without_position(problem, flag)).collect();
    match (problems.is_empty(), found) {
        (true, Some(found)) => Ok(found),
        _ => Err(Problems(problems)),
    }
}

fn without_position(problem: &str, name: &str) -> String {
    let rest = problem.strip_prefix(name).unwrap_or(problem);
    let what = rest.splitn(4, ':').nth(3).unwrap_or(rest);
    format!("{name}:{what}")
}

/// A value of TOML: numbers and truths as they are, all else in quotes.
fn quoted(value: &str) -> String {
    if value.parse::<u32>().is_ok() || value == "true" || value == "false" {
        return value.to_owned();
    }
    let escaped: String = value
        .chars()
        .map(|letter| match letter {
            '"' | '\\' => format!("\\{letter}"),
            letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
            letter => letter.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
