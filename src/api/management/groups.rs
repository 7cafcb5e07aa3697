//! Groups: list, show, delete.

use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::command::{Code, Rejected};
use crate::directory::groups::DeleteGroup;
use crate::directory::look::{GroupView, LookAtGroups};

/// `GET /v1/groups`.
pub fn list(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let limit = call.limit()?;
    let done = api.engine.ask(&call.actor, &LookAtGroups { name: None, after: call.asked("after")?, limit })?;
    let next = (done.outcome.len() == limit).then(|| done.outcome.last().map(|view| view.name.to_string())).flatten();
    let items = done.outcome.into_iter().map(body).collect();
    Reply::of(&wire::Page { items, next }, done.revision)
}

/// `GET /v1/groups/{name}`.
pub fn show(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let name = call.parameter("name").parse()?;
    let done = api.engine.ask(&call.actor, &LookAtGroups { name: Some(name), after: None, limit: 1 })?;
    let group = done.outcome.into_iter().next();
    let group = group.ok_or_else(|| Rejected::new(Code::Internal, "a group that was found is not there"))?;
    Reply::of(&body(group), done.revision)
}

/// `DELETE /v1/groups/{name}`.
pub fn delete(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let command = DeleteGroup { name: call.parameter("name").parse()? };
    let done = api.run(call, &command)?;
    let meaning = format!("{} is deleted: every credential that carries it is dead, and nobody is in it", command.name);
    Reply::of(&wire::Changed { revision: done.revision.to_string(), meaning }, done.revision)
}

fn body(group: GroupView) -> wire::Group {
    wire::Group { name: group.name.to_string(), members: group.members.iter().map(ToString::to_string).collect() }
}
