//! A page of the documentation, as far as a shell is concerned.

use std::fs;
use std::path::{Path, PathBuf};

/// A page and what it tells its reader to type.
pub(crate) struct Page {
    /// `try` for `docs/try.md`.
    pub(crate) name: String,
    /// The commands at a `$ ` in its fences, in order.
    pub(crate) commands: Vec<Typed>,
    /// Commands of ours in running text and in tables, without the program's name.
    pub(crate) mentions: Vec<String>,
}

/// A command and the lines that the page shows below it.
pub(crate) struct Typed {
    pub(crate) line: String,
    pub(crate) shown: Vec<String>,
}

impl Page {
    /// `README.md` and every page in `docs/`.
    pub(crate) fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = fs::read_dir(root.join("docs")).expect("docs");
        let mut paths: Vec<PathBuf> = folder.map(|entry| entry.expect("a page").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.push(root.join("README.md"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::all().into_iter().find(|page| page.name == name).unwrap_or_else(|| panic!("there is no page {name}"))
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a page");
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let (mut commands, mut mentions) = (Vec::<Typed>::new(), Vec::new());
        let mut fenced = false;
        for line in text.lines() {
            if line.starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                // `cli.md` leaves the program's name out in its tables.
                mentions.extend(spans(line).filter_map(|span| mention(span, name == "cli" && line.starts_with('|'))));
            } else if let Some(line) = line.strip_prefix("$ ") {
                commands.push(Typed { line: without_comment(line), shown: Vec::new() });
            } else if let Some(last) = commands.last_mut() {
                last.shown.push(line.to_owned());
            }
            if line.starts_with("```") && !fenced {
                // What stands in the next fence was not printed by this command.
                commands.last_mut().into_iter().for_each(|last| last.shown.push(String::new()));
            }
        }
        // Lines of a later fence without a command of its own belong to nobody.
        for command in &mut commands {
            if let Some(end) = command.shown.iter().position(String::is_empty) {
                command.shown.truncate(end);
            }
        }
        Self { name, commands, mentions }
    }
}

/// What stands in backticks in a line.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The arguments, if this is a command of ours.
fn mention(span: &str, bare: bool) -> Option<String> {
    let rest = span.strip_prefix("portcullis ");
    let arguments = rest.or_else(|| (bare && span.starts_with(|c: char| c.is_ascii_lowercase())).then_some(span))?;
    let arguments = arguments.split(['>', '<']).next().unwrap_or_default().trim();
    if NO_COMMANDS.iter().any(|word| rest.is_none() && arguments.starts_with(word)) {
        return None;
    }
    (!arguments.is_empty() && !arguments.starts_with('-') || rest.is_some()).then(|| arguments.to_owned())
}

/// What stands in the tables of `cli.md` as a command does and is none.
const NO_COMMANDS: [&str; 4] = ["unspecified keyCompromise", "jq", "kubectl ", "man portcullis-"];

fn without_comment(line: &str) -> String {
    line.split("  #").next().unwrap_or_default().trim_end().to_owned()
}
