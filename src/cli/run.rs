//! The commands that are servers, or work on an authority's own files.

use super::exit::{Exit, Failure};
use crate::config::host::{Init, RecoverAdmin};
use crate::config::{authority, quickstart};

pub(super) fn quickstart(settings: quickstart::Settings) -> Result<Exit, Failure> {
    absent(&settings)
}

pub(super) fn init(wish: Init) -> Result<Exit, Failure> {
    absent(&(&wish.authority, &wish.admin, &wish.profile))
}

pub(super) fn serve(settings: authority::Settings) -> Result<Exit, Failure> {
    absent(&settings)
}

pub(super) fn recover_admin(wish: RecoverAdmin) -> Result<Exit, Failure> {
    absent(&(&wish.authority, &wish.admin, &wish.profile))
}

fn absent<T>(_: &T) -> Result<Exit, Failure> {
    Err(Failure::failed("this build has no server in it"))
}
