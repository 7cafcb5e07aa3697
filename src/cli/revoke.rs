//! `portcullis revoke`: shows what it hits, asks, revokes, and says how far each proxy is.

use std::time::Duration;

use http::Method;

use super::args::{self, RevokeHow, RevokeTargets, Sure};
use super::client::Client;
use super::confirm::Asking;
use super::context::Context;
use super::credential;
use super::exit::{Exit, Failure};
use super::format::Format;
use super::output::{self, List, Sheet, Shown};
use super::rows;
use crate::api::wire::{self, RevokeAnswer, RevokePreview};
use crate::config::duration;
use crate::ident::AnyId;

pub(super) async fn run(context: &Context, command: args::Revoke) -> Result<Exit, Failure> {
    let (kind, RevokeTargets { ids, how, sure }) = match command {
        args::Revoke::User(targets) => ("user", targets),
        args::Revoke::Agency(targets) => ("agency", targets),
        args::Revoke::Cert(targets) => ("certificate", targets),
    };
    let targets = targets(kind, ids)?;
    targets_of(context, targets, &how, sure).await
}

/// Shows what would be hit, asks, and revokes.
pub(super) async fn targets_of(
    context: &Context,
    targets: Vec<wire::Target>,
    how: &RevokeHow,
    sure: Sure,
) -> Result<Exit, Failure> {
    let asking = Asking::new(sure)?;
    must_be_short(how)?;
    let mut client = context.client()?;
    if asking != Asking::Sure {
        let mut previews = Vec::new();
        for target in &targets {
            previews.push(preview(&mut client, target, how).await?);
        }
        if asking == Asking::OnlyShow {
            print(context.format(), previews)?;
            return Ok(Exit::Done);
        }
        previews.iter().for_each(|preview| output::aside(&preview.table()));
    }
    asking.typed(&question(&targets, how))?;
    revoke_all(context, &mut client, &targets, how).await
}

/// What a revocation of `target` would hit.
pub(super) async fn preview(
    client: &mut Client,
    target: &wire::Target,
    how: &RevokeHow,
) -> Result<RevokePreview, Failure> {
    let request = wire::RevokeRequest { dry_run: true, ..request(target, how) };
    client.change(Method::POST, "/v1/revocations", Some(&request), Duration::ZERO).await
}

/// Each target on its own, so that one refusal does not keep the others alive.
async fn revoke_all(
    context: &Context,
    client: &mut Client,
    targets: &[wire::Target],
    how: &RevokeHow,
) -> Result<Exit, Failure> {
    let mut answers: Vec<RevokeAnswer> = Vec::new();
    let mut failed = None;
    for target in targets {
        let answer = client.change(Method::POST, "/v1/revocations", Some(&request(target, how)), longest(how)).await;
        match answer {
            Ok(answer) => answers.push(answer),
            Err(failure) if targets.len() == 1 => return Err(failure),
            Err(failure) => {
                output::words(&format!("{} {}: {failure}", target.kind, target.id));
                failed = Some(failure);
            }
        }
    }
    let ended = exit(&answers, how);
    if targets.len() == 1 {
        print(context.format(), answers)?;
    } else {
        output::print(context.format(), &List { items: answers })?;
    }
    match failed {
        Some(failure) => {
            Err(failure.adding("not everything was revoked: see above, and repeat the command for what is missing"))
        }
        None => Ok(ended),
    }
}

/// Not done while a proxy may still let it through, unless nobody wanted to wait for that.
fn exit(answers: &[RevokeAnswer], how: &RevokeHow) -> Exit {
    let open = |answer: &RevokeAnswer| answer.proxies.iter().any(|proxy| proxy.state == "unconfirmed");
    if !how.no_wait && answers.iter().any(open) { Exit::NotYetEnforced } else { Exit::Done }
}

fn targets(kind: &str, ids: Vec<String>) -> Result<Vec<wire::Target>, Failure> {
    let mut targets = Vec::new();
    for id in ids {
        let id = match kind {
            "certificate" => credential::named(&id)?,
            _ => id.parse::<AnyId>().map_err(Failure::usage)?.to_string(),
        };
        let target = wire::Target { kind: kind.to_owned(), id };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

fn must_be_short(how: &RevokeHow) -> Result<(), Failure> {
    if let Some(comment) = how.comment.as_ref().filter(|comment| comment.chars().count() > MOST_COMMENT) {
        let found = comment.chars().count();
        return Err(Failure::usage(format!("wanted a comment of at most {MOST_COMMENT} characters, found {found}")));
    }
    Ok(())
}

fn request(target: &wire::Target, how: &RevokeHow) -> wire::RevokeRequest {
    wire::RevokeRequest {
        target: target.clone(),
        cluster: how.cluster.as_ref().map(ToString::to_string),
        reason: how.reason.map(|reason| reason.as_str().to_owned()),
        comment: how.comment.clone(),
        lock: how.lock,
        force: how.force,
        dry_run: false,
        no_wait: how.no_wait,
        wait_ms: how.wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// How much longer than usual the answer may take.
fn longest(how: &RevokeHow) -> Duration {
    match how.wait {
        _ if how.no_wait => Duration::ZERO,
        Some(wait) => wait,
        None => LONGEST_BOUND,
    }
}

fn question(targets: &[wire::Target], how: &RevokeHow) -> String {
    let place = how.cluster.as_ref().map(|cluster| format!(" on {cluster}")).unwrap_or_default();
    let lock = if how.lock { " and locks it" } else { "" };
    match targets {
        [only] => output::clean(&format!("This revokes {} {}{place}{lock}, for good.", only.kind, only.id)),
        several => format!("This revokes all {} of them{place}{lock}, for good.", several.len()),
    }
}

fn print<T: Shown>(format: &Format, mut values: Vec<T>) -> Result<(), Failure>
where
    List<T>: Shown,
{
    match (values.len(), values.pop()) {
        (1, Some(only)) => output::print(format, &only),
        (_, last) => {
            values.extend(last);
            output::print(format, &List { items: values })
        }
    }
}

/// How many certificates, in words.
fn counted(standing: Option<u64>, expired: Option<u64>, first: &str, second: &str) -> String {
    match (standing, expired) {
        (Some(standing), Some(expired)) => format!("{standing} {first}, {expired} {second}"),
        _ => "not counted: the record cannot be read yet".to_owned(),
    }
}

impl Shown for RevokePreview {
    fn names(&self) -> Vec<String> {
        self.sample.iter().map(|certificate| certificate.serial.clone()).collect()
    }

    fn table(&self) -> Sheet {
        let more = self.certificates.unwrap_or(0).saturating_sub(u64::try_from(self.sample.len()).unwrap_or(u64::MAX));
        let mut sample: Vec<String> = self.sample.iter().map(in_a_line).collect();
        if more > 0 && !sample.is_empty() {
            sample.push(format!("… and {more} more"));
        }
        Sheet::pairs(vec![
            ("Would revoke", format!("{} {} ({})", self.target.kind, self.target.id, self.known)),
            ("Certificates", counted(self.certificates, self.expired, "standing", "expired")),
            ("Tokens", self.tokens.to_string()),
            ("", sample.join("\n")),
            (
                "Afterwards",
                (if self.can_return { "the holder can get in again unaided; --lock closes that" } else { "" })
                    .to_owned(),
            ),
            ("Meaning", self.meaning.clone()),
        ])
    }
}

impl Shown for RevokeAnswer {
    fn names(&self) -> Vec<String> {
        vec![self.target.id.clone()]
    }

    fn table(&self) -> Sheet {
        let already = if self.already { ", nothing that still stood" } else { "" };
        let proxies: Vec<String> = self.proxies.iter().map(proxy).collect();
        let proxies = if proxies.is_empty() { "none".to_owned() } else { proxies.join("\n") };
        Sheet::pairs(vec![
            ("Revoked", format!("{} {}{already}", self.target.kind, self.target.id)),
            ("Certificates", counted(self.certificates, self.expired, "ended", "had expired")),
            ("Tokens", self.tokens.to_string()),
            ("Proxies", proxies),
            ("Revision", self.revision.clone()),
            ("Meaning", self.meaning.clone()),
        ])
    }
}

impl Shown for List<RevokePreview> {
    fn names(&self) -> Vec<String> {
        self.items.iter().flat_map(RevokePreview::names).collect()
    }

    fn table(&self) -> Sheet {
        let rows = self.items.iter().map(|found| {
            let counts = [found.certificates, found.expired, Some(found.tokens)].map(number);
            [vec![found.target.id.clone(), found.known.clone()], counts.to_vec()].concat()
        });
        Sheet::list(&["WOULD REVOKE", "IS", "CERTIFICATES", "EXPIRED", "TOKENS"], "nothing", rows.collect())
    }
}

impl Shown for List<RevokeAnswer> {
    fn names(&self) -> Vec<String> {
        self.items.iter().map(|answer| answer.target.id.clone()).collect()
    }

    fn table(&self) -> Sheet {
        let rows = self.items.iter().map(|found| {
            let open = found.proxies.iter().filter(|proxy| proxy.state == "unconfirmed").count();
            let enforced = if open == 0 { "confirmed".to_owned() } else { format!("{open} unconfirmed") };
            vec![found.target.id.clone(), number(found.certificates), found.revision.clone(), enforced]
        });
        Sheet::list(&["REVOKED", "CERTIFICATES", "REVISION", "PROXIES"], "nothing", rows.collect())
    }
}

fn number(count: Option<u64>) -> String {
    count.map_or_else(|| "?".to_owned(), |count| count.to_string())
}

/// How far a proxy is, in a line.
pub(super) fn proxy(found: &wire::ProxyEnforcement) -> String {
    let after = duration::show(Duration::from_millis(found.after_ms));
    let state = match found.state.as_str() {
        "unconfirmed" => {
            let bound =
                found.bound_ms.map(|bound| format!(", at most {} more", duration::show(Duration::from_millis(bound))));
            format!("unconfirmed{}", bound.unwrap_or_default())
        }
        state => format!("{state} after {after}"),
    };
    let reason = found.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let connections = if found.closed == 1 { "connection" } else { "connections" };
    format!("{}: {state}, {} {connections} ended{reason}", found.name, found.closed)
}

fn in_a_line(certificate: &wire::Certificate) -> String {
    let place = certificate.cluster.as_deref().unwrap_or(&certificate.role);
    format!("{}  {place}, until {}", certificate.serial, rows::day(&certificate.not_after))
}

/// A proxy's longest bound, 15 minutes for one that serves as best-effort, and what the authority adds to it.
pub(super) const LONGEST_BOUND: Duration = Duration::from_secs(30 * 60);
/// What the authority takes.
const MOST_COMMENT: usize = 500;

#[cfg(test)]
mod tests;
