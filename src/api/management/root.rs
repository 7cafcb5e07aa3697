//! The root's list, while its key is elsewhere.

use crate::access::Permission;
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::command::{Code, Rejected};
use crate::ident::IssuerName;
use crate::x509::pem::{self, Label};

/// `POST /v1/root/list-requests`.
pub fn request_list(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    must_be_away(api, call)?;
    let tbs = api.lists.prepare(&IssuerName::root())?;
    let answer = wire::UnsignedList { unsigned_pem: pem::write(Label::UnsignedCrl, &tbs) };
    Reply::created(&answer, api.engine.store().end())
}

/// `POST /v1/root/lists`.
pub fn publish_list(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    must_be_away(api, call)?;
    let request: wire::SignedList = call.read()?;
    let der = pem::read(Label::Crl, request.list_pem.as_bytes())
        .map_err(|error| Rejected::invalid(format!("list_pem: {error}")))?;
    let published = api.lists.publish_signed(&IssuerName::root(), der)?;
    let meaning = format!("the root's list is published, and good until {}", published.next_update);
    Reply::of(&wire::Changed { revision: published.number.to_string(), meaning }, published.number)
}

fn must_be_away(api: &Api, call: &Call) -> Result<(), Rejected> {
    api.engine.may(&call.actor, Permission::ClusterWrite)?;
    if api.authorities.keyring.issuer(&IssuerName::root()).is_ok() {
        return Err(Rejected::new(Code::Conflict, "the root's key is on this host, and signs its list by itself"));
    }
    Ok(())
}
