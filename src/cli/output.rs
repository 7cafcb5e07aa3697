//! Printing: results on standard output in the format asked for, words on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

use super::exit::Failure;
use super::format::Format;

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
pub(super) fn print(format: &Format, value: &impl Shown) -> Result<(), Failure> {
    let text = match format {
        Format::Table { headers } => value.table().draw(Stream::Out, *headers),
        Format::Json => json(value)?,
        Format::Yaml => yaml(value)?,
        Format::Name => value.names().iter().map(|name| format!("{}\n", clean(name))).collect(),
        Format::Template(template) => template.fill(value)?,
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
///
/// On a terminal in lines of 80 columns; a program gets each sentence in one line, to look for words in it.
pub(super) fn words(text: &str) {
    let width = if io::stderr().is_terminal() { COLUMNS } else { usize::MAX };
    let lines: String = text.lines().map(|line| format!("{}\n", wrapped(&clean(line), width))).collect();
    let _ = io::stderr().lock().write_all(lines.as_bytes());
}

/// The line with line ends where it would be longer than `width`: between words, never inside of `a command`.
fn wrapped(line: &str, width: usize) -> String {
    let (mut out, mut column, mut ticks) = (String::with_capacity(line.len()), 0_usize, 0_usize);
    for word in line.split_inclusive(|c: char| {
        if c == '`' {
            ticks += 1;
            false
        } else {
            c == ' ' && ticks % 2 == 0
        }
    }) {
        let length = word.trim_end().chars().count();
        if column > 0 && column.saturating_add(length) > width {
            out.truncate(out.trim_end().len());
            out.push('\n');
            column = 0;
        }
        out.push_str(word);
        column = column.saturating_add(word.chars().count());
    }
    out
}

/// Shows a table on standard error.
pub(super) fn aside(sheet: &Sheet) {
    let _ = io::stderr().lock().write_all(sheet.draw(Stream::Err, true).as_bytes());
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

    fn draw(&self, stream: Stream, headers: bool) -> String {
        let terminal = match stream {
            Stream::Out => io::stdout().is_terminal(),
            Stream::Err => io::stderr().is_terminal(),
        };
        self.drawn(terminal, matches!(stream, Stream::Err), headers)
    }

    fn drawn(&self, terminal: bool, on_stderr: bool, headers: bool) -> String {
        if self.rows.is_empty() {
            // Without headers a program counts the lines: no row, no line.
            return if self.empty.is_empty() || !headers { String::new() } else { format!("{}\n", self.empty) };
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
            table.set_width(u16::try_from(COLUMNS).unwrap_or(u16::MAX));
        }
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if !self.header.is_empty() && headers {
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

/// The columns of a terminal that nobody made wider.
const COLUMNS: usize = 80;

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
            Sheet::list(&["SERIAL", "ID", "STATE", "MEANING"], "none", rows).keeping_whole(0).drawn(false, false, true);
        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
        assert!(drawn.contains(&"a".repeat(40)), "{drawn}");
        assert!(!drawn.contains('\u{1b}'));
        assert!(drawn.starts_with("SERIAL "), "{drawn}");
    }

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(Sheet::list(&["ID"], "no users", vec![]).drawn(false, false, true), "no users\n");
    }

    #[test]
    fn without_headers_there_are_rows_and_nothing_else() {
        let list = |rows| Sheet::list(&["ID", "GROUPS"], "no users", rows).drawn(false, false, false);
        assert_eq!(list(vec![]), "");
        let row = |id: &str| vec![id.to_owned(), "dev".to_owned()];
        let drawn = list(vec![row("ana"), row("bob")]);
        let words: Vec<Vec<&str>> = drawn.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words, [["ana", "dev"], ["bob", "dev"]]);
    }

    #[test]
    fn words_fit_eighty_columns_and_a_command_stays_in_one_piece() {
        let command = "`portcullis --profile ./back.toml issue ana --management --out ana.toml`";
        let line = format!("error: {} the way out is {command} and {}", "wanted ".repeat(14), "found ".repeat(14));
        let text = wrapped(&line, COLUMNS);
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= COLUMNS && line == line.trim_end() || line.ends_with("found ")),
            "{text}"
        );
        assert!(text.contains(command), "{text}");
        assert_eq!(text.replace('\n', " "), line);
        assert_eq!(wrapped(&line, usize::MAX), line);
    }

    #[test]
    fn what_a_server_sends_cannot_steer_the_terminal() {
        let rows = vec![vec!["a\u{1b}]0;x\u{7}".to_owned(), "b\u{202e}".to_owned()]];
        let drawn = Sheet::list(&["A", "B"], "", rows).drawn(false, false, true);
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
