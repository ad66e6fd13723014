//! A TOML file as sections whose values know where they stand.
//!
//! Every problem is kept with line and column, so that all can be told at once. Knows nothing of what keys mean.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::place::{At, Place, Position, Problems};
use super::super::spec;
use super::kind::Kind;
use crate::base;

/// The longest piece of a file that a message repeats.
const QUOTED: usize = 60;

/// A file and what was found wrong in it.
pub struct Source<'a> {
    /// Its name, as given.
    pub name: Arc<str>,
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    problems: RefCell<Vec<(Position, String)>>,
}

impl<'a> Source<'a> {
    /// A file of that name with that text.
    pub fn new(name: &str, text: &'a str) -> Source<'a> {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(after).collect();
        Source { name: name.into(), text, lines, problems: RefCell::default() }
    }

    /// The file as one section; none if it is no TOML.
    pub fn section(&'a self, kind: &'static Kind) -> Option<Section<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let position = self.position(error.span().map_or(0, |span| span.start));
            self.note(&position.into(), format!("not TOML: {}", error.message()));
        }
        errors.is_empty().then(|| Section::new(self, kind, table))
    }

    /// What was found, in the order of the file.
    pub fn problems(&self) -> Problems {
        let mut found = self.problems.take();
        base::sort_by(&mut found, |(one, _), (other, _)| one.cmp(other));
        Problems(found.into_iter().map(|(_, problem)| problem).collect())
    }

    fn note(&self, place: &Place, what: impl std::fmt::Display) {
        let position = place.position.clone().unwrap_or_else(|| self.position(0));
        self.problems.borrow_mut().push((position, format!("{place}: {what}")));
    }

    /// Columns count characters.
    fn position(&self, offset: usize) -> Position {
        let line = self.lines.partition_point(|begin| *begin <= offset);
        let begin = self.lines[line - 1];
        let column = self.text.get(begin..offset).unwrap_or_default().chars().count() + 1;
        Position { source: self.name.clone(), line: line as u32, column: Some(column as u32) }
    }

    /// `FILE:LINE:COLUMN: WHAT TEXT`, the text as it stands in the file.
    fn place(&self, what: &str, span: &Range<usize>) -> Place {
        let text = self.text.get(span.clone()).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = text.chars().take(QUOTED).collect();
        let dots = if short.len() < text.len() { "..." } else { "" };
        Place { position: Some(self.position(span.start)), what: what.to_owned(), value: format!("{short}{dots}") }
    }
}

/// A table of the file. Values are taken out one by one.
pub struct Section<'a> {
    source: &'a Source<'a>,
    /// Where it begins.
    pub place: Place,
    table: DeTable<'a>,
}

impl<'a> Section<'a> {
    fn new(source: &'a Source<'a>, kind: &'static Kind, table: Spanned<DeTable<'a>>) -> Section<'a> {
        let place = Place::from(source.position(table.span().start)).named(kind.name.to_owned());
        let table = table.into_inner();
        let mut unknown: Vec<_> = table.keys().filter(|key| !kind.keys.contains(&key.get_ref().as_ref())).collect();
        base::sort_by(&mut unknown, |one, other| one.span().start.cmp(&other.span().start));
        for key in unknown {
            let known = kind.keys.join(", ");
            let whose = if kind.name.is_empty() { "at the top of the file" } else { &format!("in {}", kind.name) };
            let what = format!("'{}' is not known {whose}; known are {known}", key.get_ref());
            source.note(&source.position(key.span().start).into(), what);
        }
        Section { source, place, table }
    }

    /// True if the key stands there and was not taken yet.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reports if a key is not there.
    pub fn require(&self, key: &str, what: &str) {
        if !self.has(key) {
            self.report(&self.place, format!("no {key}; {what}"));
        }
    }

    /// Something is wrong there.
    pub fn report(&self, place: &Place, what: impl std::fmt::Display) {
        self.source.note(place, what);
    }

    fn take(&mut self, key: &str) -> Option<(Place, DeValue<'a>)> {
        let value = self.table.remove(key)?;
        let place = self.source.place(key, &value.span());
        Some((place, value.into_inner()))
    }

    /// Takes out a value that `read` understands; what it must be follows "must be".
    fn take_as<T>(&mut self, key: &str, must: &str, read: impl Fn(&DeValue) -> Option<T>) -> Option<At<T>> {
        let (place, value) = self.take(key)?;
        let Some(value) = read(&value) else {
            self.report(&place, format!("must be {must}"));
            return None;
        };
        Some(At { value, place })
    }

    /// A string.
    pub fn text(&mut self, key: &str) -> Option<At<String>> {
        self.take_as(key, "a string in quotes", |value| value.as_str().map(str::to_owned))
    }

    /// A string that `read` understands.
    pub fn parsed<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<At<T>> {
        let text = self.text(key)?;
        self.understood(text, read)
    }

    fn understood<T>(&self, text: At<String>, read: impl Fn(&str) -> Result<T, String>) -> Option<At<T>> {
        match read(&text.value) {
            Ok(value) => Some(At { value, place: text.place }),
            Err(what) => {
                self.report(&text.place, what);
                None
            }
        }
    }

    /// One string or a list of strings, each of which `read` understands.
    pub fn list<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<At<T>> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let items: Vec<Spanned<DeValue>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().cloned().collect(),
            _ => vec![value],
        };
        let mut read_items = Vec::new();
        for item in items {
            let place = self.source.place(key, &item.span());
            match item.get_ref().as_str() {
                Some(text) => read_items.extend(self.understood(At { value: text.to_owned(), place }, &read)),
                None => self.report(&place, "must be a string in quotes, or a list of them in brackets"),
            }
        }
        read_items
    }

    /// A whole number.
    pub fn number<T: TryFrom<u64>>(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<At<T>> {
        let must = format!("a number from {} to {}", range.start(), range.end());
        self.take_as(key, &must, |value| {
            let number = whole(value).filter(|number| range.contains(number))?;
            T::try_from(number).ok()
        })
    }

    /// A whole number that may be negative.
    pub fn signed(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<At<i64>> {
        let must = format!("a number from {} to {}", range.start(), range.end());
        self.take_as(key, &must, |value| {
            let number = value.as_integer()?;
            i64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| range.contains(number))
        })
    }

    /// A time: `"500ms"`, `"2s"`, `"10m"`, `"1h"`, or a number of seconds.
    pub fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Option<At<Duration>> {
        let text = self.text_or_number(key)?;
        match spec::duration(&text.value) {
            Some(value) if range.contains(&value) => Some(At { value, place: text.place }),
            read => {
                let (least, most) = (range.start(), range.end());
                let what = match read {
                    Some(_) => format!("must be from {least:?} to {most:?}"),
                    None => "not a time, like \"500ms\", \"2s\" or \"10m\"".into(),
                };
                self.report(&text.place, what);
                None
            }
        }
    }

    /// True if the key has `true` or `false`.
    pub fn is_truth(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().as_bool().is_some())
    }

    /// `true` or `false`.
    pub fn truth(&mut self, key: &str) -> Option<At<bool>> {
        self.take_as(key, "true or false", |value| value.as_bool())
    }

    /// A truth, or a string; `read` understands both.
    pub fn truth_or<T>(&mut self, key: &str, what: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<At<T>> {
        let text = |value: &DeValue| {
            value.as_str().map(str::to_owned).or_else(|| value.as_bool().map(|truth| truth.to_string()))
        };
        let text = self.take_as(key, what, text)?;
        self.understood(text, read)
    }

    /// A string or a number, as text.
    pub fn text_or_number(&mut self, key: &str) -> Option<At<String>> {
        let text = |value: &DeValue| value.as_str().map(str::to_owned).or_else(|| Some(whole(value)?.to_string()));
        self.take_as(key, "a string in quotes or a whole number", text)
    }

    /// Every key with its value as a number; `true` is 1.
    pub fn switches(&mut self) -> Vec<At<(String, String)>> {
        let mut keys: Vec<_> = self.table.keys().map(|key| (key.span().start, key.get_ref().to_string())).collect();
        base::sort(&mut keys);
        let text = |value: &DeValue| match value {
            DeValue::Boolean(on) => Some(u8::from(*on).to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            DeValue::Integer(_) => whole(value).map(|number| number.to_string()),
            DeValue::String(text) => Some(text.to_string()),
            _ => None,
        };
        let take = |(_, key): (usize, String)| {
            let value = self.take_as(&key, "a whole number, true, false or a text", text)?;
            Some(value.map(|text| (key, text)))
        };
        keys.into_iter().filter_map(take).collect()
    }

    /// The section of a name that stands once, like `[timeouts]`.
    pub fn section(&mut self, key: &str, kind: &'static Kind) -> Option<Section<'a>> {
        let value = self.table.remove(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Section::new(self.source, kind, Spanned::new(span, table))),
            _ => {
                self.report(
                    &self.source.position(span.start).into(),
                    format!("'{key}' is a section; write {}", kind.name),
                );
                None
            }
        }
    }

    /// A table, or a list of them: `check = { ... }`, `check = [{ ... }, { ... }]`.
    pub fn one_or_more(&mut self, key: &str, kind: &'static Kind) -> Vec<Section<'a>> {
        match self.table.get(key).map(|value| value.get_ref()) {
            Some(DeValue::Array(_)) => self.sections(key, kind),
            Some(_) => self.section(key, kind).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The sections of a name that may stand several times, like `[[link]]`.
    pub fn sections(&mut self, key: &str, kind: &'static Kind) -> Vec<Section<'a>> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let at = Place::from(self.source.position(value.span().start));
        let DeValue::Array(items) = value.into_inner() else {
            self.report(&at, format!("'{key}' may stand several times; write {}", kind.name));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => sections.push(Section::new(self.source, kind, Spanned::new(span, table))),
                _ => self.report(&at, format!("'{key}' is a section; write {}", kind.name)),
            }
        }
        sections
    }
}

fn whole(value: &DeValue) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}
