//! What a revocation means, in words.

use super::revocations::Asked;
use crate::access::{Actor, Part};
use crate::api::Api;
use crate::ca::look::{ClusterView, ListClusters, ShowCertificate};
use crate::command::Rejected;
use crate::ident::IssuerName;
use crate::journal::IdentityKind;
use crate::revocation::wish::{Known, Target};

/// What it means, in a sentence or two.
pub(super) fn meaning(api: &Api, asked: &Asked, known: &Known, is_done: bool) -> Result<String, Rejected> {
    let id = &asked.request.target.id;
    let on = asked.cluster.as_ref().map_or(String::new(), |cluster| format!(" on {cluster}"));
    let verb = if is_done { "has ended" } else { "would end" };
    let ended = match (&asked.target, known) {
        (Target::Authority(issuer), _) => return authority(api, issuer, verb),
        (Target::Certificate(_), _) => format!("This {verb} that certificate and what was obtained with it."),
        (Target::User(_), Known::Present(IdentityKind::Agency)) => {
            format!("{id} is an agency: this {verb} its own credentials{on}, not those of its members.")
        }
        (Target::Agency(_), Known::Present(IdentityKind::User)) => {
            format!("{id} is a user, not an agency: this {verb} every credential of that user{on}.")
        }
        (Target::User(_), Known::Present(_)) => format!("This {verb} every credential of {id}{on}."),
        (Target::Agency(_), Known::Present(_)) => {
            format!("This {verb} every credential of {id} and of its members{on}.")
        }
        (_, Known::Deleted(kind, at)) => {
            format!("The {kind} {id} was deleted at {at}: this {verb} whatever was issued to it before{on}.")
        }
        (_, Known::Unread) => {
            format!("The directory cannot be read yet: this {verb} whatever was issued to {id}{on}, counted or not.")
        }
        (_, Known::Never) => format!(
            "{id} was never seen here: nothing was issued to it, and whatever is imported for it later is refused."
        ),
        (_, Known::Authority) => String::new(),
    };
    let afterwards = match (asked.request.lock, known) {
        (true, _) => " It is locked: nothing new is issued until it is unlocked.",
        (false, Known::Present(_)) => " A new credential issued afterwards works.",
        (false, Known::Deleted(..) | Known::Never | Known::Unread | Known::Authority) => "",
    };
    Ok(ended + afterwards + &beyond(api, asked)?)
}

fn authority(api: &Api, issuer: &IssuerName, verb: &str) -> Result<String, Rejected> {
    let clusters = clusters(api)?;
    let of = clusters.iter().find(|view| view.authorities.iter().any(|row| row.name == *issuer));
    let Some(ClusterView { cluster, authorities }) = of else {
        return Err(Rejected::not_found(format_args!("authority {issuer} of a cluster")));
    };
    let is_brought = authorities.iter().any(|row| row.name == *issuer && row.is_brought);
    let listed = if is_brought {
        "Whoever signed this CA must revoke it too, for those who trust that one."
    } else if api.authorities.keyring.issuer(&IssuerName::root()).is_ok() {
        "The root's list names it."
    } else {
        "The root's key is away: its list names it once `portcullis root attach` has brought it back."
    };
    let name = &cluster.name;
    let afterwards = if cluster.issuers.last() == Some(issuer) {
        format!("Nothing can be issued on {name} until `portcullis cluster rotate {name}`.")
    } else {
        format!("What the other CAs of {name} signed stands.")
    };
    Ok(format!(
        "This {verb} everything that {issuer} signed, for good, whenever it was recorded. {afterwards} {listed}"
    ))
}

/// Where a revocation does not reach: an API server that trusts the issuing CA itself.
fn beyond(api: &Api, asked: &Asked) -> Result<String, Rejected> {
    let only = match &asked.target {
        Target::Certificate(reference) => {
            let shown = api.engine.ask(&Actor::System(Part::Publisher), &ShowCertificate(reference.clone()));
            shown.ok().and_then(|shown| shown.outcome.row.cluster)
        }
        Target::User(_) | Target::Agency(_) | Target::Authority(_) => asked.cluster.clone(),
    };
    let is_meant =
        |view: &ClusterView| view.cluster.shared_ca && only.as_ref().is_none_or(|only| *only == view.cluster.name);
    let shared = clusters(api)?.into_iter().filter(is_meant).map(|view| view.cluster.name.to_string());
    let shared: Vec<String> = shared.collect();
    if shared.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        " It is not enforced at the API server itself of {}, which trusts the CA: whoever reaches that directly gets in.",
        shared.join(", ")
    ))
}

fn clusters(api: &Api) -> Result<Vec<ClusterView>, Rejected> {
    Ok(api.engine.ask(&Actor::System(Part::Publisher), &ListClusters)?.outcome)
}
