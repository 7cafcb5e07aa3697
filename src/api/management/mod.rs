//! The handlers of the management API: from a request to a wish, from an outcome to a body.

pub mod authorities;
pub mod certificates;
pub mod clusters;
pub mod enforcement;
pub mod groups;
pub mod identities;
mod meaning;
pub mod revocations;
pub mod root;
pub mod status;

use super::{Api, OWN_ENFORCEMENT};
use crate::command::{Code, Command, Rejected};
use crate::engine::Done;
use crate::ident::InvalidName;
use crate::standing::Revision;

use super::routes::Call;

impl Api {
    /// Fulfils a wish and waits until this node itself enforces it.
    pub(super) fn run<C: Command>(&self, call: &Call, command: &C) -> Result<Done<C::Outcome>, Rejected> {
        let done = match &call.repeatable {
            Some(repeatable) => self.engine.run_once(&call.actor, repeatable, command)?,
            None => self.engine.run(&call.actor, command)?,
        };
        self.enforced_here(done.revision)?;
        Ok(done)
    }

    /// Waits until this node's own answers reflect `revision`: what was asked next must not be decided on older ones.
    pub(super) fn enforced_here(&self, revision: Revision) -> Result<(), Rejected> {
        self.statuses.wait_for(revision, OWN_ENFORCEMENT).map_err(|stale| {
            Rejected::new(
                Code::Unavailable,
                format!("the change is durable at {revision}, but this node does not enforce it yet: {stale}"),
            )
        })
    }
}

impl From<InvalidName> for Rejected {
    fn from(error: InvalidName) -> Self {
        Self::invalid(error.to_string())
    }
}
