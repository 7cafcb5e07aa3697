//! `portcullis renew`: another certificate, with another key, in the place of the one in a file.

use super::args;
use super::client::Client;
use super::context::Context;
use super::credential::Held;
use super::exit::{Exit, Failure};
use super::files::{self, Pending};
use super::issue::{self, Wish};
use super::keys::NewKey;
use super::output;
use crate::api::wire;
use crate::config::profile::Profile;
use crate::config::url::ServiceUrl;
use crate::secret::Secret;
use crate::x509::certificate::Certificate;
use crate::x509::extensions::SubjectAltName;

pub(super) async fn run(context: &Context, args: args::Renew) -> Result<Exit, Failure> {
    let mut pending = Pending::replace(&args.file)?;
    let held = Held::read(&args.file, pending.old().unwrap_or_default(), args.context.as_deref())?;
    let (id, management) = holder(&held)?;
    let (server, ca) = where_to(context, &args, &held)?;
    let key =
        key_of(&held).ok_or_else(|| Failure::failed("wanted the private key beside the certificate, found none"))?;
    let mut client = Client::new(server, &ca, held.certificate(), &key)?;
    let new = NewKey::make()?;
    pending.keep_key(new.pem())?;
    let wish = Wish { id, management, lifetime: args.lifetime, ..Wish::default() };
    let answer = issue::ask(&mut client, &wish, Some(&new)).await;
    let (answer, pending) = issue::settled(answer, Some(pending))?;
    let serial = &answer.certificate.serial;
    let lost = format!("the certificate {serial} was issued and is not in the file: revoke it");
    let content = content(held, &answer, new.pem()).map_err(|error| error.adding(&lost))?;
    let backup = match pending {
        Some(pending) => pending.finish(content.expose().as_bytes()).map_err(|error| error.adding(&lost))?,
        None => None,
    };
    let backup = backup.map(|backup| format!("; what it was is in {}", backup.display())).unwrap_or_default();
    let until = &answer.certificate.not_after;
    output::words(&format!("renewed {}: certificate {serial}, valid until {until}{backup}", args.file.display()));
    if let Some(format) = &context.format {
        output::print(format, &answer)?;
    }
    Ok(Exit::Done)
}

/// Whose certificate it is, and whether it is a management certificate (said by its URI, `urn:portcullis:<role>:…`).
fn holder(held: &Held) -> Result<(String, bool), Failure> {
    let leaf =
        Certificate::from_der(&held.leaf()?).map_err(|error| Failure::failed(format!("the certificate: {error}")))?;
    let id = match leaf.subject.common_names().as_slice() {
        [id] => (*id).to_owned(),
        _ => return Err(Failure::failed("wanted a certificate with one CN, the ID of its holder; found another")),
    };
    let management = leaf.extensions.subject_alt_names.iter().any(|name| match name {
        SubjectAltName::Uri(uri) => uri.starts_with("urn:portcullis:management:"),
        _ => false,
    });
    Ok((id, management))
}

/// The management API and its CA: what was typed, what the file says, what the profile says.
fn where_to(context: &Context, args: &args::Renew, held: &Held) -> Result<(ServiceUrl, String), Failure> {
    let typed_ca = args.ca.as_deref().map(files::read).transpose()?;
    let typed_ca = typed_ca.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (held_server, held_ca) = match held {
        Held::Profile(profile) => (Some(profile.server.clone()), Some(profile.ca.clone())),
        Held::Kubeconfig(_, credential) => (None, credential.ca.clone()),
        Held::Pem { .. } => (None, None),
    };
    let (server, ca) = (args.server.clone().or(held_server), typed_ca.or(held_ca));
    match (server, ca) {
        (Some(server), Some(ca)) => Ok((server, ca)),
        (server, ca) => {
            let more = "say where the management API is with --server URL, and its CA with --ca FILE if the file does not hold it";
            let profile = context.profile().map_err(|error| error.adding(more))?;
            Ok((server.unwrap_or(profile.server), ca.unwrap_or(profile.ca)))
        }
    }
}

fn key_of(held: &Held) -> Option<Secret<String>> {
    let key = match held {
        Held::Kubeconfig(_, credential) => credential.key.as_ref(),
        Held::Profile(profile) => Some(&profile.key),
        Held::Pem { key, .. } => key.as_ref(),
    };
    key.map(|key| Secret::new(key.expose().clone()))
}

/// The file's new content, in its own form.
fn content(held: Held, answer: &wire::IssueAnswer, key: &Secret<String>) -> Result<Secret<String>, Failure> {
    let chain = format!("{}{}", answer.certificate_pem, answer.issuer_pem);
    match held {
        Held::Kubeconfig(mut document, credential) => {
            document.set_credential(&credential.user, &chain, key);
            let text = document.text().map_err(Failure::failed)?;
            Ok(Secret::new(text.to_string()))
        }
        Held::Profile(profile) => {
            let key = Secret::new(key.expose().clone());
            Ok(Profile { server: profile.server, ca: profile.ca, certificate: chain, key }.to_toml())
        }
        Held::Pem { .. } => Ok(Secret::new(format!("{}{chain}", key.expose()))),
    }
}
