//! Manual pages, from the same definitions as `--help`.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::args::Cli;
use super::exit::{Exit, Failure};
use super::output;

/// Writes a page for each command into `folder`, which is made if it is not there.
pub(super) fn write(folder: &Path) -> Result<Exit, Failure> {
    let failed = |path: &Path, error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let pages = pages()?;
    for (name, page) in &pages {
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(|error| failed(&path, error))?;
    }
    output::words(&format!("wrote {} pages to {}; try: man portcullis", pages.len(), folder.display()));
    Ok(Exit::Done)
}

/// Each page and its file's name: `portcullis-revoke-user.1` is `portcullis revoke user`.
fn pages() -> Result<Vec<(String, String)>, Failure> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    let mut left = vec![root];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|inner| !inner.is_hide_set()).cloned());
        let page = page(&command).map_err(|error| Failure::failed(format!("cannot write a page: {error}")))?;
        pages.push((Man::new(command).get_filename(), page));
    }
    pages.sort();
    Ok(pages)
}

fn page(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone());
    // Without a date clap_mangen would put the version in its place; a build has none of its own.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let title = format!(".TH {} 1 \"\" \"portcullis {}\" Portcullis\n", escaped(name), env!("CARGO_PKG_VERSION"));
    let mut page = title.into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    // A break around an empty line breaks nothing.
    let mut page = page.replace("\n.br\n\n.br\n", "\n\n");
    if let Some(notes) = command.get_after_help() {
        page.push_str(&section("NOTES", &notes.to_string()));
    }
    Ok(ascii(&page))
}

/// What stands below the options in `--help`: words are filled, what stands in columns stays as it is.
fn section(name: &str, text: &str) -> String {
    let mut section = format!(".SH {name}\n");
    for (index, paragraph) in text.split("\n\n").enumerate() {
        let columns = paragraph.contains("  ");
        let lines = paragraph.lines().map(|line| format!("{}\n", escaped(line)));
        section.push_str(if index > 0 { ".PP\n" } else { "" });
        section.push_str(if columns { ".nf\n" } else { "" });
        section.extend(lines);
        section.push_str(if columns { ".fi\n" } else { "" });
    }
    section
}

/// A line that roff takes for nothing but text.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Letters beyond ASCII by their numbers, which every roff reads whatever the encoding of its input is.
fn ascii(page: &str) -> String {
    page.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_it() {
        let pages = pages().unwrap();
        let page = |name: &str| {
            let (_, page) = pages.iter().find(|(file, _)| file == name).unwrap();
            page.clone()
        };
        assert!(page("portcullis.1").contains("revoke"));
        assert!(page("portcullis-revoke-user.1").contains("RFC 5280"));
        assert!(page("portcullis-revoke-user.1").contains(".nf\nExamples:  portcullis revoke user ana\n"));
        assert!(page("portcullis-store-restore.1").contains("accept"));
        assert!(!pages.iter().any(|(file, _)| file.contains("help")));
        assert!(pages.iter().all(|(_, page)| page.is_ascii()));
    }

    #[test]
    fn text_is_never_taken_for_a_request_to_roff() {
        assert_eq!(section("NOTES", ".so /etc/passwd"), ".SH NOTES\n\\&.so /etc/passwd\n");
        assert_eq!(section("NOTES", "a\\b  c"), ".SH NOTES\n.nf\na\\eb  c\n.fi\n");
    }
}
