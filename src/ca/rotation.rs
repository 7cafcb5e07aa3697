//! A cluster's next issuing CA, in two steps: every proxy must know it before anybody gets a certificate of it.
//!
//! First it is on the record as the next one, so that proxies let its certificates in; when they have confirmed that, it
//! signs. What the earlier ones signed stands, and they go on signing lists and OCSP responders.

use serde::{Deserialize, Serialize};

use super::authorities::{self, Authorities};
use super::clusters;
use super::rows::ClusterRow;
use super::source::{self, Prepared, Source};
use crate::access::{Actor, Permission, Permit, Scope};
use crate::command::{Code, Command, Rejected};
use crate::engine::{Done, Engine, Repeatable};
use crate::ident::{ClusterName, IssuerName};
use crate::journal::Event;
use crate::ledger::rows::CutHeadRow;
use crate::standing::CutKey;
use crate::store::txn::Txn;
use crate::world::Moment;

/// A cluster's next CA is on the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Its name.
    pub issuer: IssuerName,
    /// Whether the present one was revoked, so that nothing can be issued before the next one signs.
    pub is_urgent: bool,
}

/// Puts a cluster's next CA on the record; one that is there already is gone on with.
pub fn announce(
    engine: &Engine,
    actor: &Actor,
    repeatable: Option<&Repeatable>,
    cluster: &ClusterName,
    source: Source,
    authorities: &Authorities,
) -> Result<Done<Announced>, Rejected> {
    engine.may(actor, Permission::ClusterWrite)?;
    let _exclusive = authorities.vault.exclusively();
    let row = clusters::present(&mut Txn::begin(&**engine.store()), cluster)?;
    if let Some(issuer) = waiting(engine, &row)? {
        if matches!(source, Source::Brought { .. }) {
            return Err(Rejected::new(
                Code::Conflict,
                format!("{issuer} is waiting to sign already: `portcullis cluster rotate {cluster}` goes on with it"),
            ));
        }
        return run(engine, actor, repeatable, &Resume { cluster });
    }
    let prepared = Prepared::new(engine, authorities, row.successor(), source)?;
    let done = run(engine, actor, repeatable, &Announce { cluster, prepared: &prepared, authorities });
    // Answered before: the key made just now is not wanted, and the one of then signs already.
    if done.as_ref().is_ok_and(|done| done.outcome.issuer != *prepared.issuer()) {
        let unwanted = Rejected::new(Code::Conflict, "answered before");
        let _ = prepared.settle::<()>(engine, authorities, Err(unwanted));
        return done;
    }
    prepared.settle(engine, authorities, done)
}

/// What the next CA of a cluster, or the first of one that is to be added, will be called, and a request for it in DER: its
/// key stays here.
pub fn request(
    engine: &Engine,
    actor: &Actor,
    cluster: &ClusterName,
    authorities: &Authorities,
) -> Result<(IssuerName, Vec<u8>), Rejected> {
    engine.may(actor, Permission::ClusterWrite)?;
    let _exclusive = authorities.vault.exclusively();
    let row = Txn::begin(&**engine.store()).peek::<ClusterRow>(cluster)?.map(|row| row.value);
    if let Some(issuer) = row.as_ref().map(|row| waiting(engine, row)).transpose()?.flatten() {
        return Err(Rejected::new(
            Code::Conflict,
            format!("{issuer} is waiting to sign already: `portcullis cluster rotate {cluster}` goes on with it"),
        ));
    }
    let issuer = row.map_or_else(|| IssuerName::of_cluster(cluster, 1), |row| row.successor());
    let der = source::request(engine, authorities, &issuer)?;
    Ok((issuer, der))
}

/// The next CA, unless it was revoked meanwhile.
fn waiting(engine: &Engine, row: &ClusterRow) -> Result<Option<IssuerName>, Rejected> {
    let Some(next) = &row.next else { return Ok(None) };
    let mut txn = Txn::begin(&**engine.store());
    Ok(authorities::must_sign(&mut txn, next).is_ok().then(|| next.clone()))
}

fn run<C: Command>(
    engine: &Engine,
    actor: &Actor,
    repeatable: Option<&Repeatable>,
    command: &C,
) -> Result<Done<C::Outcome>, Rejected> {
    match repeatable {
        Some(repeatable) => engine.run_once(actor, repeatable, command),
        None => engine.run(actor, command),
    }
}

#[derive(Debug)]
struct Announce<'a> {
    cluster: &'a ClusterName,
    prepared: &'a Prepared,
    authorities: &'a Authorities,
}

impl Command for Announce<'_> {
    type Outcome = Announced;

    fn permission(&self) -> Permission {
        Permission::ClusterWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Announced, Rejected> {
        let mut row = clusters::present(txn, self.cluster)?;
        let issuer = self.prepared.issuer();
        if row.successor() != *issuer {
            return Err(Rejected::new(Code::Busy, "another CA was announced at the same time: try again"));
        }
        self.prepared.record(txn, moment, self.authorities, self.cluster)?;
        // What an API server trusts it goes on trusting, whichever CA signs next.
        row.shared_ca |= self.prepared.is_shared();
        // One that was revoked before it signed keeps its place among those that were.
        if let Some(revoked) = row.next.replace(issuer.clone()) {
            row.issuers.insert(row.issuers.len().saturating_sub(1), revoked);
        }
        txn.put(self.cluster, &row)?;
        Ok(Announced { issuer: issuer.clone(), is_urgent: is_urgent(txn, &row)? })
    }
}

/// Goes on with a CA that was announced.
#[derive(Debug)]
struct Resume<'a> {
    cluster: &'a ClusterName,
}

impl Command for Resume<'_> {
    type Outcome = Announced;

    fn permission(&self) -> Permission {
        Permission::ClusterWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Announced, Rejected> {
        let row = clusters::present(txn, self.cluster)?;
        match row.next.clone() {
            Some(issuer) => Ok(Announced { issuer, is_urgent: is_urgent(txn, &row)? }),
            None => Err(Rejected::new(Code::Busy, "the CA that was waiting signs by now: try again")),
        }
    }
}

fn is_urgent(txn: &mut Txn<'_>, row: &ClusterRow) -> Result<bool, Rejected> {
    let Some(signs) = row.issuers.last() else { return Ok(true) };
    Ok(txn.get::<CutHeadRow>(&CutKey::Issuer(signs.clone()))?.is_some())
}

/// Lets a CA that was announced sign.
#[derive(Clone, Debug)]
pub struct Switch {
    /// The cluster.
    pub cluster: ClusterName,
    /// The CA.
    pub issuer: IssuerName,
}

impl Command for Switch {
    type Outcome = Announced;

    fn permission(&self) -> Permission {
        Permission::ClusterWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, _: &Moment<'_>) -> Result<Announced, Rejected> {
        let Self { cluster, issuer } = self;
        let mut row = clusters::present(txn, cluster)?;
        let done = Announced { issuer: issuer.clone(), is_urgent: false };
        // Asked for again: it signs, or has signed, already.
        if row.issuers.contains(issuer) {
            return Ok(done);
        }
        authorities::must_sign(txn, issuer)?;
        if row.next.take().as_ref() != Some(issuer) {
            return Err(Rejected::new(Code::Conflict, format!("{issuer} is not the next CA of {cluster}")));
        }
        row.issuers.push(issuer.clone());
        txn.put(cluster, &row)?;
        txn.record(Event::ClusterRotated { cluster: cluster.clone(), issuer: issuer.clone() });
        Ok(done)
    }
}
