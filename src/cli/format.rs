//! In which format results are printed, as `-o` names it.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

use super::template::Template;

/// How results are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For people; `headers` is whether a list's first line names the columns.
    Table { headers: bool },
    /// The API's own bodies; lists are `{"items": […]}`.
    Json,
    /// The same.
    Yaml,
    /// IDs only, one per line.
    Name,
    /// What the template says, once for each thing.
    Template(Template),
}

impl Format {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table { headers: true }),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            other => match other.strip_prefix(TEMPLATE) {
                Some(template) => template.parse().map(Self::Template),
                None => Err(format!("wanted table, json, yaml, name or template='{{{{id}}}}', found {other}")),
            },
        }
    }
}

/// Reads the value of `-o`, and tells shells what it can be.
#[derive(Clone, Debug)]
pub(super) struct FormatParser;

impl TypedValueParser for FormatParser {
    type Value = Format;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<Format, Error> {
        let refused = |words: String| Error::raw(ErrorKind::InvalidValue, words + "\n").with_cmd(command);
        let text = value.to_str().ok_or_else(|| refused("wanted a format in UTF-8".to_owned()))?;
        Format::parse(text).map_err(|words| refused(format!("-o: {words}")))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(["table", "json", "yaml", "name", TEMPLATE].into_iter().map(PossibleValue::new)))
    }
}

const TEMPLATE: &str = "template=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_one_of_five_and_the_error_names_them() {
        assert_eq!(Format::parse("table"), Ok(Format::Table { headers: true }));
        assert!(matches!(Format::parse("template={{id}}"), Ok(Format::Template(_))));
        let error = Format::parse("xml").unwrap_err();
        assert!(error.contains("json") && error.contains("found xml"), "{error}");
        assert!(Format::parse("template={{id").is_err());
    }
}
