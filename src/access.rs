//! Who may do what: the one place that says yes.
//!
//! [`authorise`] turns an actor, what they were granted and what they want into a [`Permit`]; nothing else can build
//! one, and everything that changes or reveals something asks for it. Grants are read inside the transaction that the
//! permit is used in. The default is no.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ident::{AnyId, ClusterName, Fingerprint, IdentityId, ProxyName, Serial};

/// Who was authenticated; says nothing about rights.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Actor {
    /// The holder of a recorded certificate.
    Holder(Holder),
    /// Whoever has the authority's host and the passphrase of its keys, for `recover admin` only.
    Recovery,
    /// A named part of the product itself.
    System(Part),
    /// A proxy that follows the authority.
    Proxy(ProxyHolder),
    /// Whoever shows the secret of a join token, for joining with it only.
    Joiner {
        /// The SHA-256 of the secret.
        token: [u8; 32],
    },
}

/// A proxy with a certificate of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProxyHolder {
    /// Its name, the certificate's CN.
    pub name: ProxyName,
    /// The cluster it stands in front of.
    pub cluster: ClusterName,
    /// The certificate's SHA-256.
    pub fingerprint: Fingerprint,
}

/// A person or machine with a certificate of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The identity in the certificate's CN.
    pub id: IdentityId,
    /// The certificate's serial number.
    pub serial: Serial,
    /// The certificate's SHA-256.
    pub fingerprint: Fingerprint,
    /// Where the certificate may speak.
    pub realm: Realm,
}

/// Where a certificate may speak.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Realm {
    /// A management certificate of the infrastructure CA: carries its holder's roles.
    Management,
    /// A certificate of one cluster: *self* on that cluster, nothing else.
    Cluster(ClusterName),
}

/// Parts of the product that act on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Part {
    /// First start: authorities and the first admin.
    Initialisation,
    /// Renewal of the certificates that our own listeners and responders use.
    Upkeep,
    /// Publication of CRLs and of what a revocation has hit.
    Publisher,
    /// `store restore`: taking over what happened after the backup.
    Restore,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holder(holder) => fmt::Display::fmt(&holder.id, f),
            Self::Recovery => f.write_str("recovery"),
            Self::System(Part::Initialisation) => f.write_str("system/initialisation"),
            Self::System(Part::Upkeep) => f.write_str("system/upkeep"),
            Self::System(Part::Publisher) => f.write_str("system/publisher"),
            Self::System(Part::Restore) => f.write_str("system/restore"),
            Self::Proxy(follower) => write!(f, "proxy/{}", follower.name),
            Self::Joiner { token } => {
                let [a, b, c, d, ..] = token;
                write!(f, "joiner/{}", hex::encode([a, b, c, d].map(|octet| *octet)))
            }
        }
    }
}

/// What a wish needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Have a certificate issued to an identity.
    CertificateIssue,
    /// Have a management certificate issued.
    CertificateIssueManagement,
    /// See certificates and their status.
    CertificateRead,
    /// Revoke one certificate.
    CertificateRevoke,
    /// Cut off an identity that one is oneself.
    IdentityRevoke,
    /// Cut off an agency and its members.
    AgencyRevoke,
    /// Lock or unlock an identity.
    IdentityLock,
    /// See an identity.
    IdentityRead,
    /// List identities.
    IdentityList,
    /// Add, edit or delete identities.
    IdentityWrite,
    /// See groups and who is in them.
    GroupRead,
    /// Delete a group.
    GroupWrite,
    /// Grant or withdraw a role.
    RoleWrite,
    /// See clusters and their authorities.
    ClusterRead,
    /// Add clusters.
    ClusterWrite,
    /// See how the authority is and how far it has come.
    StatusRead,
    /// Read metrics.
    MetricsRead,
    /// What only the product itself does: authorities, listeners, responders, lists.
    AuthorityUpkeep,
    /// See proxies and how far they are.
    ProxyRead,
    /// Let proxies join, and remove them.
    ProxyWrite,
    /// Join as the proxy that a token is for.
    ProxyJoin,
    /// Follow the authority as a proxy.
    ProxyFollow,
    /// End an issuing CA, with everything that it signed.
    AuthorityRevoke,
}

impl Permission {
    /// Whether certificates are issued with it, for which the clock must be right; those of the product's own listeners
    /// and responders do not count, or nobody could be told what is wrong.
    pub const fn issues(self) -> bool {
        matches!(self, Self::CertificateIssue | Self::CertificateIssueManagement | Self::ClusterWrite | Self::ProxyJoin)
    }

    /// Every permission, for the tests that go through all of them.
    pub const ALL: [Self; 23] = [
        Self::CertificateIssue,
        Self::CertificateIssueManagement,
        Self::CertificateRead,
        Self::CertificateRevoke,
        Self::IdentityRevoke,
        Self::AgencyRevoke,
        Self::IdentityLock,
        Self::IdentityRead,
        Self::IdentityList,
        Self::IdentityWrite,
        Self::GroupRead,
        Self::GroupWrite,
        Self::RoleWrite,
        Self::ClusterRead,
        Self::ClusterWrite,
        Self::StatusRead,
        Self::MetricsRead,
        Self::AuthorityUpkeep,
        Self::ProxyRead,
        Self::ProxyWrite,
        Self::ProxyJoin,
        Self::ProxyFollow,
        Self::AuthorityRevoke,
    ];

    /// Whether everyone has it over what is their own.
    const fn is_everyones_over_their_own(self) -> bool {
        match self {
            Self::CertificateIssue
            | Self::CertificateRead
            | Self::CertificateRevoke
            | Self::IdentityRevoke
            | Self::IdentityRead
            | Self::ClusterRead => true,
            Self::CertificateIssueManagement
            | Self::AgencyRevoke
            | Self::IdentityLock
            | Self::IdentityList
            | Self::IdentityWrite
            | Self::GroupRead
            | Self::GroupWrite
            | Self::RoleWrite
            | Self::ClusterWrite
            | Self::StatusRead
            | Self::MetricsRead
            | Self::AuthorityUpkeep
            | Self::ProxyRead
            | Self::ProxyWrite
            | Self::ProxyJoin
            | Self::ProxyFollow
            | Self::AuthorityRevoke => false,
        }
    }
}

/// A named set of permissions that an identity may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything but what only the product itself does.
    Admin,
}

impl Role {
    const fn has(self, permission: Permission) -> bool {
        match self {
            Self::Admin => {
                !matches!(permission, Permission::AuthorityUpkeep | Permission::ProxyJoin | Permission::ProxyFollow)
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// What a wish is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything there is.
    Everything,
    /// What belongs to one identity; on one cluster, where the wish says so.
    Of(AnyId, Option<ClusterName>),
    /// An identity itself, whatever the cluster.
    Identity(IdentityId),
    /// One cluster.
    Cluster(ClusterName),
}

/// What an actor holds, read in the transaction that uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The actor's roles; only a management certificate brings any.
    pub roles: Vec<Role>,
}

/// Proof that [`authorise`] said yes.
#[derive(Clone, Debug)]
pub struct Permit {
    actor: Actor,
    permission: Permission,
}

impl Permit {
    /// Who acts.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What was permitted.
    pub const fn permission(&self) -> Permission {
        self.permission
    }
}

/// Why the answer was no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The actor never has this right.
    NoRight,
    /// The actor has this right, but over what is their own only: to them the rest does not exist.
    NotYours,
}

/// Decides whether the actor may.
pub fn authorise(actor: &Actor, grants: &Grants, permission: Permission, scope: &Scope) -> Result<Permit, Denied> {
    let permit = || Permit { actor: actor.clone(), permission };
    match actor {
        Actor::System(part) => system(*part, permission).then(permit).ok_or(Denied::NoRight),
        Actor::Proxy(follower) => match (permission, scope) {
            (Permission::ProxyFollow, Scope::Cluster(cluster)) if *cluster == follower.cluster => Ok(permit()),
            _ => Err(Denied::NoRight),
        },
        Actor::Joiner { .. } => match permission {
            Permission::ProxyJoin => Ok(permit()),
            _ => Err(Denied::NoRight),
        },
        Actor::Recovery => match permission {
            Permission::CertificateIssueManagement | Permission::RoleWrite | Permission::IdentityLock => Ok(permit()),
            _ => Err(Denied::NoRight),
        },
        Actor::Holder(holder) => {
            if grants.roles.iter().any(|role| role.has(permission)) {
                return Ok(permit());
            }
            if !permission.is_everyones_over_their_own() {
                return Err(Denied::NoRight);
            }
            if is_own(holder, scope) { Ok(permit()) } else { Err(Denied::NotYours) }
        }
    }
}

fn is_own(holder: &Holder, scope: &Scope) -> bool {
    let on_own_cluster = |cluster: &ClusterName| match &holder.realm {
        Realm::Management => true,
        Realm::Cluster(own) => own == cluster,
    };
    match scope {
        Scope::Everything => false,
        Scope::Identity(id) => *id == holder.id,
        Scope::Cluster(cluster) => on_own_cluster(cluster),
        Scope::Of(id, Some(cluster)) => id.as_str() == holder.id.as_str() && on_own_cluster(cluster),
        Scope::Of(id, None) => id.as_str() == holder.id.as_str() && holder.realm == Realm::Management,
    }
}

const fn system(part: Part, permission: Permission) -> bool {
    match part {
        Part::Initialisation => matches!(
            permission,
            Permission::AuthorityUpkeep
                | Permission::IdentityWrite
                | Permission::RoleWrite
                | Permission::ClusterWrite
                | Permission::ClusterRead
                | Permission::CertificateIssueManagement
        ),
        Part::Upkeep | Part::Restore => matches!(permission, Permission::AuthorityUpkeep),
        Part::Publisher => {
            matches!(permission, Permission::AuthorityUpkeep | Permission::CertificateRead | Permission::ClusterRead)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(realm: Realm) -> Actor {
        Actor::Holder(Holder {
            id: "alice".parse().unwrap(),
            serial: Serial::from_random([1; 20]),
            fingerprint: Fingerprint::from_octets([1; 32]),
            realm,
        })
    }

    fn of(id: &str, cluster: Option<&str>) -> Scope {
        Scope::Of(id.parse().unwrap(), cluster.map(|c| c.parse().unwrap()))
    }

    #[test]
    fn an_admin_may_do_all_but_what_the_product_does_itself() {
        let grants = Grants { roles: vec![Role::Admin] };
        for permission in Permission::ALL {
            let answer = authorise(&holder(Realm::Management), &grants, permission, &Scope::Everything);
            let is_ours =
                matches!(permission, Permission::AuthorityUpkeep | Permission::ProxyJoin | Permission::ProxyFollow);
            assert_eq!(answer.is_ok(), !is_ours, "{permission:?}");
        }
    }

    #[test]
    fn without_a_role_everyone_has_only_their_own() {
        let none = Grants::default();
        for permission in Permission::ALL {
            let own = authorise(&holder(Realm::Management), &none, permission, &of("alice", None));
            assert_eq!(own.is_ok(), permission.is_everyones_over_their_own(), "{permission:?}");
            assert!(authorise(&holder(Realm::Management), &none, permission, &of("bob", None)).is_err());
            assert!(authorise(&holder(Realm::Management), &none, permission, &Scope::Everything).is_err());
        }
    }

    #[test]
    fn a_cluster_certificate_is_oneself_on_that_cluster_only() {
        let none = Grants::default();
        let actor = holder(Realm::Cluster("demo".parse().unwrap()));
        let may = |scope: &Scope| authorise(&actor, &none, Permission::CertificateIssue, scope).is_ok();
        assert!(may(&of("alice", Some("demo"))));
        assert!(!may(&of("alice", Some("prod"))));
        assert!(!may(&of("alice", None)));
        assert!(!may(&of("bob", Some("demo"))));
    }

    #[test]
    fn a_proxy_follows_for_its_own_cluster_and_does_nothing_else() {
        let cluster = |name: &str| Scope::Cluster(name.parse().unwrap());
        let follower = ProxyHolder {
            name: "prod-a".parse().unwrap(),
            cluster: "prod".parse().unwrap(),
            fingerprint: Fingerprint::from_octets([1; 32]),
        };
        let (proxy, joiner) = (Actor::Proxy(follower), Actor::Joiner { token: [1; 32] });
        let none = Grants::default();
        for permission in Permission::ALL {
            let may = |actor: &Actor, scope: &Scope| authorise(actor, &none, permission, scope).is_ok();
            assert_eq!(may(&proxy, &cluster("prod")), permission == Permission::ProxyFollow, "{permission:?}");
            assert!(!may(&proxy, &cluster("other")) && !may(&proxy, &Scope::Everything), "{permission:?}");
            assert_eq!(may(&joiner, &cluster("prod")), permission == Permission::ProxyJoin, "{permission:?}");
        }
    }

    #[test]
    fn what_is_not_yours_is_told_apart_from_what_you_may_never_do() {
        let none = Grants::default();
        let ask = |permission, scope: &Scope| authorise(&holder(Realm::Management), &none, permission, scope).err();
        assert_eq!(ask(Permission::CertificateRead, &of("bob", None)), Some(Denied::NotYours));
        assert_eq!(ask(Permission::ClusterWrite, &Scope::Everything), Some(Denied::NoRight));
    }
}
