//! Proxies: letting them join, listing and removing them; and what is done on a proxy's own host.

use std::io::Read as _;
use std::time::Duration;

use http::Method;

use super::args;
use super::client::{Query, segment};
use super::confirm::Asking;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::format::Format;
use super::output::{self, List, Sheet, Shown};
use super::settings;
use crate::api::wire;
use crate::app::proxy as app;
use crate::app::proxy::invitation::{Invitation, new_secret};
use crate::config::duration;
use crate::proxy::deny::Denial;
use crate::world::SystemEntropy;

/// Commands that speak to the authority.
pub(super) async fn remote(context: &Context, command: args::Proxy) -> Result<Exit, Failure> {
    match command {
        args::Proxy::Token(args) => token(context, &args).await,
        args::Proxy::List => {
            let items: Vec<wire::Proxy> = context.client()?.all(PROXIES, &Query::default()).await?;
            output::print(context.format(), &List { items })?;
            Ok(Exit::Done)
        }
        args::Proxy::Remove(args) => remove(context, &args).await,
        args::Proxy::Run(_) | args::Proxy::Join(_) | args::Proxy::Deny(_) => {
            Err(Failure::usage("this command does not speak to the authority with a profile"))
        }
    }
}

/// Commands on the proxy's own host.
pub(super) fn local(context: &Context, command: args::Proxy) -> Result<Exit, Failure> {
    match command {
        args::Proxy::Run(args) => {
            let settings = settings::proxy(&args.config)?;
            app::run(&settings, &settings::host(&args.config, settings::proxy)).map_err(Failure::failed)?;
            Ok(Exit::Done)
        }
        args::Proxy::Join(args) => {
            let settings = settings::proxy(&args.config)?;
            let text = if args.string == "-" { typed()? } else { args.string };
            let invitation = Invitation::read(&text).map_err(Failure::failed)?;
            let (proxy, cluster) = app::join(&settings, &invitation).map_err(Failure::failed)?;
            output::words(&format!(
                "{proxy} has joined for the cluster {cluster}\nnext: portcullis proxy run --config …"
            ));
            Ok(Exit::Done)
        }
        args::Proxy::Deny(args) => deny(context, args),
        args::Proxy::Token(_) | args::Proxy::List | args::Proxy::Remove(_) => {
            Err(Failure::usage("this command speaks to the authority"))
        }
    }
}

/// Whether a command is done on the proxy's own host.
pub(super) const fn is_local(command: &args::Proxy) -> bool {
    matches!(command, args::Proxy::Run(_) | args::Proxy::Join(_) | args::Proxy::Deny(_))
}

async fn token(context: &Context, args: &args::ProxyToken) -> Result<Exit, Failure> {
    let (secret, secret_hash) = new_secret(&SystemEntropy).map_err(Failure::failed)?;
    let body = wire::InviteRequest {
        cluster: args.cluster.to_string(),
        name: args.name.as_ref().map(ToString::to_string),
        secret_hash: hex::encode(secret_hash),
    };
    let mut client = context.client()?;
    let invited: wire::Invited =
        client.change(Method::POST, &format!("{PROXIES}/tokens"), Some(&body), Duration::ZERO).await?;
    let ca = hex::decode(&invited.ca_sha256).ok().and_then(|octets| octets.try_into().ok());
    let ca = ca.ok_or_else(|| Failure::failed("the authority's answer has no fingerprint of its CA"))?;
    let text = Invitation { server: client.server().clone(), ca, secret }.to_text();
    let shown = Token {
        proxy: invited.proxy,
        cluster: invited.cluster,
        expires: invited.expires,
        token: text.expose().clone(),
    };
    match context.format() {
        // The string alone, so that it can be piped; the rest is for the eyes.
        Format::Table { .. } => {
            output::words(&format!("for {} of {}, once, until {}", shown.proxy, shown.cluster, shown.expires));
            output::write_out(format!("{}\n", shown.token).as_bytes())?;
        }
        format => output::print(format, &shown)?,
    }
    Ok(Exit::Done)
}

async fn remove(context: &Context, args: &args::RemoveProxy) -> Result<Exit, Failure> {
    let asking = Asking::new(args.sure)?;
    let mut client = context.client()?;
    if asking != Asking::Sure {
        let all: Vec<wire::Proxy> = client.all(PROXIES, &Query::default()).await?;
        let items: Vec<_> = all.into_iter().filter(|found| found.name == args.name.as_str()).collect();
        if asking == Asking::OnlyShow {
            output::print(context.format(), &List { items })?;
            return Ok(Exit::Done);
        }
        output::aside(&List { items }.table());
    }
    asking.typed(&format!("This revokes the certificates of the proxy {}, for good.", args.name))?;
    let path = format!("{PROXIES}/{}", segment(args.name.as_str()));
    let done: wire::Changed = client.change(Method::DELETE, &path, None::<&()>, Duration::ZERO).await?;
    output::print(context.format(), &done)?;
    Ok(Exit::Done)
}

fn deny(context: &Context, args: args::Deny) -> Result<Exit, Failure> {
    let settings = settings::proxy(&args.config)?;
    let Some(id) = args.id else {
        let items = app::denied(&settings).map_err(Failure::failed)?;
        output::print(context.format(), &List { items })?;
        return Ok(Exit::Done);
    };
    let changed = app::deny(&settings, &id, !args.remove).map_err(Failure::failed)?;
    output::words(&output::clean(&match (args.remove, changed) {
        (false, true) => format!("{id} is refused at this proxy; a running one obeys within a second"),
        (false, false) => format!("{id} was refused already"),
        (true, true) => format!("{id} is refused here no more; what the authority says holds again"),
        (true, false) => format!("{id} was not refused here"),
    }));
    Ok(Exit::Done)
}

fn typed() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(MOST_TYPED).read_to_string(&mut text).map_err(Failure::failed)?;
    Ok(text)
}

/// A token as it is shown, once.
#[derive(serde::Serialize)]
struct Token {
    proxy: String,
    cluster: String,
    expires: String,
    token: String,
}

impl Shown for Token {
    fn names(&self) -> Vec<String> {
        vec![self.token.clone()]
    }

    fn table(&self) -> Sheet {
        Sheet::pairs(vec![("Token", self.token.clone())])
    }
}

impl Shown for List<wire::Proxy> {
    fn names(&self) -> Vec<String> {
        self.items.iter().map(|found| found.name.clone()).collect()
    }

    fn table(&self) -> Sheet {
        let rows = self.items.iter().map(|found| {
            let newest = found.processes.iter().min_by_key(|process| (!process.connected, process.heard_ms));
            let told = |told: Option<String>| told.unwrap_or_else(|| "-".to_owned());
            let milliseconds = |of: fn(&wire::ProxyProcess) -> u64| {
                told(newest.map(|process| duration::show(Duration::from_millis(of(process)))))
            };
            vec![
                found.name.clone(),
                found.cluster.clone(),
                found.state.clone(),
                milliseconds(|process| process.heard_ms),
                milliseconds(|process| process.bound_ms),
                told(newest.map(|process| process.mode.clone())),
            ]
        });
        Sheet::list(&["NAME", "CLUSTER", "STATE", "HEARD", "BOUND", "MODE"], "no proxies", rows.collect())
    }
}

impl Shown for List<Denial> {
    fn names(&self) -> Vec<String> {
        self.items.iter().map(|denial| denial.id.to_string()).collect()
    }

    fn table(&self) -> Sheet {
        let rows = self.items.iter().map(|denial| vec![denial.id.to_string(), denial.since.to_string()]);
        Sheet::list(&["DENIED", "SINCE"], "nobody", rows.collect())
    }
}

const PROXIES: &str = "/v1/proxies";
const MOST_TYPED: u64 = 64 * 1024;
