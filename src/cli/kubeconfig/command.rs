//! `portcullis kubeconfig`: a certificate as the file kubectl reads.

use super::document::Document;
use crate::api::wire;
use crate::cli::args;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::files::Pending;
use crate::cli::format::Format;
use crate::cli::issue::{self, Wish};
use crate::cli::keys::NewKey;
use crate::cli::output;
use crate::ident::{ClusterName, IdentityId};
use crate::kube::kubeconfig::{Access, Kubeconfig};
use crate::secret::Secret;

pub(in crate::cli) async fn run(context: &Context, args: args::Kubeconfig) -> Result<Exit, Failure> {
    let drops_key = matches!(context.format, Some(Format::Name | Format::Template(_)));
    if args.out.is_none() && args.merge.is_none() && drops_key {
        return Err(Failure::usage("this format would drop the key: give --out FILE or --merge FILE with it"));
    }
    let mut client = context.client()?;
    let mut pending = match (&args.out, &args.merge) {
        (Some(path), _) => Some(Pending::create(path)?),
        (None, Some(path)) => Some(Pending::replace_or_create(path)?),
        (None, None) => None,
    };
    // Read before anything is issued, so that a file that cannot be merged into costs no certificate.
    let there = pending.as_ref().and_then(Pending::old).filter(|old| !old.trim_ascii().is_empty());
    let there = there.map(Document::read).transpose().map_err(Failure::failed)?;
    let key = NewKey::make()?;
    if let Some(pending) = &mut pending {
        pending.keep_key(key.pem())?;
    }
    let cluster = args.cluster.as_ref().map(ClusterName::to_string);
    let wish = Wish { id: args.id, cluster, lifetime: args.lifetime, ..Wish::default() };
    let answer = issue::ask(&mut client, &wish, Some(&key)).await;
    let (answer, pending) = issue::settled(answer, pending)?;
    let fresh = fresh(&answer, key.pem())?;
    let Some(pending) = pending else {
        let value = Document::read(fresh.expose().as_bytes()).map_err(Failure::failed)?;
        let text = if context.format == Some(Format::Json) { value.json()? } else { fresh.expose().clone() };
        output::write_out(text.as_bytes())?;
        return Ok(Exit::Done);
    };
    let file = args.merge.as_ref().or(args.out.as_ref()).map(|path| path.display().to_string()).unwrap_or_default();
    let serial = &answer.certificate.serial;
    let issued = format!("the certificate {serial} was issued and is not in {file}: revoke it");
    let lost = |error: String| Failure::failed(error).adding(&issued);
    match there {
        None => {
            pending.finish(fresh.expose().as_bytes()).map_err(|error| error.adding(&issued))?;
            output::words(&format!("wrote {file}; try: kubectl --kubeconfig {file} auth whoami"));
        }
        Some(mut there) => {
            let newer = Document::read(fresh.expose().as_bytes()).map_err(lost)?;
            let merged = there.merge(&newer).map_err(lost)?;
            let text = there.text().map_err(lost)?;
            let backup = pending.finish(text.as_bytes()).map_err(|error| error.adding(&issued))?;
            if let Some(name) = merged.renamed_cluster {
                output::words(&format!("the cluster's name is taken in {file}, so its entry is called {name}"));
            }
            if merged.rewritten {
                output::words(&format!("{file} was written anew: its comments are in the backup only"));
            }
            let backup = backup.map(|backup| format!("; backup in {}", backup.display())).unwrap_or_default();
            output::words(&format!(
                "merged into {file}{backup}; try: kubectl --context {} auth whoami",
                merged.context
            ));
        }
    }
    if let Some(format) = &context.format {
        output::print(format, &answer)?;
    }
    Ok(Exit::Done)
}

/// The kubeconfig for an answer.
pub(in crate::cli) fn fresh(answer: &wire::IssueAnswer, key: &Secret<String>) -> Result<Secret<String>, Failure> {
    let absent = |what: &str| Failure::failed(format!("the authority's answer has no {what}"));
    let cluster = answer.certificate.cluster.as_deref().ok_or_else(|| absent("cluster"))?;
    let cluster: ClusterName = cluster.parse().map_err(Failure::failed)?;
    let id: IdentityId = answer.certificate.id.parse().map_err(Failure::failed)?;
    let server = answer.server.as_deref().ok_or_else(|| absent("address of the cluster's proxy"))?;
    let server = crate::config::url::ServiceUrl::https(server).map_err(Failure::failed)?.to_string();
    let certificates = format!("{}{}", answer.certificate_pem, answer.issuer_pem);
    let access = Access {
        cluster: &cluster,
        server: &server,
        certificate_authority: &answer.ca_pem,
        id: &id,
        certificates: &certificates,
        key,
    };
    Ok(Kubeconfig::of(&access).to_yaml())
}
