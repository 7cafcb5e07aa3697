//! `portcullis status` and `portcullis cert`: certificates on record.

use super::args::{self, Cert};
use super::client::{Client, Query, segment};
use super::context::Context;
use super::credential;
use super::exit::{Exit, Failure};
use super::output::{self, List};
use crate::api::wire;

pub(super) async fn run(context: &Context, command: Cert) -> Result<Exit, Failure> {
    match command {
        Cert::List(args) => list(context, &args).await,
        Cert::Show(args) => status(context, &args.credential).await,
    }
}

pub(super) async fn status(context: &Context, text: &str) -> Result<Exit, Failure> {
    let named = credential::named(text)?;
    let found: wire::Certificate = context.client()?.get(&format!("/v1/certificates/{}", segment(&named))).await?;
    output::print(context.format(), &found)?;
    Ok(Exit::Done)
}

async fn list(context: &Context, args: &args::CertList) -> Result<Exit, Failure> {
    let expiring = args.expiring.map(|within| within.as_secs().to_string());
    let query = Query::default()
        .with("id", args.id.as_deref())
        .with("cluster", args.cluster.as_ref().map(|name| name.as_str()))
        .with("expiring_seconds", expiring.as_deref())
        .with("all", args.all.then_some("true"));
    let items = all(&mut context.client()?, &query).await?;
    output::print(context.format(), &List { items })?;
    Ok(Exit::Done)
}

/// Every certificate that a query finds.
pub(super) async fn all(client: &mut Client, query: &Query) -> Result<Vec<wire::Certificate>, Failure> {
    client.all("/v1/certificates", query).await
}
