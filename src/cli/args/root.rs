//! The root's key, away from the authority, as it is typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Sure, Where};
use crate::ident::IssuerName;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Root {
    /// Take the root's key off the authority's host, onto a stick.
    #[command(after_help = "\
The authority must not be running. The root's list is signed once more before, for a year. Afterwards the authority does
everything but sign a new issuing CA or the root's list: see root sign.

Example:  portcullis root detach --out /media/stick/portcullis-root")]
    Detach(Detach),
    /// Bring the root's key back.
    #[command(after_help = "\
The authority must not be running. The key stays on the stick too.

Example:  portcullis root attach --from /media/stick/portcullis-root")]
    Attach(Attach),
    /// Sign with the root's key where it is, without an authority.
    #[command(
        after_help = "\
FILE is what `cluster request` or `root request-list` wrote. The result goes back with `cluster add --ca-cert`, `cluster
rotate --ca-cert`, or `root publish`.

Examples:  portcullis root sign prod-2.csr --ca prod-2 --from STICK \\
             --passphrase-file passphrase --out prod-2.pem
           portcullis root sign root-list.pem --from STICK \\
             --passphrase-file passphrase --out root.crl.pem",
        override_usage = "portcullis root sign FILE --from DIR --passphrase-file FILE --out FILE"
    )]
    Sign(SignByRoot),
    /// Write the root's list as it is to be, to be signed where the key is.
    #[command(name = "request-list", after_help = "Example:  portcullis root request-list --out root-list.pem")]
    RequestList(RequestList),
    /// Publish the root's list that was signed where the key is.
    #[command(after_help = "Example:  portcullis root publish root.crl.pem")]
    Publish(PublishList),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Detach {
    /// A folder that is made for it.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) place: Where,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Attach {
    /// The folder that `root detach` made.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) from: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) place: Where,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SignByRoot {
    /// A request for an issuing CA, or the root's list that is to be.
    pub(in crate::cli) file: PathBuf,
    /// What the issuing CA is called, as `cluster request` said.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) ca: Option<IssuerName>,
    /// The folder that `root detach` made.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) from: PathBuf,
    /// A file with the passphrase of the CA keys.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) passphrase_file: PathBuf,
    /// Write here, never over an existing file.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) sure: Sure,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RequestList {
    /// Write here, never over an existing file.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PublishList {
    /// What `root sign` wrote.
    pub(in crate::cli) file: PathBuf,
}
