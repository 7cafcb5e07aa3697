//! Asking before something is destroyed.

use std::io::{self, BufRead, IsTerminal, Write};

use super::args::Sure;
use super::exit::Failure;

/// Whether a person or a script has to say yes, checked before anything is asked of the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// `--dry-run`: only show.
    OnlyShow,
    /// `--yes`: do it.
    Sure,
    /// A person at a terminal types the word.
    Person,
}

impl Asking {
    /// Refused without a terminal and without `--yes`.
    pub(super) fn new(sure: Sure) -> Result<Self, Failure> {
        Self::decide(sure, io::stdin().is_terminal() && io::stderr().is_terminal())
    }

    fn decide(sure: Sure, terminal: bool) -> Result<Self, Failure> {
        match sure {
            Sure { dry_run: true, .. } => Ok(Self::OnlyShow),
            Sure { yes: true, .. } => Ok(Self::Sure),
            _ if terminal => Ok(Self::Person),
            _ => Err(Failure::usage(
                "this cannot be undone and there is no terminal to ask at; give --yes, or --dry-run to see what it would hit",
            )),
        }
    }

    /// Lets a person type the word; anything else ends the command.
    pub(super) fn typed(self, question: &str) -> Result<(), Failure> {
        self.typed_word(question, WORD)
    }

    /// The same with a word for what is done.
    pub(super) fn typed_word(self, question: &str, word: &str) -> Result<(), Failure> {
        if self != Self::Person {
            return Ok(());
        }
        let mut line = String::new();
        let prompt = format!("{question}\nType {word} to go on: ");
        let asked = io::stderr().lock().write_all(prompt.as_bytes());
        asked.and_then(|()| io::stdin().lock().read_line(&mut line)).map_err(Failure::failed)?;
        if line.trim_end_matches(['\r', '\n']) == word {
            return Ok(());
        }
        Err(Failure::failed(format!("nothing was changed, as the word typed was not {word}")))
    }
}

const WORD: &str = "REVOKE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_destroyed_without_a_word_from_somebody() {
        let decide = |yes, dry_run, terminal| Asking::decide(Sure { yes, dry_run }, terminal).ok();
        assert_eq!(decide(false, false, false), None);
        assert_eq!(decide(false, false, true), Some(Asking::Person));
        assert_eq!(decide(true, false, false), Some(Asking::Sure));
        assert_eq!(decide(true, true, true), Some(Asking::OnlyShow));
    }
}
