//! From what is wanted to a certificate and its record.

use super::keys::Issuer;
use super::lint::{Linted, lint};
use super::template::{self, ISSUING_LIFETIME, Places, Wanted};
use crate::command::{Code, Rejected};
use crate::ident::{AnyId, ClusterName, Fingerprint, GroupName, IdentityId, IssuerName};
use crate::ledger::rows::{CertificateRole, CertificateRow};
use crate::standing::CutKey;
use crate::world::Moment;
use crate::x509::certificate::Certificate;
use crate::x509::name::Subject;

/// Whose certificate it is, for the record.
#[derive(Clone, Debug, Default)]
pub struct Holding {
    /// The cluster it is for.
    pub cluster: Option<ClusterName>,
    /// Its groups, sorted.
    pub groups: Vec<GroupName>,
    /// The agency it is held under.
    pub agency: Option<IdentityId>,
    /// Everything that can cut it off, its issuer apart.
    pub cut_keys: Vec<CutKey>,
}

/// A certificate that is signed and not yet on the record: it must not leave the process before it is.
#[derive(Debug)]
pub struct Signed {
    /// What is to be recorded.
    pub row: CertificateRow,
    /// The SHA-256 of its public key.
    pub key_hash: [u8; 32],
}

/// Fills the template, lints it, signs it.
pub fn sign(
    wanted: &Wanted,
    issuer: &Issuer,
    places: &Places,
    holding: Holding,
    moment: &Moment<'_>,
) -> Result<Signed, Rejected> {
    let encoded = template::fill(wanted, issuer, places, moment)?.encode();
    let linted = lint(&encoded, wanted, Some(issuer))?;
    let der = seal(&linted, &issuer.key)?;
    record(wanted, &issuer.name, holding, der)
}

/// The certificate of an authority that signs itself, below which there may be so many others.
pub fn sign_self(
    name: &IssuerName,
    wanted: &Wanted,
    path_len: Option<u8>,
    key: &rcgen::KeyPair,
    moment: &Moment<'_>,
) -> Result<Signed, Rejected> {
    let encoded = template::self_signed(wanted, path_len, key, moment)?.encode();
    let linted = lint(&encoded, wanted, None)?;
    let der = seal(&linted, key)?;
    record(wanted, name, Holding::default(), der)
}

/// The one place where an authority's key signs a certificate: it asks for the proof that it was linted.
fn seal(linted: &Linted<'_>, key: &rcgen::KeyPair) -> Result<Vec<u8>, Rejected> {
    linted.encoded().sign(key).map_err(|error| Rejected::new(Code::Internal, format!("signing failed: {error}")))
}

/// What is recorded of the certificate of an authority that our root has signed elsewhere, where its key is kept.
pub fn by_root(certificate: &Certificate) -> Result<Signed, Rejected> {
    let names = certificate.subject.common_names();
    let wanted = Wanted {
        role: CertificateRole::Authority,
        subject: Subject::common_name(names.first().copied().unwrap_or_default()),
        public_key: certificate.public_key.clone(),
        names: Vec::new(),
        lifetime: ISSUING_LIFETIME,
    };
    record(&wanted, &IssuerName::root(), Holding::default(), certificate.der().to_vec())
}

fn record(wanted: &Wanted, issuer: &IssuerName, holding: Holding, der: Vec<u8>) -> Result<Signed, Rejected> {
    let unreadable =
        |what: String| Rejected::new(Code::Internal, format!("a signed certificate is unreadable: {what}"));
    let certificate = Certificate::from_der(&der).map_err(|error| unreadable(error.to_string()))?;
    let serial = certificate.serial.ok_or_else(|| unreadable("its serial".to_owned()))?;
    let mut cut_keys = holding.cut_keys;
    cut_keys.push(CutKey::Issuer(issuer.clone()));
    cut_keys.sort_unstable();
    cut_keys.dedup();
    let row = CertificateRow {
        serial,
        fingerprint: certificate.fingerprint(),
        issuer: issuer.clone(),
        role: wanted.role,
        subject: wanted.subject.common_name.clone(),
        cluster: holding.cluster,
        groups: holding.groups,
        agency: holding.agency,
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        cut_keys,
        der,
        is_imported: false,
    };
    Ok(Signed { row, key_hash: key_hash(wanted.public_key.spki()) })
}

/// The SHA-256 of a raw SubjectPublicKeyInfo.
pub fn key_hash(spki: &[u8]) -> [u8; 32] {
    *Fingerprint::of(spki).octets()
}

/// The cut keys of an identity's credential, without those it inherits.
pub fn cut_keys(
    id: &IdentityId,
    cluster: Option<&ClusterName>,
    agency: Option<&IdentityId>,
    groups: &[GroupName],
) -> Vec<CutKey> {
    let mut keys = vec![CutKey::Identity(AnyId::from(id))];
    keys.extend(cluster.map(|cluster| CutKey::IdentityOnCluster(AnyId::from(id), cluster.clone())));
    if let Some(agency) = agency {
        keys.push(CutKey::Agency(AnyId::from(agency)));
        keys.extend(cluster.map(|cluster| CutKey::AgencyOnCluster(AnyId::from(agency), cluster.clone())));
    }
    for group in groups {
        keys.push(CutKey::Member(id.clone(), group.clone()));
        keys.push(CutKey::Group(group.clone()));
    }
    keys
}
