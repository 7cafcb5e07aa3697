//! `portcullis issue`: a certificate as PEM, bundle or profile.

use std::time::Duration;

use http::Method;

use super::args;
use super::bundle;
use super::client::Client;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::files::Pending;
use super::format::Format;
use super::keys::{self, NewKey};
use super::output;
use crate::api::wire;
use crate::config::profile::Profile;
use crate::config::url::ServiceUrl;
use crate::ident::ClusterName;
use crate::secret::Secret;

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) id: String,
    pub(super) cluster: Option<String>,
    pub(super) management: bool,
    pub(super) csr: Option<String>,
    pub(super) server_key: bool,
    pub(super) lifetime: Option<Duration>,
}

pub(super) async fn run(context: &Context, args: args::Issue) -> Result<Exit, Failure> {
    check(context, &args)?;
    let mut client = context.client()?;
    let csr = args.csr.as_deref().map(keys::read_request).transpose()?;
    let key = if csr.is_none() && !args.server_key { Some(NewKey::make()?) } else { None };
    let mut pending = args.out.as_deref().map(Pending::create).transpose()?;
    if let (Some(pending), Some(key)) = (&mut pending, &key) {
        pending.keep_key(key.pem())?;
    }
    let wish = Wish {
        cluster: args.cluster.as_ref().map(ClusterName::to_string),
        id: args.id,
        management: args.management,
        csr,
        server_key: args.server_key,
        lifetime: args.lifetime,
    };
    let answer = ask(&mut client, &wish, key.as_ref()).await;
    let (mut answer, pending) = settled(answer, pending)?;
    let key = match &key {
        Some(key) => Some(Secret::new(key.pem().expose().clone())),
        None => answer.private_key_pem.take().map(Secret::new),
    };
    let content = if args.bundle {
        Secret::new(bundle::pack(&answer, key.as_ref())?)
    } else {
        text(&answer, key.as_ref(), args.management, client.server())
    };
    match pending {
        Some(pending) => {
            let serial = answer.certificate.serial.clone();
            let lost = format!("the certificate {serial} was issued and is not in the file: revoke it");
            pending.finish(content.expose()).map_err(|error| error.adding(&lost))?;
            let path = args.out.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            output::words(&format!("wrote {path}: certificate {serial}, valid until {}", answer.certificate.not_after));
            if let Some(format) = &context.format {
                output::print(format, &answer)?;
            }
        }
        None => match &context.format {
            None | Some(Format::Table { .. }) => output::write_out(content.expose())?,
            Some(format) => {
                answer.private_key_pem = key.map(|key| key.expose().clone());
                output::print(format, &answer)?;
            }
        },
    }
    Ok(Exit::Done)
}

/// Asks for a certificate; says what was not taken from the request.
pub(super) async fn ask(client: &mut Client, wish: &Wish, key: Option<&NewKey>) -> Result<wire::IssueAnswer, Failure> {
    let request = wire::IssueRequest {
        id: wish.id.clone(),
        cluster: wish.cluster.clone(),
        management: wish.management,
        csr: match key {
            Some(key) => Some(key.request()?),
            None => wish.csr.clone(),
        },
        server_key: wish.server_key,
        lifetime_seconds: wish.lifetime.map(|lifetime| lifetime.as_secs()),
    };
    let answer = client.change(Method::POST, "/v1/certificates", Some(&request), Duration::ZERO).await;
    let answer: wire::IssueAnswer = answer?;
    for ignored in &answer.ignored {
        output::words(&format!("not taken from the request: {ignored}"));
    }
    if key.is_some_and(|key| !key.fits(&answer.certificate_pem)) {
        return Err(Failure::failed("the authority answered with a certificate for another key; it was not kept"));
    }
    Ok(answer)
}

/// After an answer: on a refusal the file goes; if nobody knows, the key in it stays.
pub(super) fn settled(
    answer: Result<wire::IssueAnswer, Failure>,
    pending: Option<Pending>,
) -> Result<(wire::IssueAnswer, Option<Pending>), Failure> {
    match (answer, pending) {
        (Ok(answer), pending) => Ok((answer, pending)),
        (Err(failure), Some(pending)) if failure.may_have_happened() => {
            let path = pending.leave();
            Err(failure.adding(&format!("the new key is in {}", path.display())))
        }
        (Err(failure), _) => Err(failure),
    }
}

/// A profile for a management certificate whose key is here, otherwise PEM: the key, the certificate, its issuer.
fn text(
    answer: &wire::IssueAnswer,
    key: Option<&Secret<String>>,
    management: bool,
    server: &ServiceUrl,
) -> Secret<Vec<u8>> {
    let chain = format!("{}{}", answer.certificate_pem, answer.issuer_pem);
    match key {
        Some(key) if management => {
            let key = Secret::new(key.expose().clone());
            let profile = Profile { server: server.clone(), ca: answer.ca_pem.clone(), certificate: chain, key };
            Secret::new(profile.to_toml().expose().clone().into_bytes())
        }
        Some(key) => Secret::new(format!("{}{chain}", key.expose()).into_bytes()),
        None => Secret::new(chain.into_bytes()),
    }
}

fn check(context: &Context, args: &args::Issue) -> Result<(), Failure> {
    use std::io::IsTerminal;
    let to_stdout = args.out.is_none();
    let drops_key = matches!(context.format, Some(Format::Name | Format::Template(_)));
    if to_stdout && drops_key && args.csr.is_none() {
        return Err(Failure::usage("this format would drop the key: give --out FILE with it"));
    }
    if to_stdout && args.bundle && (context.format.is_some() || std::io::stdout().is_terminal()) {
        return Err(Failure::usage("a bundle is a zip file: give --out FILE with it"));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An answer as the authority gives it, with PEM that holds nothing.
    pub(in crate::cli) fn answer(id: &str) -> wire::IssueAnswer {
        let pem = |content: &str| format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n");
        let revision = "1700000000-7".to_owned();
        wire::IssueAnswer {
            certificate: wire::Certificate {
                serial: "4a".repeat(20),
                credential_id: format!("X509SHA256={}", "0b".repeat(32)),
                id: id.to_owned(),
                cluster: Some("prod".to_owned()),
                role: "user".to_owned(),
                groups: vec!["developers".to_owned()],
                agency: None,
                issuer: "prod-1".to_owned(),
                not_before: "2026-11-22T04:00:00Z".to_owned(),
                not_after: "2026-12-22T03:59:59Z".to_owned(),
                revision: revision.clone(),
                imported: false,
                status: wire::Status { state: "good".to_owned(), since: None, reason: None, revision },
            },
            certificate_pem: pem("AA=="),
            issuer_pem: pem("AQ=="),
            ca_pem: pem("Ag=="),
            server: Some("https://prod.example:7444".to_owned()),
            private_key_pem: None,
            ignored: Vec::new(),
        }
    }

    fn key() -> Secret<String> {
        Secret::new("-----BEGIN PRIVATE KEY-----\nAw==\n-----END PRIVATE KEY-----\n".to_owned())
    }

    fn server() -> ServiceUrl {
        ServiceUrl::https("https://authority.example:7443").unwrap()
    }

    #[test]
    fn pem_has_the_key_then_the_certificate_then_its_issuer() {
        let written = text(&answer("ana"), Some(&key()), false, &server());
        let written = String::from_utf8(written.expose().clone()).unwrap();
        let places = ["Aw==", "AA==", "AQ=="].map(|content| written.find(content).unwrap());
        assert!(places.is_sorted(), "{written}");
    }

    #[test]
    fn a_management_certificate_comes_as_a_profile() {
        let written = text(&answer("ana"), Some(&key()), true, &server());
        let profile = Profile::from_toml(std::str::from_utf8(written.expose()).unwrap()).unwrap();
        assert_eq!(profile.server, server());
        assert_eq!(profile.ca, answer("ana").ca_pem);
        assert_eq!(profile.key.expose(), key().expose());
    }

    #[test]
    fn a_name_alone_would_lose_the_key() {
        let context = Context::new(Some(Format::Name), false, None);
        let args = |line: &str| {
            use clap::Parser;
            match args::Cli::try_parse_from(line.split_whitespace()).unwrap().command {
                args::Command::Issue(args) => args,
                other => panic!("{other:?}"),
            }
        };
        assert!(matches!(check(&context, &args("portcullis issue ana")), Err(Failure::Usage(_))));
        assert!(check(&context, &args("portcullis issue ana --out f")).is_ok());
        assert!(check(&context, &args("portcullis issue ana --csr f")).is_ok());
    }
}
