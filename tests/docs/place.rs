//! A place in which a page's commands are typed: a shell, a folder that is its home, and what runs meanwhile.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::page::{Page, Typed};
use crate::support::run::{Live, Said, program, run_within, tool};
use crate::support::{PORTCULLIS, START};

/// A folder, what stands for what in it, and which programs run.
pub(crate) struct Place {
    home: PathBuf,
    /// A word of the pages and what it is here. A word that no page of the story has is a mistake.
    swaps: Vec<(String, String, bool)>,
    environment: Vec<(String, String)>,
    /// Commands and the configuration that they read.
    configurations: Vec<(String, PathBuf)>,
    running: Vec<(String, Live)>,
}

/// A page while it is followed.
pub(crate) struct Walk {
    name: String,
    left: VecDeque<Typed>,
}

impl Walk {
    pub(crate) fn of(name: &str) -> Self {
        let page = Page::named(name);
        assert!(!page.commands.is_empty(), "{name} has no commands");
        Self { name: page.name, left: page.commands.into() }
    }

    /// Types all that comes before the next command that begins like this.
    pub(crate) fn up_to(&mut self, place: &mut Place, beginning: &str) {
        let there = self.left.iter().any(|typed| typed.line.starts_with(beginning));
        assert!(there, "docs/{}.md has no command {beginning} here any more", self.name);
        while let Some(typed) = self.left.pop_front_if(|typed| !typed.line.starts_with(beginning)) {
            place.type_in(&self.name, &typed, 0);
        }
    }

    /// The same, and that command, which ends with this status.
    pub(crate) fn ending(&mut self, place: &mut Place, beginning: &str, status: i32) {
        self.up_to(place, beginning);
        let typed = self.left.pop_front().expect("up to here");
        place.type_in(&self.name, &typed, status);
    }

    /// What the page shows below the next command that begins like this.
    pub(crate) fn shown(&self, beginning: &str) -> String {
        let typed = self.left.iter().find(|typed| typed.line.starts_with(beginning)).expect("the command");
        typed.shown.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Types the rest of the page.
    pub(crate) fn rest(mut self, place: &mut Place) {
        while let Some(typed) = self.left.pop_front() {
            place.type_in(&self.name, &typed, 0);
        }
    }
}

impl Place {
    pub(crate) fn new(home: PathBuf) -> Self {
        let tools = home.join("tools");
        fs::create_dir_all(&tools).expect("a folder");
        for (name, path) in [("portcullis", PathBuf::from(PORTCULLIS)), ("kubectl", tool("PORTCULLIS_TEST_KUBECTL"))] {
            symlink(path, tools.join(name)).expect("a link");
        }
        Self { home, swaps: Vec::new(), environment: Vec::new(), configurations: Vec::new(), running: Vec::new() }
    }

    pub(crate) fn swap(mut self, from: &str, to: impl Into<String>) -> Self {
        self.swaps.push((from.to_owned(), to.into(), false));
        self
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    pub(crate) fn configure(&mut self, path: &Path, commands: &[&str]) {
        let commands = commands.iter().map(|command| (format!("portcullis {command}"), path.to_owned()));
        self.configurations.extend(commands);
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Stops what was started by the command that begins like this.
    pub(crate) fn stop(&mut self, beginning: &str) {
        let place = self.running.iter().position(|(line, _)| line.starts_with(beginning));
        let (_, live) = self.running.remove(place.unwrap_or_else(|| panic!("{beginning} does not run")));
        live.signal(Signal::TERM);
        assert_eq!(live.wait().status, Some(0), "{beginning} was asked to stop");
    }

    /// Types a page from its beginning to its end.
    pub(crate) fn follow(&mut self, name: &str) {
        Walk::of(name).rest(self);
    }

    /// Something that a page asks for in words.
    pub(crate) fn quietly(&mut self, line: &str) {
        self.type_in("", &Typed { line: line.to_owned(), shown: Vec::new() }, 0);
    }

    /// Every swap was of use.
    pub(crate) fn leave(self) {
        let unused: Vec<_> = self.swaps.iter().filter(|(_, _, used)| !used).map(|(from, _, _)| from).collect();
        assert!(unused.is_empty(), "no page says {unused:?} any more");
    }

    fn type_in(&mut self, page: &str, typed: &Typed, status: i32) {
        let line = self.swapped(&typed.line);
        let line = self.configured(&typed.line, line);
        let mut command = self.shell(&line);
        if let Some((_, awaited)) = STAYS.iter().find(|(begins, _)| typed.line.contains(begins)).filter(|_| status == 0)
        {
            let live = Live::start(&mut command);
            let found = match awaited {
                Some(words) => live.wait_for_line(START, |line| line.contains(words)),
                None => (live.next_line().is_some(), String::new()),
            };
            assert!(found.0, "docs/{page}.md: {line} did not get ready:\n{}", found.1);
            self.running.push((typed.line.clone(), live));
            return;
        }
        let said = run_within(START, &mut command);
        assert_eq!(said.status, Some(status), "docs/{page}.md: {line}\n{}{}", said.out, said.err);
        typed.check(page, &said);
        // What a page shows on the screen and takes from a file in its next command.
        if typed.line.contains("proxy token") && !typed.line.contains('>') {
            fs::write(self.file("token"), &said.out).expect("a file");
        }
    }

    fn swapped(&mut self, line: &str) -> String {
        let mut line = line.to_owned();
        for (from, to, used) in &mut self.swaps {
            *used |= line.contains(from.as_str());
            line = line.replace(from.as_str(), to);
        }
        line
    }

    /// With the configuration of this place, where the page leaves it to the default in `/etc`.
    fn configured(&self, typed: &str, line: String) -> String {
        let found = self.configurations.iter().find(|(command, _)| typed.starts_with(command.as_str()));
        match found.filter(|_| !typed.contains("--config") && !typed.contains("--backup")) {
            Some((command, path)) => {
                line.replacen(command.as_str(), &format!("{command} --config {}", path.display()), 1)
            }
            None => line,
        }
    }

    fn shell(&self, line: &str) -> Command {
        let tools = self.home.join("tools");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = format!("{}:{}", tools.display(), path.to_string_lossy());
        let mut command = program("bash");
        // `exec`, so that a signal reaches the program itself.
        let is_one = line.starts_with("portcullis ") && !line.contains('|');
        let line = if is_one { format!("exec {line}") } else { line.to_owned() };
        command.args(["--norc", "-c", &line]).current_dir(&self.home).env("HOME", &self.home).env("PATH", path);
        command.envs(self.environment.iter().cloned());
        command
    }
}

impl Typed {
    /// The words at the beginning of each line that the page shows are said: fields of a table, above all.
    fn check(&self, page: &str, said: &Said) {
        for shown in &self.shown {
            let error = shown.starts_with("error: ").then(|| shown.split(' ').take(4).collect::<Vec<_>>().join(" "));
            let heard = error.as_ref().is_none_or(|error| said.err.contains(error) || said.out.contains(error));
            assert!(heard, "docs/{page}.md shows {error:?} below {}:\n{}{}", self.line, said.out, said.err);
            let Some(word) = shown.split_whitespace().next() else { continue };
            let is_word = word.len() >= 4 && word.chars().all(char::is_alphabetic) && !ASKED.contains(&word);
            let heard = said.out.contains(word) || said.err.contains(word);
            assert!(!is_word || heard, "docs/{page}.md shows {word} below {}:\n{}{}", self.line, said.out, said.err);
        }
    }
}

/// Commands that stay, and the word on standard error that says they are ready; none where the first line of output does.
const STAYS: [(&str, Option<&str>); 4] = [
    ("portcullis serve", Some("the authority serves")),
    ("portcullis proxy run", Some("the proxy serves")),
    ("portcullis quickstart", Some("ready;")),
    ("get --raw /watch", None),
];

/// How a question to a person at a terminal begins; here `--yes` answers it.
const ASKED: [&str; 2] = ["This", "Type"];

/// Replaces words in a file.
pub(crate) fn edit(path: &Path, words: &[(&str, &str)]) {
    let mut text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (from, to) in words {
        assert!(text.contains(from), "{} has no {from}", path.display());
        text = text.replace(from, to);
    }
    fs::write(path, text).expect("a file");
}
