//! `-o template='{{id}} {{status.state}}\n'`: a line of one's own for each thing that is printed.
//!
//! A field is `{{name}}` or, as kubectl's templates have it, `{{.name}}`; dots lead inside (`{{status.state}}`). The
//! fields are those of `-o json`. A list prints the template once for each item, one line each. What is not set is
//! empty; a list inside is joined with commas, and a field of its items can be named (`{{proxies.name}}`). `\n`, `\t`
//! and `\\` are a line end, a tab and a backslash. There are no conditions, no loops and no functions: for those there
//! is `-o json`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::exit::Failure;
use super::fields;
use super::output::clean;

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Vec<String>),
}

/// A field that is not there, and what is.
#[derive(Debug, PartialEq, Eq)]
struct NoSuchField {
    wanted: String,
    there: Vec<String>,
}

impl Template {
    /// The text for a result. By then a command has done its work, so that a field that does not exist fails and is not
    /// wrong usage, which would say that nothing was done.
    pub(super) fn fill(&self, value: &impl Serialize) -> Result<String, Failure> {
        let value = fields::all(value).map_err(|error| Failure::failed(format!("cannot be printed: {error}")))?;
        self.filled(&value).map_err(Failure::failed)
    }

    fn filled(&self, value: &Value) -> Result<String, NoSuchField> {
        match items(value) {
            Some(items) => items.iter().map(|item| self.line(item)).collect(),
            None => self.line(value),
        }
    }

    /// One thing, with a line end if the template gave none.
    fn line(&self, value: &Value) -> Result<String, NoSuchField> {
        let mut line = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field(path) => line.push_str(&clean(
                    &shown(value, path).map_err(|there| NoSuchField { wanted: path.join("."), there })?,
                )),
            }
        }
        if !line.ends_with('\n') {
            line.push('\n');
        }
        Ok(line)
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            let (name, after) =
                behind.split_once("}}").ok_or_else(|| format!("wanted }}}} behind {{{{{behind}, found none"))?;
            parts.push(Part::Text(unescaped(before)?));
            parts.push(Part::Field(path(name)?));
            rest = after;
        }
        parts.push(Part::Text(unescaped(rest)?));
        if !parts.iter().any(|part| matches!(part, Part::Field(_))) {
            return Err("wanted a template with a field such as {{id}}, found none".to_owned());
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for NoSuchField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the result has no field {}\nthere are: ", self.wanted)?;
        // Several to a line, so that they can be read in 80 columns.
        let mut column = "there are: ".len();
        for (index, name) in self.there.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
                if column + name.len() > 76 {
                    f.write_str("\n  ")?;
                    column = 2;
                } else {
                    f.write_str(" ")?;
                }
            }
            f.write_str(name)?;
            column += name.len() + 2;
        }
        if self.there.is_empty() { f.write_str("none under it") } else { Ok(()) }
    }
}

/// The items, where this is a list.
fn items(value: &Value) -> Option<&Vec<Value>> {
    match value.as_object() {
        Some(object) if object.len() == 1 => object.get("items").and_then(Value::as_array),
        _ => None,
    }
}

/// The text at `path`; if there is no such field, those that are there.
fn shown(value: &Value, path: &[String]) -> Result<String, Vec<String>> {
    let Some((name, deeper)) = path.split_first() else { return Ok(text(value)) };
    match value {
        // Not set: so is everything inside it.
        Value::Null => Ok(String::new()),
        Value::Object(fields) => match fields.get(name) {
            Some(inner) => shown(inner, deeper),
            None => Err(fields.keys().cloned().collect()),
        },
        Value::Array(items) => {
            let found: Result<Vec<String>, _> = items.iter().map(|item| shown(item, path)).collect();
            Ok(found?.join(","))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(Vec::new()),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn path(name: &str) -> Result<Vec<String>, String> {
    let trimmed = name.trim();
    let path: Vec<String> = trimmed.strip_prefix('.').unwrap_or(trimmed).split('.').map(str::to_owned).collect();
    let plain = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match path.iter().all(plain) {
        true => Ok(path),
        false => Err(format!("wanted the name of a field, such as {{{{status.state}}}}, found {{{{{name}}}}}")),
    }
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('\\') => out.push('\\'),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!(r"wanted \n, \t or \\ in the template, found \{other}"));
                }
            },
            (letter, false) => out.push(letter),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(template: &str, value: &Value) -> Result<String, String> {
        template.parse::<Template>()?.filled(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_one_line_for_each_item() {
        let list = json!({"items": [{"id": "ana", "groups": ["a", "b"]}, {"id": "bob", "groups": []}]});
        assert_eq!(fill("{{id}}:{{.groups}}", &list).unwrap(), "ana:a,b\nbob:\n");
        assert_eq!(fill(r"{{ id }}\t{{id}}\n", &list).unwrap(), "ana\tana\nbob\tbob\n");
        assert_eq!(fill("{{id}}", &json!({"items": []})).unwrap(), "");
    }

    #[test]
    fn dots_lead_inside_and_what_is_not_set_is_empty() {
        let one = json!({"status": {"state": "good", "since": null}, "gone": null, "n": 3, "proxies": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(fill("{{status.state}} {{n}}", &one).unwrap(), "good 3\n");
        assert_eq!(fill("[{{status.since}}{{gone.deeper}}]", &one).unwrap(), "[]\n");
        assert_eq!(fill("{{proxies.name}}", &one).unwrap(), "a,b\n");
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_those_that_are() {
        let error = fill("{{ident}}", &json!({"id": "ana", "kind": "user"})).unwrap_err();
        assert_eq!(error, "the result has no field ident\nthere are: id, kind");
        assert!(fill("{{id.x}}", &json!({"id": "ana"})).unwrap_err().contains("none under it"));
        let many: serde_json::Map<_, _> = (0..40).map(|n| (format!("field_number_{n}"), json!(1))).collect();
        let error = fill("{{x}}", &Value::Object(many)).unwrap_err();
        assert!(error.contains("field_number_39") && error.lines().all(|line| line.len() <= 80), "{error}");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for wrong in ["", "id", "{{id", "{{}}", "{{a..b}}", "{{range .items}}", r"{{id}}\x", r"{{id}}\"] {
            assert!(wrong.parse::<Template>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_server_sends_cannot_steer_the_terminal() {
        let filled = fill("{{id}}", &json!({"id": "a\u{1b}]0;x\u{7}\n"})).unwrap();
        assert!(!filled.trim_end().contains(|c: char| c.is_control()), "{filled:?}");
    }
}
