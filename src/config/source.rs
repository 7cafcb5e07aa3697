//! One file and the environment over it, read key by key; remembers every mistake.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Everything that is wrong with a configuration, at least one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The file they are in.
    pub file: PathBuf,
    /// One line each: the key, what was wanted, what was found.
    pub lines: Vec<String>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.lines.len();
        write!(f, "{found} {} in {}", if found == 1 { "mistake" } else { "mistakes" }, self.file.display())?;
        self.lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The layers of one configuration while it is read.
#[derive(Debug)]
pub struct Source {
    file: PathBuf,
    tables: Table,
    environment: BTreeMap<String, String>,
    known: Vec<(&'static str, &'static str)>,
    lines: Vec<String>,
}

impl Source {
    /// Takes a file's text and the environment; of the latter only what begins with `PORTCULLIS_` counts.
    ///
    /// Fails at once where the file is not TOML at all.
    pub fn new(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let tables: Table = toml::from_str(text).map_err(|error| {
            let at = error.span().map(|span| line_of(text, span.start));
            let place = at.map(|line| format!("line {line}: ")).unwrap_or_default();
            Mistakes { file: file.into(), lines: vec![format!("{place}wanted TOML: {}", error.message())] }
        })?;
        let ours = |(name, _): &(String, String)| name.starts_with(PREFIX) && !is_set_by_kubernetes(name);
        let environment = environment.into_iter().filter(ours).filter(|(name, _)| !FOREIGN.contains(&name.as_str()));
        Ok(Self { file: file.into(), tables, environment: environment.collect(), known: Vec::new(), lines: Vec::new() })
    }

    /// A text, checked by `parse`, whose error says what was wanted and found.
    pub fn text<T, E: fmt::Display>(
        &mut self,
        table: &'static str,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let raw = match self.find(table, key)? {
            (Value::String(text), place) => Ok((text, place)),
            (other, place) => Err(format!("{place}: wanted a text in quotes, found {}", described(&other))),
        };
        let parsed = raw.and_then(|(text, place)| parse(&text).map_err(|error| format!("{place}: {error}")));
        parsed.map_err(|line| self.lines.push(line)).ok()
    }

    /// A whole number in a range.
    pub fn number(
        &mut self,
        table: &'static str,
        key: &'static str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<u64> {
        let (value, place) = self.find(table, key)?;
        let number = match &value {
            Value::Integer(number) => Some(*number),
            Value::String(text) if self.environment.contains_key(&variable(table, key)) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)).and_then(|number| u64::try_from(number).ok()) {
            Some(number) => Some(number),
            None => {
                let (least, most) = (range.start(), range.end());
                self.lines
                    .push(format!("{place}: wanted a number from {least} to {most}, found {}", described(&value)));
                None
            }
        }
    }

    /// A path; a relative one starts from the file's folder.
    pub fn path(&mut self, table: &'static str, key: &'static str) -> Option<PathBuf> {
        // A bare name has the empty path for a folder, which nothing can open.
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.to_path_buf();
        self.text(table, key, move |text| match text {
            "" => Err("wanted a path, found an empty text"),
            text => Ok(folder.join(text)),
        })
    }

    /// Whether the key is set at all, rightly or wrongly.
    pub fn has(&self, table: &str, key: &str) -> bool {
        let in_file = || self.tables.get(table).and_then(Value::as_table).is_some_and(|keys| keys.contains_key(key));
        self.environment.contains_key(&variable(table, key)) || in_file()
    }

    /// Notes a mistake that spans keys or is about one that is missing.
    pub fn mistake(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Ends the reading: what nobody asked for is a mistake too, and the first of any mistakes is an error.
    pub fn finish(mut self) -> Result<(), Mistakes> {
        self.unknown_keys();
        self.unknown_variables();
        if self.lines.is_empty() { Ok(()) } else { Err(Mistakes { file: self.file, lines: self.lines }) }
    }

    /// The value and where it comes from, in words.
    fn find(&mut self, table: &'static str, key: &'static str) -> Option<(Value, String)> {
        self.known.push((table, key));
        let name = variable(table, key);
        if let Some(text) = self.environment.get(&name) {
            return Some((Value::String(text.clone()), format!("{table}.{key} (from {name})")));
        }
        let value = self.tables.get(table)?.as_table()?.get(key)?;
        Some((value.clone(), format!("{table}.{key}")))
    }

    fn unknown_keys(&mut self) {
        for (table, value) in &self.tables {
            let Some(keys) = value.as_table() else {
                let line = match self.known.iter().any(|(known, _)| known == table) {
                    true => format!("{table}: wanted a table [{table}], found {}", described(value)),
                    false => format!("{table}: {}", unknown("key", table, &self.dotted())),
                };
                self.lines.push(line);
                continue;
            };
            for key in keys.keys().filter(|key| !self.known.iter().any(|known| *known == (table, key.as_str()))) {
                let full = format!("{table}.{key}");
                self.lines.push(format!("{full}: {}", unknown("key", &full, &self.dotted())));
            }
            if keys.is_empty() && !self.known.iter().any(|(known, _)| known == table) {
                let tables: Vec<String> = self.known.iter().map(|(table, _)| (*table).to_owned()).collect();
                self.lines.push(format!("[{table}]: {}", unknown("table", table, &tables)));
            }
        }
    }

    fn unknown_variables(&mut self) {
        let names: Vec<String> = self.known.iter().map(|(table, key)| variable(table, key)).collect();
        for name in self.environment.keys().filter(|name| !names.contains(name)) {
            self.lines.push(format!("{name} (from the environment): {}", unknown("variable", name, &names)));
        }
    }

    fn dotted(&self) -> Vec<String> {
        self.known.iter().map(|(table, key)| format!("{table}.{key}")).collect()
    }
}

/// `PORTCULLIS_LISTEN_API` for `listen.api`.
fn variable(table: &str, key: &str) -> String {
    format!("{PREFIX}{table}_{key}").to_ascii_uppercase()
}

fn unknown(what: &str, found: &str, known: &[String]) -> String {
    match known.iter().min_by_key(|name| distance(found, name)) {
        Some(nearest) => format!("there is no such {what}; the nearest is {nearest}"),
        None => format!("there is no such {what}"),
    }
}

/// Levenshtein's distance: how many letters to change, drop or add.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.chars().take(200).enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, b) in row.iter().skip(1).zip(&other) {
            left = (diagonal + usize::from(a != *b)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// What was found, without repeating a long or secret text in full.
fn described(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.chars().take(70).collect::<String>()),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(flag) => format!("{flag}"),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// Kubernetes gives every pod variables for the services beside it: a service called `portcullis` must not stop us.
fn is_set_by_kubernetes(name: &str) -> bool {
    let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT")
        || name.split("_PORT_").skip(1).any(numbered)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

const PREFIX: &str = "PORTCULLIS_";
/// Variables of the command line.
const FOREIGN: [&str; 2] = ["PORTCULLIS_PROFILE", "PORTCULLIS_CONFIG"];

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str, environment: &[(&str, &str)]) -> Source {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Source::new(Path::new("/etc/x/a.toml"), text, environment).unwrap()
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let mut source = source("[limits]\nn = 1\n", &[("PORTCULLIS_LIMITS_N", "2"), ("HOME", "/")]);
        assert_eq!(source.number("limits", "n", 1..=5), Some(2));
        assert_eq!(source.finish(), Ok(()));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let mut source = source("[listn]\napi = 'x'\n[listen]\napy = 'x'\n", &[("PORTCULLIS_LISTEN_APPI", "x")]);
        source.path("listen", "api");
        source.path("store", "dir");
        let lines = source.finish().unwrap_err().lines;
        assert_eq!(
            lines,
            [
                "listen.apy: there is no such key; the nearest is listen.api",
                "listn.api: there is no such key; the nearest is listen.api",
                "PORTCULLIS_LISTEN_APPI (from the environment): there is no such variable; the nearest is PORTCULLIS_LISTEN_API",
            ]
        );
    }

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_are_no_mistake() {
        let set = [
            "PORTCULLIS_SERVICE_HOST",
            "PORTCULLIS_PORT",
            "PORTCULLIS_PORT_7443_TCP_ADDR",
            "PORTCULLIS_PROXY_SERVICE_PORT_TLS",
        ];
        let set: Vec<_> = set.iter().map(|name| (*name, "tcp://10.0.0.1:7443")).collect();
        assert_eq!(source("", &set).finish(), Ok(()));
    }

    #[test]
    fn a_number_in_the_wrong_shape_or_range_is_told() {
        let mut source = source("[limits]\na = '3'\nb = 9\n", &[]);
        assert_eq!(source.number("limits", "a", 1..=5), None);
        assert_eq!(source.number("limits", "b", 1..=5), None);
        let shown = source.finish().unwrap_err().to_string();
        assert_eq!(
            shown,
            "2 mistakes in /etc/x/a.toml\n  limits.a: wanted a number from 1 to 5, found \"3\"\n  limits.b: wanted a number from 1 to 5, found the number 9"
        );
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let error = Source::new(Path::new("a.toml"), "[listen]\napi\n", []).unwrap_err();
        assert!(error.to_string().starts_with("1 mistake in a.toml\n  line 2: wanted TOML: "), "{error}");
    }

    #[test]
    fn relative_paths_start_from_the_files_folder() {
        let mut source = source("[a]\nb = 'c'\nd = '/e'\n", &[]);
        assert_eq!(source.path("a", "b"), Some(PathBuf::from("/etc/x/c")));
        assert_eq!(source.path("a", "d"), Some(PathBuf::from("/e")));
    }
}
