//! `[log]`: what the server programs write on standard error.

use super::source::Source;

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The least severe line that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Only what needs somebody.
    Error,
    /// And what may soon.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And everything.
    Trace,
}

impl Level {
    /// The name as `tracing` knows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The form of a line.
    pub format: Format,
    /// The least severe line that is written.
    pub level: Level,
}

impl Settings {
    pub(super) fn read(source: &mut Source) -> Self {
        let format = source.text("log", "format", |text| match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            other => Err(format!("wanted text or json, found {other:?}")),
        });
        let level = source.text("log", "level", |text| {
            let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
            let found = levels.into_iter().find(|level| level.as_str() == text);
            found.ok_or_else(|| format!("wanted error, warn, info, debug or trace, found {text:?}"))
        });
        Self { format: format.unwrap_or_default(), level: level.unwrap_or_default() }
    }
}
