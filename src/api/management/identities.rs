//! Users and agencies: add, list, show, edit, delete.

use crate::access::Role;
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::command::Rejected;
use crate::directory::identities::{AddIdentity, AgencyChange, DeleteIdentity, EditIdentity};
use crate::directory::look::{IdentityView, ListIdentities, ShowIdentity};
use crate::ident::{GroupName, IdentityId};
use crate::journal::IdentityKind;

/// `POST /v1/users`.
pub fn add_user(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let request: wire::AddUser = call.read()?;
    add(
        api,
        call,
        AddIdentity {
            id: request.id.parse()?,
            kind: IdentityKind::User,
            groups: groups(&request.groups)?,
            agency: request.agency.as_deref().map(str::parse).transpose()?,
            role: role(request.role.as_deref())?,
            reuse: request.reuse,
        },
    )
}

/// `POST /v1/agencies`.
pub fn add_agency(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let request: wire::AddAgency = call.read()?;
    add(
        api,
        call,
        AddIdentity {
            id: request.id.parse()?,
            kind: IdentityKind::Agency,
            groups: groups(&request.groups)?,
            agency: None,
            role: None,
            reuse: request.reuse,
        },
    )
}

fn add(api: &Api, call: &Call, command: AddIdentity) -> Result<Reply, Rejected> {
    let done = api.run(call, &command)?;
    let view = view(api, call, &command.id, command.kind)?;
    Reply::created(&view, done.revision)
}

/// `GET /v1/users` and `GET /v1/agencies`.
pub fn list(api: &Api, call: &Call, kind: IdentityKind) -> Result<Reply, Rejected> {
    let limit = call.limit()?;
    let done = api.engine.ask(&call.actor, &ListIdentities { kind, after: call.asked("after")?, limit })?;
    let next = (done.outcome.len() == limit).then(|| done.outcome.last().map(|view| view.id.to_string())).flatten();
    let items: Vec<_> = done.outcome.iter().map(body).collect();
    Reply::of(&wire::Page { items, next }, done.revision)
}

/// `GET /v1/users/{id}` and `GET /v1/agencies/{id}`.
pub fn show(api: &Api, call: &Call, kind: IdentityKind) -> Result<Reply, Rejected> {
    let id = call.parameter("id").parse()?;
    let done = api.engine.ask(&call.actor, &ShowIdentity { id, kind })?;
    Reply::of(&body(&done.outcome), done.revision)
}

/// `PATCH /v1/users/{id}` and `PATCH /v1/agencies/{id}`.
pub fn edit(api: &Api, call: &Call, kind: IdentityKind) -> Result<Reply, Rejected> {
    let request: wire::EditIdentity = call.read()?;
    let agency = match (&request.agency, request.no_agency) {
        (Some(_), true) => return Err(Rejected::invalid("wanted either agency or no_agency, found both")),
        (Some(agency), false) => AgencyChange::Join(agency.parse()?),
        (None, true) => AgencyChange::Leave,
        (None, false) => AgencyChange::Stay,
    };
    let command = EditIdentity {
        id: call.parameter("id").parse()?,
        kind,
        add_groups: groups(&request.add_groups)?,
        remove_groups: groups(&request.remove_groups)?,
        agency,
        add_role: role(request.add_role.as_deref())?,
        remove_role: role(request.remove_role.as_deref())?,
        force: request.force,
    };
    let done = api.run(call, &command)?;
    Reply::of(&view(api, call, &command.id, kind)?, done.revision)
}

/// `DELETE /v1/users/{id}` and `DELETE /v1/agencies/{id}`.
pub fn delete(api: &Api, call: &Call, kind: IdentityKind) -> Result<Reply, Rejected> {
    let force = call.asked("force")?.unwrap_or(false);
    let command = DeleteIdentity { id: call.parameter("id").parse()?, kind, force };
    let done = api.run(call, &command)?;
    let id = &command.id;
    let meaning = match kind {
        IdentityKind::User => format!("{id} is deleted and everything it held is dead; the ID stays known"),
        IdentityKind::Agency => {
            format!("{id} is deleted and everything held under it is dead; its members stay and hold nothing by it")
        }
    };
    Reply::of(&wire::Changed { revision: done.revision.to_string(), meaning }, done.revision)
}

fn view(api: &Api, call: &Call, id: &IdentityId, kind: IdentityKind) -> Result<wire::Identity, Rejected> {
    let done = api.engine.ask(&call.actor, &ShowIdentity { id: id.clone(), kind })?;
    Ok(body(&done.outcome))
}

fn body(view: &IdentityView) -> wire::Identity {
    wire::Identity {
        id: view.id.to_string(),
        kind: view.kind.to_string(),
        groups: view.groups.iter().map(ToString::to_string).collect(),
        agency: view.agency.as_ref().map(ToString::to_string),
        roles: view.roles.iter().map(ToString::to_string).collect(),
        locked_by_restore: view.locked_by_restore,
        locked: view.locked.iter().map(|on| on.as_ref().map_or("*".to_owned(), ToString::to_string)).collect(),
        members: view.members.iter().map(ToString::to_string).collect(),
        added: view.added.to_string(),
    }
}

/// Every mistake is told, not only the first.
fn groups(names: &[String]) -> Result<Vec<GroupName>, Rejected> {
    let (good, bad): (Vec<_>, Vec<_>) = names.iter().map(|name| name.parse::<GroupName>()).partition(Result::is_ok);
    if bad.is_empty() {
        return Ok(good.into_iter().flatten().collect());
    }
    let mistakes: Vec<String> = bad.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
    Err(Rejected::invalid(mistakes.join("; ")))
}

fn role(name: Option<&str>) -> Result<Option<Role>, Rejected> {
    match name {
        None => Ok(None),
        Some("admin") => Ok(Some(Role::Admin)),
        Some(other) => Err(Rejected::invalid(format!("wanted the role admin, found \"{}\"", other.escape_debug()))),
    }
}
