//! The wish for a cluster, and finding one.

use super::authorities::Authorities;
use super::rows::ClusterRow;
use super::source::{Prepared, Source};
use crate::access::{Actor, Permission, Permit, Scope};
use crate::command::{Code, Command, Rejected};
use crate::engine::{Done, Engine, Repeatable};
use crate::ident::{ClusterName, IssuerName};
use crate::journal::Event;
use crate::store::txn::Txn;
use crate::world::Moment;

/// Adds a cluster with an issuing CA of its own.
#[derive(Debug)]
struct AddCluster<'a> {
    new: &'a NewCluster,
    prepared: &'a Prepared,
    authorities: &'a Authorities,
}

/// A cluster to be added.
#[derive(Clone, Debug)]
pub struct NewCluster {
    /// Its name.
    pub name: ClusterName,
    /// The address of its proxy, `https://host:port`.
    pub server: String,
    /// The names and addresses its proxy may have in its server certificate; never empty.
    pub names: Vec<String>,
}

/// Adds a cluster whose issuing CA comes from `source`; that CA's key is on disk before, and is taken back when it fails.
pub fn add(
    engine: &Engine,
    actor: &Actor,
    repeatable: Option<&Repeatable>,
    new: &NewCluster,
    source: Source,
    authorities: &Authorities,
) -> Result<Done<ClusterRow>, Rejected> {
    engine.may(actor, Permission::ClusterWrite)?;
    let _exclusive = authorities.vault.exclusively();
    let prepared = Prepared::new(engine, authorities, IssuerName::of_cluster(&new.name, 1), source)?;
    let command = AddCluster { new, prepared: &prepared, authorities };
    let done = match repeatable {
        Some(repeatable) => engine.run_once(actor, repeatable, &command),
        None => engine.run(actor, &command),
    };
    prepared.settle(engine, authorities, done)
}

impl Command for AddCluster<'_> {
    type Outcome = ClusterRow;

    fn permission(&self) -> Permission {
        Permission::ClusterWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<ClusterRow, Rejected> {
        let name = &self.new.name;
        if txn.get::<ClusterRow>(name)?.is_some() {
            return Err(Rejected::new(Code::AlreadyExists, format!("there is already a cluster {name}")));
        }
        self.prepared.record(txn, moment, self.authorities, name)?;
        let row = ClusterRow {
            name: name.clone(),
            server: self.new.server.clone(),
            names: self.new.names.clone(),
            issuers: vec![self.prepared.issuer().clone()],
            next: None,
            shared_ca: self.prepared.is_shared(),
        };
        txn.put(name, &row)?;
        txn.record(Event::ClusterAdded { cluster: name.clone() });
        Ok(row)
    }
}

/// A cluster, asserted.
pub fn present(txn: &mut Txn<'_>, name: &ClusterName) -> Result<ClusterRow, Rejected> {
    match txn.get::<ClusterRow>(name)? {
        Some(row) => Ok(row.value),
        None => Err(Rejected::not_found(format_args!("cluster {name}"))),
    }
}

/// The only cluster, if there is exactly one.
pub fn only(txn: &Txn<'_>) -> Result<Option<ClusterName>, Rejected> {
    let rows = txn.scan::<ClusterRow>(&[], None, 2)?;
    Ok(match rows.as_slice() {
        [one] => Some(one.value.name.clone()),
        _ => None,
    })
}

/// The only cluster, or a refusal that says which there are.
pub fn only_or_named(txn: &Txn<'_>) -> Result<ClusterName, Rejected> {
    if let Some(only) = only(txn)? {
        return Ok(only);
    }
    let rows = txn.scan::<ClusterRow>(&[], None, 20)?;
    let names: Vec<&str> = rows.iter().map(|row| row.value.name.as_str()).collect();
    Err(if names.is_empty() {
        Rejected::new(Code::NotFound, "there is no cluster yet: add one with `portcullis cluster add`")
    } else {
        Rejected::invalid(format!("there are several clusters: say which with --cluster ({})", names.join(", ")))
    })
}
