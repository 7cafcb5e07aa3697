//! `portcullis status` and `portcullis cert`: certificates on record.

use std::path::Path;
use std::time::Duration;

use http::Method;

use super::args::{self, Cert, CertImport};
use super::client::{Client, Query, segment};
use super::context::Context;
use super::credential;
use super::exit::{Exit, Failure};
use super::files;
use super::output::{self, List, Sheet, Shown};
use crate::api::wire;
use crate::x509::pem::{self, Label};

pub(super) async fn run(context: &Context, command: Cert) -> Result<Exit, Failure> {
    match command {
        Cert::List(args) => list(context, &args).await,
        Cert::Show(args) => status(context, &args.credential).await,
        Cert::Import(args) => import(context, &args).await,
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

/// Each file on its own, so that one refusal does not keep the others out.
async fn import(context: &Context, args: &CertImport) -> Result<Exit, Failure> {
    let mut client = context.client()?;
    let mut items = Vec::new();
    let mut refused = 0_usize;
    for file in &args.files {
        match import_one(&mut client, file, args).await {
            Ok(answer) => items.push(answer),
            Err(failure) => {
                output::words(&output::clean(&format!("{}: {failure}", file.display())));
                refused += 1;
            }
        }
    }
    output::print(context.format(), &List { items })?;
    if refused > 0 {
        return Err(Failure::failed(format!("{refused} of {} were not imported: see above", args.files.len())));
    }
    Ok(Exit::Done)
}

async fn import_one(client: &mut Client, file: &Path, args: &CertImport) -> Result<wire::ImportAnswer, Failure> {
    let leaf = credential::Held::read(file, &files::read(file)?, None)?.leaf()?;
    let cluster = args.cluster.as_ref().map(ToString::to_string);
    let body = wire::ImportRequest { cluster, certificate_pem: pem::write(Label::Certificate, &leaf) };
    client.change(Method::POST, "/v1/certificates/imports", Some(&body), Duration::ZERO).await
}

impl Shown for List<wire::ImportAnswer> {
    fn names(&self) -> Vec<String> {
        self.items.iter().map(|found| found.certificate.serial.clone()).collect()
    }

    fn table(&self) -> Sheet {
        let rows = self.items.iter().map(|found| {
            let wire::ImportAnswer { certificate, already } = found;
            let what = if *already { "was there" } else { "imported" };
            vec![certificate.id.clone(), certificate.serial.clone(), what.to_owned()]
        });
        Sheet::list(&["ID", "SERIAL", ""], "nothing was imported", rows.collect())
    }
}
