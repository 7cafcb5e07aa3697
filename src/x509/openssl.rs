//! The openssl command, so that what we write is read back by someone else's parser.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A folder of files for one test, and openssl run in it.
pub(super) struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::File::create(self.path(name)).unwrap().write_all(content.as_ref()).unwrap();
        self
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `openssl …` (arguments split at blanks); gives both outputs. Fails if openssl does.
    pub(super) fn run(&self, arguments: &str) -> String {
        let (success, output) = self.attempt(arguments);
        assert!(success, "openssl {arguments}: {output}");
        output
    }

    pub(super) fn attempt(&self, arguments: &str) -> (bool, String) {
        let output = Command::new("openssl")
            .args(arguments.split_ascii_whitespace())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}
