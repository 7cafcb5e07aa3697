//! Clusters: add, list, show.

use std::net::IpAddr;

use http::Uri;
use rustls_pki_types::DnsName;

use super::authorities;
use super::certificates::own_cluster;
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::api::wire;
use crate::ca::clusters::{self, NewCluster};
use crate::ca::look::{ClusterView, ListClusters, ShowCluster};
use crate::ca::rows::{AuthorityRow, ClusterRow};
use crate::command::Rejected;
use crate::ident::{Fingerprint, IssuerName};
use crate::standing::Revision;
use crate::x509::pem::{self, Label};

/// `GET /v1/clusters`.
pub fn list(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    // To the holder of a cluster's certificate there is that cluster and no other.
    if let Some(own) = own_cluster(&call.actor) {
        let done = api.engine.ask(&call.actor, &ShowCluster(own))?;
        return Reply::of(&wire::Page { items: vec![body(api, &done.outcome)], next: None }, done.revision);
    }
    let done = api.engine.ask(&call.actor, &ListClusters)?;
    let items = done.outcome.iter().map(|view| body(api, view)).collect();
    Reply::of(&wire::Page { items, next: None }, done.revision)
}

/// `GET /v1/clusters/{name}`.
pub fn show(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let name = call.parameter("name").parse()?;
    let done = api.engine.ask(&call.actor, &ShowCluster(name))?;
    Reply::of(&body(api, &done.outcome), done.revision)
}

/// `POST /v1/clusters`.
pub fn add(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let request: wire::AddCluster = call.read()?;
    let (new, source) = (checked(&request)?, authorities::source(request.ca.as_ref())?);
    let done = clusters::add(&api.engine, &call.actor, call.repeatable.as_ref(), &new, source, &api.authorities)?;
    authorities::begin(api, &IssuerName::of_cluster(&new.name, 1), done.revision)?;
    let shown = api.engine.ask(&call.actor, &ShowCluster(new.name))?;
    Reply::created(&body(api, &shown.outcome), done.revision)
}

/// The names of a cluster's proxy: that of its address, and the further ones.
fn checked(request: &wire::AddCluster) -> Result<NewCluster, Rejected> {
    let refused = || {
        Rejected::invalid(format!(
            "server: wanted the proxy's address such as https://proxy.example.com:7444, found \"{}\"",
            request.server.escape_debug()
        ))
    };
    let address: Uri = request.server.parse().map_err(|_| refused())?;
    let host = address.host().ok_or_else(refused)?.trim_start_matches('[').trim_end_matches(']').to_owned();
    if address.scheme_str() != Some("https") || !matches!(address.path(), "" | "/") || address.query().is_some() {
        return Err(refused());
    }
    let mut names = vec![host];
    names.extend(request.names.iter().cloned());
    names.dedup();
    for name in &names {
        let is_name = name.parse::<IpAddr>().is_ok() || DnsName::try_from(name.as_str()).is_ok();
        if !is_name {
            return Err(Rejected::invalid(format!(
                "names: wanted a DNS name or an address, found \"{}\"",
                name.escape_debug()
            )));
        }
    }
    let server = request.server.trim_end_matches('/').to_owned();
    Ok(NewCluster { name: request.name.parse()?, server, names })
}

/// A cluster as a body.
pub(super) fn body(api: &Api, view: &ClusterView) -> wire::Cluster {
    let issuer = |row: &AuthorityRow| wire::Issuer {
        name: row.name.to_string(),
        credential_id: Fingerprint::of(&row.der).to_string(),
        not_after: row.not_after.to_string(),
        certificate_pem: pem::write(Label::Certificate, &row.der),
        state: state(&view.cluster, row).to_owned(),
        brought: row.is_brought,
        crl: row.signs_lists().then(|| api.authorities.places.crl(&row.name)),
    };
    let name = &view.cluster.name;
    let embedded = api.proxies.all().into_iter().filter(|proxy| proxy.cluster == *name).map(|proxy| proxy.name);
    let connected = api.feed.states(Revision::default()).into_iter();
    let connected = connected.filter(|state| state.is_connected && state.row.cluster == *name);
    let mut proxies: Vec<String> = embedded.chain(connected.map(|state| state.row.proxy.to_string())).collect();
    proxies.sort_unstable();
    proxies.dedup();
    wire::Cluster {
        name: view.cluster.name.to_string(),
        server: view.cluster.server.clone(),
        names: view.cluster.names.clone(),
        issuers: view.authorities.iter().map(issuer).collect(),
        shared_ca: view.cluster.shared_ca,
        proxies,
    }
}

fn state(cluster: &ClusterRow, row: &AuthorityRow) -> &'static str {
    if row.retired {
        "revoked"
    } else if cluster.next.as_ref() == Some(&row.name) {
        "next"
    } else if cluster.issuers.last() == Some(&row.name) {
        "signs"
    } else {
        "stands"
    }
}
