//! What shells and `man` are given: completions and manual pages, judged by the programs that read them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::PathBuf;

use support::PORTCULLIS;
use support::run::{program, run};
use tempfile::TempDir;

#[test]
fn bash_completes_commands_options_and_values() {
    let script = script("bash");
    for (words, wanted) in [
        (&["portcullis", "rev"][..], "revoke"),
        (&["portcullis", "revoke", ""], "user agency cert help"),
        (&["portcullis", "revoke", "user", "--dry"], "--dry-run"),
        (&["portcullis", "user", "list", "-o", "t"], "table template="),
        (&["portcullis", "completions", "z"], "zsh"),
        (&["portcullis", "nothing-like-it", "revoke-x"], ""),
    ] {
        let last = words.len() - 1;
        let line = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={last}; _portcullis portcullis '{}' '{}'; echo \"${{COMPREPLY[*]}}\"",
            script.path.display(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words[last],
            words[last - 1],
        );
        let said = run(program("bash").args(["--norc", "-c", &line])).ok();
        for word in wanted.split_whitespace() {
            assert!(said.out.split_whitespace().any(|found| found == word), "{words:?}: wanted {word} in {}", said.out);
        }
        assert!(!wanted.is_empty() || !said.out.contains("revoke"), "{words:?}: {}", said.out);
    }
}

#[test]
fn every_shell_reads_its_completions() {
    for (shell, check) in
        [("bash", &["--norc", "-n"][..]), ("zsh", &["-f", "-n"]), ("fish", &["--no-config", "--no-execute"])]
    {
        let script = script(shell);
        let said = run(program(shell).args(check).arg(&script.path).env("HOME", script.folder.path())).ok();
        assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page_that_mandoc_finds_nothing_wrong_with() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = folder.path().join("man1");
    for _ in 0..2 {
        let said = run(program(PORTCULLIS).args(["man", "--out-dir"]).arg(&pages)).ok();
        assert!(said.err.contains("portcullis"), "{}", said.err);
    }
    let names: Vec<PathBuf> = fs::read_dir(&pages).expect("pages").map(|entry| entry.expect("a page").path()).collect();
    // A page without a date is meant: the version says what it belongs to.
    let lint = run(program("mandoc").args(["-Tlint", "-Wwarning"]).args(&names)).out;
    let wrong: Vec<&str> = lint.lines().filter(|line| !line.contains("missing date")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for command in commands(&[]) {
        let name = format!("{}.1", [vec!["portcullis".to_owned()], command.clone()].concat().join("-"));
        let page = run(program("mandoc").args(["-Tutf8", "-Owidth=78"]).arg(pages.join(&name))).ok().out;
        let usage = help(&command);
        for option in usage.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 3) {
            let option = option
                .trim_end_matches([',', '.', ')', ']', ':', ';'])
                .split(['=', '[', ']'])
                .next()
                .unwrap_or_default();
            assert!(plain(&page).contains(option), "{name}: wanted {option} in {page}");
        }
    }
}

#[test]
fn every_help_fits_eighty_columns_and_has_no_colours_without_a_terminal() {
    let all = commands(&[]);
    assert!(all.len() > 40, "{}", all.len());
    for command in &all {
        let text = help(command);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{command:?}: {line}");
        }
        assert!(!text.contains('\u{1b}'), "{command:?}: colours without a terminal");
    }
}

#[test]
fn manual_pages_are_not_written_over_a_file_in_the_way() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("man1");
    fs::write(&file, "x").expect("a file");
    run(program(PORTCULLIS).args(["man", "--out-dir"]).arg(&file)).ended(1).saying(&["cannot write"]);
    assert_eq!(fs::read_to_string(&file).expect("a file"), "x");
}

/// A script for a shell, in a file.
struct Script {
    folder: TempDir,
    path: PathBuf,
}

fn script(shell: &str) -> Script {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(format!("portcullis.{shell}"));
    let said = run(program(PORTCULLIS).args(["completions", shell])).ok();
    fs::write(&path, said.out).expect("a file of the test");
    Script { folder, path }
}

/// Every command, by what `--help` lists, from this one down.
fn commands(from: &[String]) -> Vec<Vec<String>> {
    let mut found = vec![from.to_vec()];
    let text = help(from);
    let listed = text.split("Commands:\n").nth(1).unwrap_or_default();
    for line in listed.lines().take_while(|line| !line.trim().is_empty()) {
        let name =
            line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')).and_then(|rest| rest.split(' ').next());
        if let Some(name) = name.filter(|name| *name != "help") {
            found.extend(commands(&[from, &[name.to_owned()]].concat()));
        }
    }
    found
}

fn help(command: &[String]) -> String {
    run(program(PORTCULLIS).args(command).arg("--help")).ok().out
}

/// Without a formatter's hyphens and overstrikes: bold is each letter twice.
fn plain(page: &str) -> String {
    page.replace(['\u{2010}', '\u{2011}', '\u{2212}'], "-").chars().fold(String::new(), |mut text, c| {
        match c {
            '\u{8}' => drop(text.pop()),
            c => text.push(c),
        }
        text
    })
}
