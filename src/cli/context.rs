//! What every command has: the format to print in, and the profile to speak with.

use std::path::PathBuf;

use super::client::Client;
use super::exit::Failure;
use super::format::Format;
use crate::config::profile::Profile;

/// What was typed for all commands alike.
#[derive(Debug)]
pub(super) struct Context {
    /// The format asked for, if any.
    pub(super) format: Option<Format>,
    table: Format,
    profile: Option<String>,
}

impl Context {
    /// `no_headers` concerns tables; every other format has none anyway.
    pub(super) fn new(format: Option<Format>, no_headers: bool, profile: Option<String>) -> Self {
        let table = Format::Table { headers: !no_headers };
        let format = format.map(|format| if matches!(format, Format::Table { .. }) { table.clone() } else { format });
        Self { format, table, profile }
    }

    /// The format for results, a table unless another was asked for.
    pub(super) fn format(&self) -> &Format {
        self.format.as_ref().unwrap_or(&self.table)
    }

    /// A client that speaks with the profile.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        Client::of_profile(&self.profile()?)
    }

    /// The profile that was named, or the one called `default`.
    pub(super) fn profile(&self) -> Result<Profile, Failure> {
        let [config_home, home] = ["XDG_CONFIG_HOME", "HOME"].map(|name| std::env::var_os(name).map(PathBuf::from));
        let name = self.profile.as_deref().unwrap_or("default");
        let path = Profile::locate(name, config_home.as_deref(), home.as_deref()).map_err(Failure::failed)?;
        Profile::read(&path).map_err(Failure::failed)
    }
}
