//! What the commands that work on the authority's own host are told.

use std::path::PathBuf;

use super::authority;
use crate::ident::IdentityId;

/// What `portcullis init` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// The authority's settings.
    pub authority: authority::Settings,
    /// The first admin.
    pub admin: IdentityId,
    /// Where the admin's profile goes; a new file of mode 0600.
    pub profile: PathBuf,
}

/// What `portcullis recover admin` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverAdmin {
    /// The authority's settings.
    pub authority: authority::Settings,
    /// The admin.
    pub admin: IdentityId,
    /// Where the profile goes; a new file of mode 0600.
    pub profile: PathBuf,
}
