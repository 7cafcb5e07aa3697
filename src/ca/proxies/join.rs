//! How a proxy gets its certificates: invited with a token, it joins once, and renews from then on by itself.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rows::{JoinTokenRow, ProxyRow};
use crate::access::{Actor, Permission, Permit, Scope};
use crate::ca::authorities::must_sign;
use crate::ca::clusters;
use crate::ca::keys::Keyring;
use crate::ca::rows::{AuthorityRow, ClusterRow};
use crate::ca::sign::{self, Holding};
use crate::ca::template::{PROXY_LIFETIME, Places, Wanted};
use crate::command::{Code, Command, Rejected};
use crate::ident::{ClusterName, IssuerName, ProxyName};
use crate::journal::Event;
use crate::ledger::credentials;
use crate::ledger::import::Restores;
use crate::ledger::rows::{CertificateRole, CertificateRow};
use crate::store::txn::Txn;
use crate::world::Moment;
use crate::x509::name::Subject;
use crate::x509::public_key::PublicKey;

/// How long a token can be used.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Makes a token with which one proxy may join, once and within the hour.
#[derive(Clone, Debug)]
pub struct Invite {
    /// What the proxy will be called.
    pub proxy: ProxyName,
    /// The cluster it is for.
    pub cluster: ClusterName,
    /// The SHA-256 of the token's secret.
    pub secret_hash: [u8; 32],
}

impl Command for Invite {
    type Outcome = JoinTokenRow;

    fn permission(&self) -> Permission {
        Permission::ProxyWrite
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Cluster(self.cluster.clone()))
    }

    fn decide(&self, _: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<JoinTokenRow, Rejected> {
        clusters::present(txn, &self.cluster)?;
        if let Some(row) = txn.get::<ProxyRow>(&self.proxy)?
            && row.value.cluster != self.cluster
            && !row.value.is_removed
        {
            let cluster = row.value.cluster;
            return Err(Rejected::new(
                Code::AlreadyExists,
                format!("{} is a proxy of {cluster}: choose another --name", self.proxy),
            ));
        }
        let expires = moment.now.after(TOKEN_LIFETIME);
        let row = JoinTokenRow { proxy: self.proxy.clone(), cluster: self.cluster.clone(), expires };
        txn.put(&self.secret_hash, &row)?;
        txn.record(Event::ProxyInvited { proxy: row.proxy.clone(), cluster: row.cluster.clone() });
        Ok(row)
    }
}

/// Has the certificates of a proxy issued: on a token for the first time, by its own certificate from then on.
#[derive(Debug)]
pub struct Equip {
    /// The key with which it follows the authority.
    pub follower_key: PublicKey,
    /// The key with which it serves.
    pub server_key: PublicKey,
    /// The authorities.
    pub keyring: Arc<Keyring>,
    /// Where relying parties look things up.
    pub places: Places,
}

/// A proxy's certificates are on the record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Equipped {
    /// What it is called.
    pub proxy: ProxyName,
    /// The cluster it stands in front of.
    pub cluster: ClusterName,
    /// The certificate with which it follows the authority.
    pub follower: CertificateRow,
    /// The certificate with which it serves.
    pub server: CertificateRow,
    /// The infrastructure CA in DER, which signed both.
    pub issuer_der: Vec<u8>,
    /// The cluster's issuing CAs in DER: whose clients it lets in.
    pub authorities: Vec<Vec<u8>>,
}

impl Equip {
    /// The wish of whoever joins with a token.
    pub const fn on_token(self, token: [u8; 32]) -> Join {
        Join { equip: self, token }
    }

    /// The wish of a proxy that renews.
    pub const fn renewing(self, cluster: ClusterName) -> Renew {
        Renew { equip: self, cluster }
    }

    fn issue(
        &self,
        txn: &mut Txn<'_>,
        moment: &Moment<'_>,
        proxy: &ProxyName,
        cluster: &ClusterName,
    ) -> Result<Equipped, Rejected> {
        let row = clusters::present(txn, cluster)?;
        must_sign(txn, &IssuerName::infra())?;
        let infra = self.keyring.issuer(&IssuerName::infra())?;
        let wanted = |role, key: &PublicKey, names| Wanted {
            role,
            subject: Subject::common_name(proxy.as_str().to_owned()),
            public_key: key.clone(),
            names,
            lifetime: PROXY_LIFETIME,
        };
        let mut sign = |wanted: &Wanted| -> Result<CertificateRow, Rejected> {
            let holding = Holding { cluster: Some(cluster.clone()), ..Holding::default() };
            let signed = sign::sign(wanted, &infra, &self.places, holding, moment)?;
            credentials::record(txn, signed.key_hash, &signed.row)?;
            Ok(signed.row)
        };
        let follower = sign(&wanted(CertificateRole::Proxy, &self.follower_key, Vec::new()))?;
        let server = sign(&wanted(CertificateRole::Server, &self.server_key, row.names.clone()))?;
        let joined = ProxyRow {
            name: proxy.clone(),
            cluster: cluster.clone(),
            joined: moment.now,
            certificate: follower.fingerprint,
            is_removed: false,
        };
        txn.put(proxy, &joined)?;
        Ok(Equipped {
            proxy: proxy.clone(),
            cluster: cluster.clone(),
            follower,
            server,
            issuer_der: infra.certificate.der().to_vec(),
            authorities: authorities(txn, &row)?,
        })
    }
}

/// The issuing CAs of a cluster that still vouch for somebody, in DER.
pub fn authorities(txn: &mut Txn<'_>, cluster: &ClusterRow) -> Result<Vec<Vec<u8>>, Rejected> {
    let mut found = Vec::new();
    for issuer in cluster.trusted() {
        found.extend(txn.get::<AuthorityRow>(issuer)?.map(|row| row.value.der));
    }
    Ok(found)
}

/// Joins with a token, which is used up.
#[derive(Debug)]
pub struct Join {
    equip: Equip,
    token: [u8; 32],
}

impl Command for Join {
    type Outcome = Equipped;

    fn permission(&self) -> Permission {
        Permission::ProxyJoin
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Everything)
    }

    fn decide(&self, permit: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Equipped, Rejected> {
        if *permit.actor() != (Actor::Joiner { token: self.token }) {
            return Err(Rejected::new(Code::Forbidden, "a token is used by whoever shows its secret"));
        }
        let token = txn.get::<JoinTokenRow>(&self.token)?.filter(|row| moment.now <= row.value.expires);
        // A backup brings tokens back that were used since.
        let restores = Restores::read(txn)?;
        let Some(token) = token.filter(|row| !restores.have_come_after(row.created)) else {
            return Err(Rejected::new(
                Code::Unauthenticated,
                "this token was never made, was used, is over an hour old, or was made before a restore: make one with \
                 `portcullis proxy token`",
            ));
        };
        let JoinTokenRow { proxy, cluster, .. } = token.value;
        txn.delete::<JoinTokenRow>(&self.token);
        txn.get::<ProxyRow>(&proxy)?;
        let equipped = self.equip.issue(txn, moment, &proxy, &cluster)?;
        txn.record(Event::ProxyJoined { proxy, cluster });
        Ok(equipped)
    }
}

/// Renews a proxy's certificates; the names are those its cluster has by then.
#[derive(Debug)]
pub struct Renew {
    equip: Equip,
    cluster: ClusterName,
}

impl Command for Renew {
    type Outcome = Equipped;

    fn permission(&self) -> Permission {
        Permission::ProxyFollow
    }

    fn scope(&self, _: &mut Txn<'_>) -> Result<Scope, Rejected> {
        Ok(Scope::Cluster(self.cluster.clone()))
    }

    fn decide(&self, permit: &Permit, txn: &mut Txn<'_>, moment: &Moment<'_>) -> Result<Equipped, Rejected> {
        let row = following(permit, txn)?;
        self.equip.issue(txn, moment, &row.name, &row.cluster)
    }
}

/// The proxy that acts, which must not be removed; asserted.
pub fn following(permit: &Permit, txn: &mut Txn<'_>) -> Result<ProxyRow, Rejected> {
    let Actor::Proxy(follower) = permit.actor() else {
        return Err(Rejected::new(Code::Forbidden, "only a proxy does this"));
    };
    match txn.get::<ProxyRow>(&follower.name)? {
        Some(row) if !row.value.is_removed && row.value.cluster == follower.cluster => Ok(row.value),
        _ => Err(Rejected::new(
            Code::Unauthenticated,
            format!("{} was removed: join again with a new token", follower.name),
        )),
    }
}
