//! `portcullis cluster`: clusters, and the CAs that issue for them.

use std::time::Duration;

use http::Method;

use super::args::{BroughtCa, Cluster, RevokeCa, RevokeHow, RotateCluster};
use super::client::{Query, segment};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::files::{self, Pending};
use super::format::Format;
use super::output::{self, List, Sheet, Shown};
use super::revoke;
use crate::api::wire;

pub(super) async fn run(context: &Context, command: Cluster) -> Result<Exit, Failure> {
    match command {
        Cluster::Add(args) => {
            let ca = brought(&args.ca)?;
            let is_unlisted = ca.is_some();
            let (name, server) = (args.name.to_string(), args.server.to_string());
            let body = wire::AddCluster { name, server, names: args.names, ca };
            let added: wire::Cluster = context.client()?.change(Method::POST, CLUSTERS, Some(&body), NO_LONGER).await?;
            if is_unlisted {
                caution(&added);
            }
            printed(context, &added)
        }
        Cluster::List => {
            let items: Vec<wire::Cluster> = context.client()?.all(CLUSTERS, &Query::default()).await?;
            printed(context, &List { items })
        }
        Cluster::Show(args) => {
            let found: wire::Cluster = context.client()?.get(&at(args.name.as_str())).await?;
            printed(context, &found)
        }
        Cluster::Rotate(args) => rotate(context, &args).await,
        Cluster::Request(args) => {
            let pending = args.out.as_deref().map(Pending::create).transpose()?;
            let path = format!("{}/requests", at(args.name.as_str()));
            let made: wire::CaRequest = context.client()?.change(Method::POST, &path, None::<&()>, NO_LONGER).await?;
            match pending {
                Some(pending) => {
                    pending.finish(made.csr.as_bytes())?;
                    output::words(&format!("wrote a request for {}: have it signed as a CA", made.issuer));
                    Ok(Exit::Done)
                }
                // As other tools take it, unless something else is asked for.
                None if matches!(context.format(), Format::Table { .. }) => {
                    output::write_out(made.csr.as_bytes())?;
                    Ok(Exit::Done)
                }
                None => printed(context, &made),
            }
        }
        Cluster::RevokeCa(args) => revoke_ca(context, args).await,
    }
}

async fn rotate(context: &Context, args: &RotateCluster) -> Result<Exit, Failure> {
    let wait_ms = args.wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    let body = wire::RotateRequest { ca: brought(&args.ca)?, wait_ms, force: args.force };
    let path = format!("{}/rotations", at(args.name.as_str()));
    let longest = args.wait.unwrap_or(revoke::LONGEST_BOUND);
    let done: wire::Rotated = context.client()?.change(Method::POST, &path, Some(&body), longest).await?;
    output::print(context.format(), &done)?;
    Ok(if done.signs { Exit::Done } else { Exit::NotYetEnforced })
}

async fn revoke_ca(context: &Context, args: RevokeCa) -> Result<Exit, Failure> {
    let RevokeCa { name, generation, reason, comment, no_wait, wait, sure } = args;
    let target = wire::Target { kind: "authority".to_owned(), id: format!("{name}-{generation}") };
    let how = RevokeHow { reason, comment, no_wait, wait, ..RevokeHow::default() };
    revoke::targets_of(context, vec![target], &how, sure).await
}

/// The CA that was named, read; a key is only ever read here.
fn brought(args: &BroughtCa) -> Result<Option<wire::BroughtCa>, Failure> {
    let Some(certificate) = &args.ca_cert else { return Ok(None) };
    let key_pem = args.ca_key.as_deref().map(files::text).transpose()?.map(wire::KeyPem);
    Ok(Some(wire::BroughtCa { certificate_pem: files::text(certificate)?, key_pem, shared: args.shared_ca }))
}

/// What a CA of one's own is not good for, said once when it is brought.
fn caution(cluster: &wire::Cluster) {
    let Some(issuer) = cluster.issuers.iter().rev().find(|issuer| issuer.brought) else { return };
    if issuer.crl.is_none() {
        output::words(&format!("{} may not sign CRLs (no cRLSign): OCSP alone tells of its revocations", issuer.name));
    }
    if cluster.shared_ca {
        output::words("revocations are not enforced at an API server that trusts this CA");
    } else {
        output::words("no API server may trust this CA: its certificates would get in there without the proxy");
    }
    output::words("what it issued before is refused until it is imported: `portcullis cert import`");
}

impl Shown for wire::Rotated {
    fn names(&self) -> Vec<String> {
        vec![self.issuer.clone()]
    }

    fn table(&self) -> Sheet {
        let proxies: Vec<String> = self.proxies.iter().map(revoke::proxy).collect();
        let proxies = if proxies.is_empty() { "none".to_owned() } else { proxies.join("\n") };
        Sheet::pairs(vec![
            ("Cluster", self.cluster.name.clone()),
            ("Issuing CA", self.issuer.clone()),
            ("Signs", (if self.signs { "yes" } else { "not yet" }).to_owned()),
            ("Proxies", proxies),
            ("Meaning", self.meaning.clone()),
        ])
    }
}

impl Shown for wire::CaRequest {
    fn names(&self) -> Vec<String> {
        vec![self.issuer.clone()]
    }

    fn table(&self) -> Sheet {
        Sheet::pairs(vec![("Issuing CA", self.issuer.clone())])
    }
}

fn printed(context: &Context, value: &impl Shown) -> Result<Exit, Failure> {
    output::print(context.format(), value)?;
    Ok(Exit::Done)
}

fn at(name: &str) -> String {
    format!("{CLUSTERS}/{}", segment(name))
}

const CLUSTERS: &str = "/v1/clusters";
const NO_LONGER: Duration = Duration::ZERO;
