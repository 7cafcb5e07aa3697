//! `portcullis user|agency|group`: who there is.

use std::time::Duration;

use http::Method;

use super::args::{self, Agency, EditAgency, Group, User};
use super::client::{Client, Query, segment};
use super::confirm::Asking;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::output::{self, List, Shown};
use super::{certificates, revoke, rows};
use crate::api::wire;

pub(super) async fn user(context: &Context, command: User) -> Result<Exit, Failure> {
    match command {
        User::Add(args) => {
            let body = wire::AddUser {
                id: args.id.to_string(),
                groups: args.groups.iter().map(ToString::to_string).collect(),
                agency: args.agency.map(|agency| agency.to_string()),
                role: args.role,
                reuse: args.reuse,
            };
            add::<_, wire::Identity>(context, USERS, &body).await
        }
        User::List => list(context, USERS).await,
        User::Show(args) => show(context, USERS, &args.id).await,
        User::Edit(args) => edit_user(context, args).await,
        User::Delete(args) => delete(context, USERS, &args).await,
        User::Lock(args) => lock(context, USERS, &args, "lock").await,
        User::Unlock(args) => lock(context, USERS, &args, "unlock").await,
    }
}

pub(super) async fn agency(context: &Context, command: Agency) -> Result<Exit, Failure> {
    match command {
        Agency::Add(args) => {
            let groups = args.groups.iter().map(ToString::to_string).collect();
            let body = wire::AddAgency { id: args.id.to_string(), groups, reuse: args.reuse };
            add::<_, wire::Identity>(context, AGENCIES, &body).await
        }
        Agency::List => list(context, AGENCIES).await,
        Agency::Show(args) => show(context, AGENCIES, &args.id).await,
        Agency::Edit(args) => {
            let body = groups(&args);
            edit(context, AGENCIES, &args, &body).await
        }
        Agency::Delete(args) => delete(context, AGENCIES, &args).await,
        Agency::Lock(args) => lock(context, AGENCIES, &args, "lock").await,
        Agency::Unlock(args) => lock(context, AGENCIES, &args, "unlock").await,
    }
}

pub(super) async fn group(context: &Context, command: Group) -> Result<Exit, Failure> {
    match command {
        Group::List => {
            let items: Vec<wire::Group> = context.client()?.all(GROUPS, &Query::default()).await?;
            printed(context, &List { items })
        }
        Group::Show(args) => {
            let found: wire::Group = context.client()?.get(&at(GROUPS, &args.name)).await?;
            printed(context, &found)
        }
        Group::Delete(args) => {
            let asking = Asking::new(args.sure)?;
            let mut client = context.client()?;
            if asking != Asking::Sure {
                let found: wire::Group = client.get(&at(GROUPS, &args.name)).await?;
                if asking == Asking::OnlyShow {
                    return printed(context, &found);
                }
                output::aside(&found.table());
            }
            asking
                .typed(&output::clean(&format!("This ends every credential that carries the group {}.", args.name)))?;
            change(context, &mut client, Method::DELETE, &at(GROUPS, &args.name)).await
        }
    }
}

async fn edit_user(context: &Context, args: args::EditUser) -> Result<Exit, Failure> {
    let body = wire::EditIdentity {
        agency: args.agency.as_ref().map(ToString::to_string),
        no_agency: args.no_agency,
        add_role: args.add_role.clone(),
        remove_role: args.remove_role.clone(),
        force: args.force,
        ..groups(&args.groups)
    };
    edit(context, USERS, &args.groups, &body).await
}

fn groups(args: &EditAgency) -> wire::EditIdentity {
    wire::EditIdentity {
        add_groups: args.add_groups.iter().map(ToString::to_string).collect(),
        remove_groups: args.remove_groups.clone(),
        ..wire::EditIdentity::default()
    }
}

/// Leaving a group or changing the agency ends credentials, so those are shown and asked about.
async fn edit(context: &Context, kind: &str, args: &EditAgency, body: &wire::EditIdentity) -> Result<Exit, Failure> {
    let moves = body.agency.is_some() || body.no_agency;
    let joins = !body.add_groups.is_empty() || body.add_role.is_some();
    let leaves = !body.remove_groups.is_empty();
    if !moves && !joins && !leaves && body.remove_role.is_none() {
        return Err(Failure::usage("nothing to change was named"));
    }
    let ends = moves || leaves;
    let asking = if ends || args.sure.dry_run { Asking::new(args.sure)? } else { Asking::Sure };
    let mut client = context.client()?;
    if asking != Asking::Sure {
        let hit = if ends { carrying(&mut client, &args.id, body, moves).await? } else { Vec::new() };
        if asking == Asking::OnlyShow {
            return printed(context, &List { items: hit });
        }
        output::aside(&rows::certificates(&hit));
    }
    asking.typed(&output::clean(&format!("This ends these credentials of {}, for good.", args.id)))?;
    let path = at(kind, &args.id);
    let found: wire::Identity = client.change(Method::PATCH, &path, Some(body), Duration::ZERO).await?;
    printed(context, &found)
}

/// The certificates that an edit would end.
async fn carrying(
    client: &mut Client,
    id: &str,
    body: &wire::EditIdentity,
    moves: bool,
) -> Result<Vec<wire::Certificate>, Failure> {
    let all = certificates::all(client, &Query::default().with("id", Some(id))).await?;
    let stands = |found: &wire::Certificate| matches!(found.status.state.as_str(), "good" | "locked");
    let carries = |found: &wire::Certificate| body.remove_groups.iter().any(|group| found.groups.contains(group));
    Ok(all.into_iter().filter(|found| stands(found) && (moves || carries(found))).collect())
}

async fn delete(context: &Context, kind: &str, args: &args::Delete) -> Result<Exit, Failure> {
    let asking = Asking::new(args.sure)?;
    let mut client = context.client()?;
    if asking != Asking::Sure {
        let target = if kind == USERS { "user" } else { "agency" };
        let target = wire::Target { kind: target.to_owned(), id: args.id.clone() };
        let how = args::RevokeHow { force: args.force, ..args::RevokeHow::default() };
        let preview = revoke::preview(&mut client, &target, &how).await?;
        if asking == Asking::OnlyShow {
            return printed(context, &preview);
        }
        output::aside(&preview.table());
    }
    asking.typed(&output::clean(&format!("This deletes {} and ends all of these credentials, for good.", args.id)))?;
    let query = Query::default().with("force", args.force.then_some("true"));
    change(context, &mut client, Method::DELETE, &format!("{}{query}", at(kind, &args.id))).await
}

async fn lock(context: &Context, kind: &str, args: &args::Lock, verb: &str) -> Result<Exit, Failure> {
    let body = wire::LockRequest { cluster: args.cluster.as_ref().map(ToString::to_string) };
    let path = format!("{}/{verb}", at(kind, &args.id));
    let done: wire::Changed = context.client()?.change(Method::POST, &path, Some(&body), Duration::ZERO).await?;
    printed(context, &done)
}

async fn change(context: &Context, client: &mut Client, method: Method, path: &str) -> Result<Exit, Failure> {
    let done: wire::Changed = client.change(method, path, None::<&()>, Duration::ZERO).await?;
    printed(context, &done)
}

async fn add<B, T>(context: &Context, path: &str, body: &B) -> Result<Exit, Failure>
where
    B: serde::Serialize + Sync,
    T: serde::de::DeserializeOwned + Shown,
{
    let added: T = context.client()?.change(Method::POST, path, Some(body), Duration::ZERO).await?;
    printed(context, &added)
}

async fn list(context: &Context, path: &str) -> Result<Exit, Failure> {
    let items: Vec<wire::Identity> = context.client()?.all(path, &Query::default()).await?;
    printed(context, &List { items })
}

async fn show(context: &Context, kind: &str, id: &str) -> Result<Exit, Failure> {
    let found: wire::Identity = context.client()?.get(&at(kind, id)).await?;
    printed(context, &found)
}

fn printed(context: &Context, value: &impl Shown) -> Result<Exit, Failure> {
    output::print(context.format(), value)?;
    Ok(Exit::Done)
}

fn at(kind: &str, id: &str) -> String {
    format!("{kind}/{}", segment(id))
}

const USERS: &str = "/v1/users";
const AGENCIES: &str = "/v1/agencies";
const GROUPS: &str = "/v1/groups";
