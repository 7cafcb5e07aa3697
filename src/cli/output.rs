//! Printing: results on standard output in the format asked for, words on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

use super::exit::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    // Comments, not documentation: that would put four lines into every help text.
    // For people.
    #[default]
    Table,
    // The API's own bodies; lists are {"items": […]}.
    Json,
    // The same.
    Yaml,
    // IDs only, one per line.
    Name,
}

/// Something that can be printed in every format.
pub(super) trait Shown: Serialize {
    /// One ID per line.
    fn names(&self) -> Vec<String>;
    /// For people.
    fn table(&self) -> Sheet;
}

/// A list, all of its pages.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
}

/// Prints a result.
pub(super) fn print(format: Format, value: &impl Shown) -> Result<(), Failure> {
    let text = match format {
        Format::Table => value.table().draw(Stream::Out),
        Format::Json => json(value)?,
        Format::Yaml => yaml(value)?,
        Format::Name => value.names().iter().map(|name| format!("{}\n", clean(name))).collect(),
    };
    write_out(text.as_bytes())
}

/// As indented JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Failure::failed(format!("cannot be written as JSON: {error}")))
}

/// As block YAML.
pub(super) fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| Failure::failed(format!("cannot be written as YAML: {error}")))
}

/// Writes to standard output; a reader that has gone away wanted no more.
pub(super) fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something on standard error; nobody listening is no error.
pub(super) fn words(text: &str) {
    let lines: String = text.lines().map(|line| format!("{}\n", clean(line))).collect();
    let _ = io::stderr().lock().write_all(lines.as_bytes());
}

/// Shows a table on standard error.
pub(super) fn aside(sheet: &Sheet) {
    let _ = io::stderr().lock().write_all(sheet.draw(Stream::Err).as_bytes());
}

/// Waits; after a second a person at a terminal is told for what.
pub(super) async fn with_progress<T>(what: &str, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    tokio::select! {
        done = &mut future => return done,
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    if io::stderr().is_terminal() {
        words(what);
    }
    future.await
}

/// The text without what could steer a terminal or reorder what is read.
pub(super) fn clean(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Where a table is drawn.
#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

/// A table: a header and rows, or pairs of a name and a value.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    empty: &'static str,
    /// The column that must stay in one piece, to be copied.
    whole: Option<usize>,
}

impl Sheet {
    /// A list; `empty` is said when there is nothing in it.
    pub(super) fn list(header: &[&'static str], empty: &'static str, rows: Vec<Vec<String>>) -> Self {
        Self { header: header.to_vec(), rows, empty, whole: None }
    }

    /// One thing: names and values; empty values are left out.
    pub(super) fn pairs(pairs: Vec<(&str, String)>) -> Self {
        let shown = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        Self {
            header: Vec::new(),
            rows: shown.map(|(name, value)| vec![name.to_owned(), value]).collect(),
            empty: "",
            whole: None,
        }
    }

    /// Keeps the cells of this column on one line each.
    pub(super) const fn keeping_whole(mut self, column: usize) -> Self {
        self.whole = Some(column);
        self
    }

    fn draw(&self, stream: Stream) -> String {
        let terminal = match stream {
            Stream::Out => io::stdout().is_terminal(),
            Stream::Err => io::stderr().is_terminal(),
        };
        self.drawn(terminal, matches!(stream, Stream::Err))
    }

    fn drawn(&self, terminal: bool, on_stderr: bool) -> String {
        if self.rows.is_empty() {
            return if self.empty.is_empty() { String::new() } else { format!("{}\n", self.empty) };
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if on_stderr {
            table.use_stderr();
        }
        // Without a terminal: 80 columns and no colours. NO_COLOR is https://no-color.org.
        if !terminal {
            table.force_no_tty();
        }
        if table.width().is_none() {
            table.set_width(80);
        }
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if !self.header.is_empty() {
            table.set_header(self.header.iter().map(|name| bold(Cell::new(name), colours)));
        }
        for row in &self.rows {
            table.add_row(row.iter().map(|text| coloured(&clean_lines(text), colours)));
        }
        // A serial number leaves little of 80 columns.
        let gap = if self.whole.is_some() { 1 } else { 2 };
        for column in table.column_iter_mut() {
            column.set_padding((0, gap));
        }
        // A date or a state in two pieces is hard to read, and short ones cost little.
        for (index, column) in table.column_iter_mut().enumerate() {
            if !self.header.is_empty() && self.widest(index) <= SHORT {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        if let Some(column) = self.whole.and_then(|column| table.column_mut(column)) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        } else if self.header.is_empty()
            && let Some(column) = table.column_mut(0)
        {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if let Some(last) = table.column_iter_mut().last() {
            last.set_padding((0, 0));
        }
        table.trim_fmt() + "\n"
    }

    /// How many characters the longest cell of a column has.
    fn widest(&self, column: usize) -> usize {
        let header = self.header.get(column).map_or(0, |name| name.chars().count());
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.fold(header, usize::max)
    }
}

/// The length of a date.
const SHORT: usize = 10;

fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

fn bold(cell: Cell, colours: bool) -> Cell {
    if colours { cell.add_attribute(Attribute::Bold) } else { cell }
}

fn coloured(text: &str, colours: bool) -> Cell {
    let cell = Cell::new(text);
    let colour = match text {
        "good" | "confirmed" => Color::Green,
        "revoked" | "unconfirmed" => Color::Red,
        "locked" | "expired" | "fenced" => Color::Yellow,
        _ => return cell,
    };
    if colours { cell.fg(colour) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_eighty_columns_and_has_no_colours_without_a_terminal() {
        let long = "word ".repeat(40);
        let rows = vec![vec!["a".repeat(40), "ana".to_owned(), "good".to_owned(), long]];
        let drawn =
            Sheet::list(&["SERIAL", "ID", "STATE", "MEANING"], "none", rows).keeping_whole(0).drawn(false, false);
        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
        assert!(drawn.contains(&"a".repeat(40)), "{drawn}");
        assert!(!drawn.contains('\u{1b}'));
        assert!(drawn.starts_with("SERIAL "), "{drawn}");
    }

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(Sheet::list(&["ID"], "no users", vec![]).drawn(false, false), "no users\n");
    }

    #[test]
    fn what_a_server_sends_cannot_steer_the_terminal() {
        let rows = vec![vec!["a\u{1b}]0;x\u{7}".to_owned(), "b\u{202e}".to_owned()]];
        let drawn = Sheet::list(&["A", "B"], "", rows).drawn(false, false);
        assert!(!drawn.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{drawn:?}");
    }

    #[test]
    fn yaml_keeps_texts_that_look_like_something_else() {
        let value =
            serde_json::json!({"items": [{"id": "1e5", "a": "no", "b": "x\n  exec:", "c": "- y", "d": "null"}]});
        let text = yaml(&value).unwrap();
        let back: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, value, "{text}");
    }
}
