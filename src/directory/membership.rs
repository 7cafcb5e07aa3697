//! Who is in which group and agency: reading what counts, joining and leaving.

use super::rows::{AgencyMembershipRow, GroupRow, IdentityRow, MemberOfAgencyRow, MemberOfGroupRow, MembershipRow};
use crate::command::{Code, Rejected};
use crate::ident::{AnyId, GroupName, IdentityId};
use crate::journal::{Cause, Event, IdentityKind};
use crate::ledger::cuts::{self, Why};
use crate::standing::{CutKey, Revision};
use crate::store::record::Stored;
use crate::store::txn::Txn;
use crate::world::Moment;

/// The most groups an identity may be in: each is an O of its certificates and four assertions of an issuance.
pub const MAX_GROUPS: usize = 32;

/// The groups an identity is in, sorted; asserts each membership and each group that it read.
pub fn groups_of(txn: &mut Txn<'_>, id: &IdentityId) -> Result<Vec<GroupName>, Rejected> {
    let mut groups = Vec::new();
    for row in txn.scan_all::<MembershipRow>(&[id.as_str().as_bytes()])? {
        if is_member(txn, id, &row.value.group)? {
            groups.push(row.value.group);
        }
    }
    groups.sort_unstable();
    Ok(groups)
}

/// The agency a user is in; asserts the membership, absence included, and the agency.
pub fn agency_of(txn: &mut Txn<'_>, id: &IdentityId) -> Result<Option<IdentityId>, Rejected> {
    let Some(membership) = txn.get::<AgencyMembershipRow>(id)? else {
        return Ok(None);
    };
    let agency = txn.get::<IdentityRow>(&membership.value.agency)?;
    let agency = agency.filter(|row| row.value.kind == IdentityKind::Agency);
    Ok(agency.filter(|row| stood_when_joined(row.created, &membership)).map(|row| row.value.id))
}

/// Whether an identity is in a group; asserts the membership and the group.
pub fn is_member(txn: &mut Txn<'_>, id: &IdentityId, group: &GroupName) -> Result<bool, Rejected> {
    let membership = txn.get::<MembershipRow>(&(id.clone(), group.clone()))?;
    let group = txn.get::<GroupRow>(group)?;
    Ok(matches!((group, membership), (Some(group), Some(membership)) if stood_when_joined(group.created, &membership)))
}

/// Puts an identity into a group, which exists from now on if it did not.
pub fn join_group(txn: &mut Txn<'_>, id: &IdentityId, group: &GroupName) -> Result<(), Rejected> {
    if is_member(txn, id, group)? {
        return Ok(());
    }
    if txn.get::<GroupRow>(group)?.is_none() {
        txn.put(group, &GroupRow { name: group.clone() })?;
    }
    txn.put(&(id.clone(), group.clone()), &MembershipRow { id: id.clone(), group: group.clone() })?;
    txn.put(&(group.clone(), id.clone()), &MemberOfGroupRow { id: id.clone() })?;
    txn.record(Event::GroupJoined { id: id.clone(), group: group.clone() });
    Ok(())
}

/// Takes an identity out of a group: what carries the membership is dead.
pub fn leave_group(txn: &mut Txn<'_>, moment: &Moment<'_>, id: &IdentityId, group: &GroupName) -> Result<(), Rejected> {
    if !is_member(txn, id, group)? {
        return Err(Rejected::new(Code::NotFound, format!("{id} is not in the group {group}")));
    }
    forget_group(txn, id, group);
    cuts::cut_off(txn, moment, CutKey::Member(id.clone(), group.clone()), Cause::Moved, &Why::default())
}

/// Moves a user into an agency, or out of any: every credential of the user is dead.
pub fn move_to(
    txn: &mut Txn<'_>,
    moment: &Moment<'_>,
    id: &IdentityId,
    agency: Option<&IdentityId>,
) -> Result<(), Rejected> {
    let before = agency_of(txn, id)?;
    if before.as_ref() == agency {
        return Ok(());
    }
    forget_agency(txn, id)?;
    if let Some(agency) = agency {
        join_agency(txn, id, agency)?;
    }
    cuts::cut_off(txn, moment, CutKey::Identity(AnyId::from(id)), Cause::Moved, &Why::default())
}

/// Puts a user into an agency without cutting anything: for a user who holds nothing yet.
pub fn join_agency(txn: &mut Txn<'_>, id: &IdentityId, agency: &IdentityId) -> Result<(), Rejected> {
    match txn.get::<IdentityRow>(agency)? {
        Some(row) if row.value.kind == IdentityKind::Agency => {}
        Some(_) => return Err(Rejected::invalid(format!("{agency} is a user: only an agency has members"))),
        None => return Err(Rejected::new(Code::NotFound, format!("there is no agency {agency}: add it first"))),
    }
    txn.put(id, &AgencyMembershipRow { agency: agency.clone() })?;
    txn.put(&(agency.clone(), id.clone()), &MemberOfAgencyRow { id: id.clone() })?;
    txn.record(Event::AgencyJoined { id: id.clone(), agency: agency.clone() });
    Ok(())
}

/// Removes every membership of an identity that is deleted.
pub fn forget_all(txn: &mut Txn<'_>, id: &IdentityId) -> Result<(), Rejected> {
    for row in txn.scan_all::<MembershipRow>(&[id.as_str().as_bytes()])? {
        forget_group(txn, id, &row.value.group);
    }
    forget_agency(txn, id)
}

/// The members of a group that count.
pub fn members_of_group(txn: &mut Txn<'_>, group: &GroupName) -> Result<Vec<IdentityId>, Rejected> {
    let mut members = Vec::new();
    for row in txn.scan_all::<MemberOfGroupRow>(&[group.as_str().as_bytes()])? {
        if is_member(txn, &row.value.id, group)? {
            members.push(row.value.id);
        }
    }
    Ok(members)
}

/// The members of an agency that count.
pub fn members_of_agency(txn: &mut Txn<'_>, agency: &IdentityId) -> Result<Vec<IdentityId>, Rejected> {
    let mut members = Vec::new();
    for row in txn.scan_all::<MemberOfAgencyRow>(&[agency.as_str().as_bytes()])? {
        if agency_of(txn, &row.value.id)?.as_ref() == Some(agency) {
            members.push(row.value.id);
        }
    }
    Ok(members)
}

fn forget_group(txn: &mut Txn<'_>, id: &IdentityId, group: &GroupName) {
    txn.delete::<MembershipRow>(&(id.clone(), group.clone()));
    txn.delete::<MemberOfGroupRow>(&(group.clone(), id.clone()));
    txn.record(Event::GroupLeft { id: id.clone(), group: group.clone() });
}

fn forget_agency(txn: &mut Txn<'_>, id: &IdentityId) -> Result<(), Rejected> {
    if let Some(membership) = txn.get::<AgencyMembershipRow>(id)? {
        let agency = membership.value.agency;
        txn.delete::<AgencyMembershipRow>(id);
        txn.delete::<MemberOfAgencyRow>(&(agency.clone(), id.clone()));
        txn.record(Event::AgencyLeft { id: id.clone(), agency });
    }
    Ok(())
}

/// Whether a group or agency that appeared at `created` is the one that was joined: a later incarnation has no members.
fn stood_when_joined<R>(created: Option<Revision>, membership: &Stored<R>) -> bool {
    match (created, membership.modified) {
        (Some(created), Some(joined)) => created <= joined,
        (_, None) => true,
        (None, Some(_)) => false,
    }
}
