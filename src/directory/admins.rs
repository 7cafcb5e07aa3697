//! Roles, and the rule that somebody must be left who can manage.
//!
//! Whether an admin remains is a decision over a set: whoever makes the set smaller asserts and bumps one generation
//! row, so that two admins cannot remove each other at once.

use std::collections::BTreeMap;

use super::rows::{GenerationRow, RoleBindingRow};
use crate::access::{Grants, Role};
use crate::command::{Code, Rejected};
use crate::ident::IdentityId;
use crate::journal::Event;
use crate::ledger::credentials;
use crate::ledger::rows::{CallerRow, CertificateRole, CertificateRow};
use crate::standing::CutKey;
use crate::store::record::Stored;
use crate::store::txn::Txn;
use crate::world::Timestamp;

/// The roles of an identity; asserted.
pub fn grants_of(txn: &mut Txn<'_>, id: &IdentityId) -> Result<Grants, Rejected> {
    let roles = txn.get::<RoleBindingRow>(id)?.map(|row| row.value.roles).unwrap_or_default();
    Ok(Grants { roles })
}

/// Grants a role; nothing happens when the identity has it.
pub fn grant(txn: &mut Txn<'_>, id: &IdentityId, role: Role) -> Result<(), Rejected> {
    let mut roles = grants_of(txn, id)?.roles;
    if !roles.contains(&role) {
        roles.push(role);
        roles.sort_unstable();
        txn.put(id, &RoleBindingRow { id: id.clone(), roles })?;
        txn.record(Event::RoleGranted { id: id.clone(), role });
    }
    Ok(())
}

/// Withdraws a role.
pub fn withdraw(txn: &mut Txn<'_>, now: Timestamp, id: &IdentityId, role: Role, force: bool) -> Result<(), Rejected> {
    let mut roles = grants_of(txn, id)?.roles;
    if !roles.contains(&role) {
        return Err(Rejected::new(Code::NotFound, format!("{id} does not have the role {role}")));
    }
    bump(txn)?;
    if !force && !others_remain(txn, now, |holder, _| holder == id)? {
        return Err(last_admin());
    }
    roles.retain(|held| *held != role);
    txn.put(id, &RoleBindingRow { id: id.clone(), roles })?;
    txn.record(Event::RoleWithdrawn { id: id.clone(), role });
    Ok(())
}

/// Withdraws every role but these, also from the last admin: what a backup brought back and was withdrawn since.
pub fn keep_only(txn: &mut Txn<'_>, id: &IdentityId, kept: &[Role]) -> Result<(), Rejected> {
    let (roles, gone): (Vec<_>, Vec<_>) = grants_of(txn, id)?.roles.into_iter().partition(|role| kept.contains(role));
    if gone.is_empty() {
        return Ok(());
    }
    bump(txn)?;
    txn.put(id, &RoleBindingRow { id: id.clone(), roles })?;
    gone.into_iter().for_each(|role| txn.record(Event::RoleWithdrawn { id: id.clone(), role }));
    Ok(())
}

/// Removes the roles of an identity that is deleted; the caller has asked [`must_remain`].
pub fn forget(txn: &mut Txn<'_>, id: &IdentityId) -> Result<(), Rejected> {
    for role in grants_of(txn, id)?.roles {
        txn.record(Event::RoleWithdrawn { id: id.clone(), role });
    }
    txn.delete::<RoleBindingRow>(id);
    Ok(())
}

/// Refuses to cut these keys off when that would leave no admin with a standing management certificate.
///
/// Where nothing an admin needs is hit, only the absence of a role is asserted: revoking users never waits for each other.
pub fn must_remain(txn: &mut Txn<'_>, now: Timestamp, cut: &[CutKey], force: bool) -> Result<(), Rejected> {
    for key in cut {
        if let CutKey::Identity(id) = key
            && let Ok(id) = id.as_str().parse()
        {
            grants_of(txn, &id)?;
        }
    }
    let is_hit = |_: &IdentityId, row: &CallerRow| row.cut_keys.iter().any(|key| cut.contains(key));
    remain_but_for(txn, now, is_hit, force)
}

/// Refuses to revoke this certificate when it is the last that can manage.
pub fn must_remain_without(
    txn: &mut Txn<'_>,
    now: Timestamp,
    certificate: &CertificateRow,
    force: bool,
) -> Result<(), Rejected> {
    if certificate.role != CertificateRole::Management {
        return Ok(());
    }
    let is_hit = |_: &IdentityId, row: &CallerRow| {
        row.fingerprint == certificate.fingerprint || row.cut_keys.contains(&CutKey::Via(certificate.fingerprint))
    };
    remain_but_for(txn, now, is_hit, force)
}

fn remain_but_for(
    txn: &mut Txn<'_>,
    now: Timestamp,
    is_hit: impl Fn(&IdentityId, &CallerRow) -> bool,
    force: bool,
) -> Result<(), Rejected> {
    let standing = management_certificates(txn, now)?;
    if !standing.iter().any(|(id, row)| is_hit(id, &row.value)) {
        return Ok(());
    }
    bump(txn)?;
    if force || others_remain(txn, now, is_hit)? { Ok(()) } else { Err(last_admin()) }
}

fn others_remain(
    txn: &mut Txn<'_>,
    now: Timestamp,
    is_hit: impl Fn(&IdentityId, &CallerRow) -> bool,
) -> Result<bool, Rejected> {
    Ok(management_certificates(txn, now)?.iter().any(|(id, row)| !is_hit(id, &row.value)))
}

/// The last moment of the newest standing management certificate of each admin who has one.
pub fn ends(txn: &Txn<'_>, now: Timestamp) -> Result<BTreeMap<IdentityId, Timestamp>, Rejected> {
    let mut ends = BTreeMap::new();
    for (id, row) in management_certificates(txn, now)? {
        let end: &mut Timestamp = ends.entry(id).or_default();
        *end = row.value.not_after.max(*end);
    }
    Ok(ends)
}

/// Every standing management certificate of an admin.
///
/// Read in a transaction of its own, because the decision asserts the generation row and not each of these.
fn management_certificates(txn: &Txn<'_>, now: Timestamp) -> Result<Vec<(IdentityId, Stored<CallerRow>)>, Rejected> {
    let mut look = txn.aside();
    let mut found = Vec::new();
    for binding in look.scan_all::<RoleBindingRow>(&[])? {
        if !binding.value.roles.contains(&Role::Admin) {
            continue;
        }
        for row in look.scan_all::<CallerRow>(&[binding.value.id.as_str().as_bytes()])? {
            let is_management = row.value.role == CertificateRole::Management;
            if is_management && credentials::standing(&mut look, &row, now).is_ok() {
                found.push((binding.value.id.clone(), row));
            }
        }
    }
    Ok(found)
}

fn bump(txn: &mut Txn<'_>) -> Result<(), Rejected> {
    let key = ADMINS.to_owned();
    let generation = txn.get::<GenerationRow>(&key)?.map_or(0, |row| row.value.0);
    txn.put(&key, &GenerationRow(generation.wrapping_add(1)))?;
    Ok(())
}

fn last_admin() -> Rejected {
    Rejected::new(
        Code::LastAdmin,
        "this would leave no admin with a management certificate: make another and issue one with `portcullis issue ID \
         --management` first, or use --force and `portcullis recover admin` afterwards",
    )
}

const ADMINS: &str = "admins";
