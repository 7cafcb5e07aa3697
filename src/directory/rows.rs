//! The rows of identities, memberships, groups and roles.

use serde::{Deserialize, Serialize};

use crate::access::Role;
use crate::ident::{AnyId, GroupName, IdentityId};
use crate::journal::IdentityKind;
use crate::store::record::{Record, Table};
use crate::world::Timestamp;

/// A user or an agency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRow {
    /// Its ID.
    pub id: IdentityId,
    /// What it is.
    pub kind: IdentityKind,
    /// Since when, for people.
    pub added: Timestamp,
}

impl Record for IdentityRow {
    const TABLE: Table = Table::Identity;
    type Key = IdentityId;
}

/// An ID that was deleted and has not been used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedRow {
    /// The ID.
    pub id: IdentityId,
    /// What it was.
    pub kind: IdentityKind,
    /// When, for people.
    pub at: Timestamp,
}

impl Record for DeletedRow {
    const TABLE: Table = Table::Deleted;
    type Key = AnyId;
}

/// An identity is in a group, if the group is as old as this row or older.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipRow {
    /// Who.
    pub id: IdentityId,
    /// Which group.
    pub group: GroupName,
}

impl Record for MembershipRow {
    const TABLE: Table = Table::Membership;
    type Key = (IdentityId, GroupName);
}

/// The same from the group's side; written and deleted together with [`MembershipRow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberOfGroupRow {
    /// Who.
    pub id: IdentityId,
}

impl Record for MemberOfGroupRow {
    const TABLE: Table = Table::MemberOfGroup;
    type Key = (GroupName, IdentityId);
}

/// A user is in an agency, if the agency is as old as this row or older.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgencyMembershipRow {
    /// Which agency.
    pub agency: IdentityId,
}

impl Record for AgencyMembershipRow {
    const TABLE: Table = Table::AgencyMembership;
    type Key = IdentityId;
}

/// The same from the agency's side; written and deleted together with [`AgencyMembershipRow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberOfAgencyRow {
    /// Who.
    pub id: IdentityId,
}

impl Record for MemberOfAgencyRow {
    const TABLE: Table = Table::MemberOfAgency;
    type Key = (IdentityId, IdentityId);
}

/// A group; it exists from its first use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Its name.
    pub name: GroupName,
}

impl Record for GroupRow {
    const TABLE: Table = Table::Group;
    type Key = GroupName;
}

/// The roles of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleBindingRow {
    /// Who.
    pub id: IdentityId,
    /// Which roles, sorted.
    pub roles: Vec<Role>,
}

impl Record for RoleBindingRow {
    const TABLE: Table = Table::RoleBinding;
    type Key = IdentityId;
}

/// A row that every writer of a set bumps, so that a decision over the set can assert it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRow(pub u64);

impl Record for GenerationRow {
    const TABLE: Table = Table::Generation;
    type Key = String;
}
