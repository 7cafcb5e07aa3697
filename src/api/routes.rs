//! The table of the management API: every route, the permission it needs, its handler.
//!
//! A route without a permission cannot be written down.

use std::collections::HashMap;
use std::sync::OnceLock;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Api;
use super::management::{authorities, certificates, clusters, groups, identities, revocations, root, status};
use super::proxies::{join, look_up, manage};
use crate::access::{Actor, Permission};
use crate::command::{Code, Rejected};
use crate::engine::Repeatable;
use crate::journal::IdentityKind;
use crate::standing::Revision;

/// One route.
pub struct Route {
    /// `GET`, `POST`, `PATCH` or `DELETE`.
    pub method: Method,
    /// The path, with `{names}` for what varies.
    pub path: &'static str,
    /// What whoever asks must be allowed to do; the wish that the handler builds asks for the same or more.
    pub permission: Permission,
    /// What answers.
    pub handler: Handler,
}

/// What answers a request.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Answers by itself, on a blocking thread.
    Plain(fn(&Api, &Call) -> Result<Reply, Rejected>),
    /// Commits on a blocking thread, then waits for the proxies.
    Revoke,
    /// Commits, waits for the proxies, commits again.
    Rotate,
    /// Talks with a proxy for as long as it follows.
    Follow,
}

/// A request, read and authenticated.
#[derive(Debug)]
pub struct Call {
    /// Who asks.
    pub actor: Actor,
    /// What varies in the path, percent-decoded.
    pub parameters: HashMap<String, String>,
    /// The query, percent-decoded.
    pub query: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// Set when the client may send it again.
    pub repeatable: Option<Repeatable>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Whether something new is there.
    pub is_created: bool,
    /// The body, in JSON.
    pub body: Vec<u8>,
    /// The revision it reflects.
    pub revision: Revision,
}

impl Reply {
    /// An answer with this body.
    pub fn of(body: &impl Serialize, revision: Revision) -> Result<Self, Rejected> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Rejected::new(Code::Internal, format!("an answer cannot be written: {error}")))?;
        Ok(Self { is_created: false, body, revision })
    }

    /// The same for something that was made.
    pub fn created(body: &impl Serialize, revision: Revision) -> Result<Self, Rejected> {
        Ok(Self { is_created: true, ..Self::of(body, revision)? })
    }
}

impl Call {
    /// The body as a request; an empty one stands for `{}`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Rejected> {
        let body = if self.body.is_empty() { b"{}".as_slice() } else { &self.body };
        serde_json::from_slice(body)
            .map_err(|error| Rejected::invalid(format!("the request's JSON is refused: {error}")))
    }

    /// What varies in the path.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// A value of the query, parsed.
    pub fn asked<T>(&self, name: &str) -> Result<Option<T>, Rejected>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let Some(text) = self.query.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| Rejected::invalid(format!("{name}: {error}")))
    }

    /// How many rows are wanted: at most 1000, 200 where nothing is said.
    pub fn limit(&self) -> Result<usize, Rejected> {
        let limit: usize = self.asked("limit")?.unwrap_or(200);
        if (1..=1000).contains(&limit) {
            Ok(limit)
        } else {
            Err(Rejected::invalid(format!("limit: wanted 1 to 1000, found {limit}")))
        }
    }
}

/// Where a proxy joins: the one place that asks for the secret of a token in `Authorization: Bearer` instead of a
/// client certificate.
pub const JOIN: &str = "/v1/proxies/join";

/// Every route.
pub fn table() -> Vec<Route> {
    use Handler::{Follow, Plain, Revoke, Rotate};
    use Permission as P;
    let route = |method, path, permission, handler| Route { method, path, permission, handler };
    vec![
        route(Method::GET, "/v1/status", P::StatusRead, Plain(status::show)),
        route(Method::POST, "/v1/certificates", P::CertificateIssue, Plain(certificates::issue)),
        route(Method::GET, "/v1/certificates", P::CertificateRead, Plain(certificates::list)),
        route(Method::GET, "/v1/certificates/{reference}", P::CertificateRead, Plain(certificates::show)),
        route(Method::POST, "/v1/revocations", P::IdentityRevoke, Revoke),
        route(
            Method::GET,
            "/v1/users",
            P::IdentityList,
            Plain(|api, call| identities::list(api, call, IdentityKind::User)),
        ),
        route(Method::POST, "/v1/users", P::IdentityWrite, Plain(identities::add_user)),
        route(
            Method::GET,
            "/v1/users/{id}",
            P::IdentityRead,
            Plain(|api, call| identities::show(api, call, IdentityKind::User)),
        ),
        route(
            Method::PATCH,
            "/v1/users/{id}",
            P::IdentityWrite,
            Plain(|api, call| identities::edit(api, call, IdentityKind::User)),
        ),
        route(
            Method::DELETE,
            "/v1/users/{id}",
            P::IdentityWrite,
            Plain(|api, call| identities::delete(api, call, IdentityKind::User)),
        ),
        route(
            Method::POST,
            "/v1/users/{id}/lock",
            P::IdentityLock,
            Plain(|api, call| revocations::lock(api, call, IdentityKind::User)),
        ),
        route(
            Method::POST,
            "/v1/users/{id}/unlock",
            P::IdentityLock,
            Plain(|api, call| revocations::unlock(api, call, IdentityKind::User)),
        ),
        route(
            Method::GET,
            "/v1/agencies",
            P::IdentityList,
            Plain(|api, call| identities::list(api, call, IdentityKind::Agency)),
        ),
        route(Method::POST, "/v1/agencies", P::IdentityWrite, Plain(identities::add_agency)),
        route(
            Method::GET,
            "/v1/agencies/{id}",
            P::IdentityRead,
            Plain(|api, call| identities::show(api, call, IdentityKind::Agency)),
        ),
        route(
            Method::PATCH,
            "/v1/agencies/{id}",
            P::IdentityWrite,
            Plain(|api, call| identities::edit(api, call, IdentityKind::Agency)),
        ),
        route(
            Method::DELETE,
            "/v1/agencies/{id}",
            P::IdentityWrite,
            Plain(|api, call| identities::delete(api, call, IdentityKind::Agency)),
        ),
        route(
            Method::POST,
            "/v1/agencies/{id}/lock",
            P::IdentityLock,
            Plain(|api, call| revocations::lock(api, call, IdentityKind::Agency)),
        ),
        route(
            Method::POST,
            "/v1/agencies/{id}/unlock",
            P::IdentityLock,
            Plain(|api, call| revocations::unlock(api, call, IdentityKind::Agency)),
        ),
        route(Method::GET, "/v1/groups", P::GroupRead, Plain(groups::list)),
        route(Method::GET, "/v1/groups/{name}", P::GroupRead, Plain(groups::show)),
        route(Method::DELETE, "/v1/groups/{name}", P::GroupWrite, Plain(groups::delete)),
        route(Method::GET, "/v1/clusters", P::ClusterRead, Plain(clusters::list)),
        route(Method::POST, "/v1/clusters", P::ClusterWrite, Plain(clusters::add)),
        route(Method::GET, "/v1/clusters/{name}", P::ClusterRead, Plain(clusters::show)),
        route(Method::POST, "/v1/clusters/{name}/rotations", P::ClusterWrite, Rotate),
        route(Method::POST, "/v1/clusters/{name}/requests", P::ClusterWrite, Plain(authorities::request)),
        route(Method::POST, "/v1/root/list-requests", P::ClusterWrite, Plain(root::request_list)),
        route(Method::POST, "/v1/root/lists", P::ClusterWrite, Plain(root::publish_list)),
        route(Method::POST, "/v1/certificates/imports", P::ClusterWrite, Plain(authorities::import)),
        route(Method::GET, "/v1/proxies", P::ProxyRead, Plain(manage::list)),
        route(Method::POST, "/v1/proxies/tokens", P::ProxyWrite, Plain(manage::invite)),
        route(Method::DELETE, "/v1/proxies/{name}", P::ProxyWrite, Plain(manage::remove)),
        route(Method::POST, JOIN, P::ProxyJoin, Plain(join::join)),
        route(Method::POST, "/v1/proxies/certificates", P::ProxyFollow, Plain(join::renew)),
        route(Method::GET, "/v1/proxies/credentials/{fingerprint}", P::ProxyFollow, Plain(look_up::look_up)),
        route(Method::POST, "/v1/feed", P::ProxyFollow, Follow),
        route(Method::GET, "/metrics", P::MetricsRead, Plain(status::metrics)),
    ]
}

/// What a route takes in its query.
pub fn known_query(method: &Method, path: &str) -> &'static [&'static str] {
    match (method, path) {
        (&Method::GET, "/v1/certificates") => &["id", "cluster", "expiring_seconds", "all", "after", "limit"],
        (&Method::GET, "/v1/users" | "/v1/agencies" | "/v1/groups" | "/v1/clusters" | "/v1/proxies") => {
            &["after", "limit"]
        }
        (&Method::DELETE, _) => &["force"],
        _ => &[],
    }
}

/// Routes by path, then by method.
#[derive(Default)]
pub struct Router {
    paths: matchit::Router<Vec<Route>>,
}

/// What a path leads to.
pub struct Found<'r> {
    /// The routes of this path.
    pub routes: &'r [Route],
    /// What varies in it, still percent-encoded.
    pub parameters: Vec<(String, String)>,
}

impl Router {
    /// The router over [`table`].
    pub fn get() -> &'static Self {
        static ROUTER: OnceLock<Router> = OnceLock::new();
        ROUTER.get_or_init(|| {
            let mut by_path: HashMap<&'static str, Vec<Route>> = HashMap::new();
            for route in table() {
                by_path.entry(route.path).or_default().push(route);
            }
            let mut paths = matchit::Router::new();
            for (path, routes) in by_path {
                // A path that clashes is a fault that `every_route_can_be_reached` finds.
                if let Err(error) = paths.insert(path, routes) {
                    tracing::error!(path, %error, "a route cannot be reached");
                }
            }
            Self { paths }
        })
    }

    /// What a raw path leads to.
    pub fn find(&self, path: &str) -> Option<Found<'_>> {
        let found = self.paths.at(path).ok()?;
        let parameters = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Found { routes: found.value, parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_can_be_reached() {
        for route in table() {
            let path = route.path.replace("{id}", "alice").replace("{name}", "a%2Cb").replace("{reference}", "0a");
            let found = Router::get().find(&path).unwrap_or_else(|| panic!("{path} leads nowhere"));
            assert!(
                found.routes.iter().any(|found| found.method == route.method && found.path == route.path),
                "{path}"
            );
        }
    }
}
