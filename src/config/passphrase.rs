//! Where the passphrase of the CA keys is, and reading it when it is needed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::secret::Secret;

/// The file with the passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passphrase {
    /// The file.
    pub file: PathBuf,
    /// Whether systemd put it there; such a file's group bits are the mask of an access list.
    pub by_systemd: bool,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum NoPassphrase {
    /// The file cannot be read.
    #[error("the passphrase cannot be read from {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// Others may read it.
    #[error("the passphrase in {0} may be read by others (mode {1:04o}); if nobody has: chmod 600 {0}")]
    Exposed(PathBuf, u32),
    /// It is not one line of text.
    #[error("wanted a passphrase of one line and 1 to 1024 bytes in {0}, found something else")]
    Unusable(PathBuf),
}

impl Passphrase {
    /// Reads the passphrase; the line's end does not belong to it.
    pub fn read(&self) -> Result<Secret<String>, NoPassphrase> {
        let unreadable = |error| NoPassphrase::Unreadable(self.file.clone(), error);
        let file = File::open(&self.file).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.mode();
        let others = if self.by_systemd { 0o007 } else { 0o077 };
        if mode & others != 0 {
            return Err(NoPassphrase::Exposed(self.file.clone(), mode & 0o7777));
        }
        // Room for all of it at once, so that no copy is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES + 3));
        let limit = u64::try_from(MOST_BYTES + 3).unwrap_or(u64::MAX);
        file.take(limit).read_to_string(&mut text).map_err(unreadable)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.len() > MOST_BYTES || line.contains(['\n', '\r', '\0']) {
            return Err(NoPassphrase::Unusable(self.file.clone()));
        }
        Ok(Secret::new(line.to_owned()))
    }
}

/// Longer than any that adds strength.
const MOST_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(content: &str, mode: u32, by_systemd: bool) -> Result<String, NoPassphrase> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p");
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        Ok(Passphrase { file, by_systemd }.read()?.expose().clone())
    }

    #[test]
    fn the_lines_end_is_not_part_of_the_passphrase() {
        for content in ["correct horse", "correct horse\n", "correct horse\r\n"] {
            assert_eq!(read(content, 0o600, false).unwrap(), "correct horse");
        }
    }

    #[test]
    fn an_empty_long_or_two_line_passphrase_is_refused() {
        for content in ["", "\n", "a\nb\n", &"x".repeat(1025)] {
            assert!(matches!(read(content, 0o600, false), Err(NoPassphrase::Unusable(_))), "{content:?}");
        }
        assert!(read(&"x".repeat(1024), 0o600, false).is_ok());
    }

    #[test]
    fn a_passphrase_that_others_may_read_is_refused() {
        for (mode, by_systemd) in [(0o644, false), (0o640, false), (0o644, true)] {
            assert!(matches!(read("x", mode, by_systemd), Err(NoPassphrase::Exposed(..))), "{mode:o}");
        }
        assert!(read("x", 0o440, true).is_ok());
    }
}
