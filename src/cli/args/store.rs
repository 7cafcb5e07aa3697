//! What can be typed about the store; all of it is done on the authority's host.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DEFAULT_CONFIG, Sure};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Store {
    /// Copy the store, running or not, with the key files and the newest lists, into a new folder.
    #[command(after_help = "\
The keys in it are encrypted as they are; the passphrase is not in it: keep it elsewhere.

Example:  portcullis store backup --out /backup/2026-11-22")]
    Backup(Backup),
    /// Read all of the store, running or not, or of a backup, and say whether it is whole.
    #[command(after_help = "\
Examples:  portcullis store verify
           portcullis store verify --backup /backup/2026-11-22")]
    Verify(Verify),
    /// Put the store back from a backup, in a new era, without un-revoking anything that is known.
    #[command(after_help = "\
The authority must not be running. The store in place is moved aside, never deleted, and is the best witness of what
happened after the backup; published lists are the next. Proxies that followed hand in what they know.

Examples:  portcullis store restore --from /backup/2026-11-22 --dry-run
           portcullis store restore --from /backup/2026-11-22
           portcullis store restore --from DIR --crl prod-1.crl --crl infra.crl")]
    Restore(Restore),
    /// Throw the index away and make it again from the journal.
    #[command(after_help = "Example:  portcullis store rebuild")]
    Rebuild(Where),
}

/// Whose store.
#[derive(Debug, Args)]
pub(in crate::cli) struct Where {
    /// The authority's configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(in crate::cli) config: PathBuf,
    /// The folder of a quickstart instead.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(in crate::cli) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Backup {
    /// A folder that is not there yet.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) place: Where,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// This backup instead of the store.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "dir"])]
    pub(in crate::cli) backup: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) place: Where,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// The backup.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) from: PathBuf,
    /// A list that was published after it, from wherever it was kept; those in the authority's folder are read anyway.
    #[arg(long = "crl", value_name = "FILE")]
    pub(in crate::cli) lists: Vec<PathBuf>,
    /// Go on although nobody tells what was revoked after the backup: it is forgotten.
    #[arg(long)]
    pub(in crate::cli) accept_rollback: bool,
    #[command(flatten)]
    pub(in crate::cli) sure: Sure,
    #[command(flatten)]
    pub(in crate::cli) place: Where,
}
