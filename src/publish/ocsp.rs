//! OCSP answers (RFC 6960, RFC 9919): whom we answer for, with whose signature, from what.
//!
//! Every issuing CA has a responder with a certificate of its own, so that no answer needs the CA's key. A serial that
//! was never recorded is `unknown`, never `good`; a foreign issuer is `unauthorized`. Locks do not show. Answers
//! without a nonce are prepared once and dropped when anything is cut off; answers with one are signed each time, up to
//! a rate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use rcgen::KeyPair;

use super::roll::Roll;
use crate::access::{Actor, Part};
use crate::ca::authorities::Authorities;
use crate::ca::template::RESPONDER_LIFETIME;
use crate::ca::upkeep::{Equip, Equipment};
use crate::command::{Code, Rejected};
use crate::engine::Engine;
use crate::ident::{IssuerName, Serial};
use crate::status::{Stale, Status, Statuses};
use crate::world::{Clock, Timestamp};
use crate::x509::certificate::Certificate;
use crate::x509::ocsp::issuer::IssuerHashes;
use crate::x509::ocsp::request::{CertId, Request};
use crate::x509::ocsp::response::{CertStatus, ErrorResponse, Responder, Single};
use crate::x509::public_key::PublicKey;

/// How long an answer may be used at most.
pub const VALIDITY: Duration = Duration::from_secs(10 * 60);

/// How long a cache between us and the client may keep one.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// The responders of every issuing CA, and the answers they have ready.
#[derive(Debug)]
pub struct Responders {
    engine: Arc<Engine>,
    authorities: Authorities,
    statuses: Arc<Statuses>,
    roll: Arc<Roll>,
    signers: RwLock<Vec<Arc<Signer>>>,
    prepared: Mutex<Prepared>,
    budget: Mutex<Budget>,
}

/// An OCSP response and whether caches may keep it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The response in DER.
    pub der: Bytes,
    /// From when and until when it may be used; none for errors and for answers with a nonce.
    pub cacheable: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug)]
struct Signer {
    issuer: IssuerName,
    hashes: IssuerHashes,
    responder: Responder,
    key: KeyPair,
    not_after: Timestamp,
}

/// Answers without a nonce, valid for as long as nothing is cut off.
#[derive(Debug, Default)]
struct Prepared {
    cuts: u64,
    answers: HashMap<(IssuerName, Serial, Vec<u8>), Answer>,
}

/// How many answers may still be signed in this second.
#[derive(Debug, Default)]
struct Budget {
    second: i64,
    spent: u32,
}

impl Responders {
    /// No responder yet: everything is `tryLater` until [`renew`](Self::renew).
    pub fn new(engine: Arc<Engine>, authorities: Authorities, statuses: Arc<Statuses>, roll: Arc<Roll>) -> Self {
        Self {
            engine,
            authorities,
            statuses,
            roll,
            signers: RwLock::default(),
            prepared: Mutex::default(),
            budget: Mutex::default(),
        }
    }

    /// Makes a responder for every issuing CA that has none or whose responder is past half its life; blocking.
    ///
    /// The old one's certificate stays valid, so answers that it signed are good until they end by themselves. A CA for
    /// which none can be made does not keep the others from theirs; the last such failure is returned.
    pub fn renew(&self) -> Result<(), Rejected> {
        let now = self.engine.world().clock.now();
        let mut outcome = Ok(());
        for issuer in self.authorities.keyring.all() {
            // What the root signed has no OCSP.
            if issuer.name == IssuerName::root() {
                continue;
            }
            let is_fresh = self
                .signers()
                .iter()
                .any(|signer| signer.issuer == issuer.name && signer.not_after > now.after(RESPONDER_LIFETIME / 2));
            if is_fresh {
                continue;
            }
            match self.equip(&issuer.name, &issuer.certificate) {
                Ok(signer) => {
                    let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
                    signers.retain(|old| old.issuer != issuer.name);
                    signers.push(Arc::new(signer));
                }
                Err(rejected) => outcome = Err(rejected),
            }
        }
        outcome
    }

    /// Answers a request in DER.
    pub fn answer(&self, request: &[u8], clock: &dyn Clock) -> Answer {
        let Ok(request) = Request::from_der(request) else {
            return error(ErrorResponse::MalformedRequest);
        };
        let Some(signer) = self.signer_for(&request) else {
            return error(ErrorResponse::Unauthorized);
        };
        match self.answer_with(&signer, &request, clock.now()) {
            Ok(answer) => answer,
            Err(stale) => {
                tracing::warn!(%stale, "an OCSP request was not answered");
                error(ErrorResponse::TryLater)
            }
        }
    }

    fn answer_with(&self, signer: &Signer, request: &Request, now: Timestamp) -> Result<Answer, Stale> {
        let key = prepared_key(signer, request);
        let cuts = self.roll.cuts();
        if let Some(answer) = key.as_ref().and_then(|key| self.prepared(key, cuts, now)) {
            return Ok(answer);
        }
        if !self.may_sign(now) {
            return Ok(error(ErrorResponse::TryLater));
        }
        let this_update = now.whole_seconds();
        let next_update = this_update.after(VALIDITY);
        let mut singles = Vec::with_capacity(request.cert_ids.len());
        let mut is_known = true;
        for cert_id in &request.cert_ids {
            let status = self.status(signer, cert_id, now)?;
            is_known &= status != CertStatus::Unknown;
            singles.push(Single { cert_id, status, this_update, next_update });
        }
        let signed = signer.responder.sign(&singles, request.nonce.as_ref(), this_update, &signer.key);
        let der = signed.map_err(|error| Stale(format!("the answer was not signed: {error}")))?;
        let cacheable = request.nonce.is_none().then_some((this_update, next_update));
        let answer = Answer { der: der.into(), cacheable };
        // A serial that is unknown now may be recorded in a moment: never kept.
        if let Some(key) = key.filter(|_| is_known) {
            self.prepare(key, cuts, &answer);
        }
        Ok(answer)
    }

    fn status(&self, signer: &Signer, cert_id: &CertId, now: Timestamp) -> Result<CertStatus, Stale> {
        let member = cert_id.serial.and_then(|serial| self.roll.member(&signer.issuer, serial));
        let Some(member) = member else {
            self.statuses.revision()?;
            // Issued and revoked after a backup that the store was put back from: a list said so.
            let listed = cert_id.serial.and_then(|serial| self.roll.listed(&signer.issuer, serial));
            return Ok(listed.map_or(CertStatus::Unknown, |listed| CertStatus::Revoked {
                at: listed.cut.at,
                reason: Some(listed.cut.reason),
            }));
        };
        Ok(match self.statuses.status(&member.fingerprint, now)? {
            Status::Unknown => CertStatus::Unknown,
            Status::Revoked(cut) => CertStatus::Revoked { at: cut.at, reason: Some(cut.reason) },
            // Expiry is in the certificate itself, and a lock can be undone.
            Status::Expired { .. } | Status::Locked(_) | Status::Good => CertStatus::Good,
        })
    }

    /// The responder of the one issuer that every certificate in the request names.
    fn signer_for(&self, request: &Request) -> Option<Arc<Signer>> {
        let signers = self.signers();
        let signer = signers.into_iter().find(|signer| request.cert_ids.iter().any(|id| signer.hashes.matches(id)))?;
        request.cert_ids.iter().all(|id| signer.hashes.matches(id)).then_some(signer)
    }

    fn equip(&self, name: &IssuerName, certificate: &Certificate) -> Result<Signer, Rejected> {
        let fault = |error: &dyn std::fmt::Display| {
            Rejected::new(Code::Internal, format!("the OCSP responder of {name} was not made: {error}"))
        };
        let key = KeyPair::generate().map_err(|error| fault(&error))?;
        let equip = Equip {
            equipment: Equipment::Responder(name.clone()),
            public_key: PublicKey::of(&key).map_err(|error| fault(&error))?,
            keyring: Arc::clone(&self.authorities.keyring),
            places: self.authorities.places.clone(),
        };
        let row = self.engine.run(&Actor::System(Part::Upkeep), &equip)?.outcome.row;
        let own = Certificate::from_der(&row.der).map_err(|error| fault(&error))?;
        Ok(Signer {
            issuer: name.clone(),
            hashes: IssuerHashes::of(certificate),
            responder: Responder::new(&own),
            key,
            not_after: row.not_after,
        })
    }

    fn signers(&self) -> Vec<Arc<Signer>> {
        self.signers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn prepared(&self, key: &(IssuerName, Serial, Vec<u8>), cuts: u64, now: Timestamp) -> Option<Answer> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = prepared.answers.get(key).filter(|_| prepared.cuts == cuts)?;
        // Half of its time must be left, so that whoever gets it can use it.
        answer.cacheable.filter(|(from, _)| now < from.after(VALIDITY / 2))?;
        Some(answer.clone())
    }

    fn prepare(&self, key: (IssuerName, Serial, Vec<u8>), cuts: u64, answer: &Answer) {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.cuts != cuts || prepared.answers.len() >= MAX_PREPARED {
            prepared.answers.clear();
            prepared.cuts = cuts;
        }
        prepared.answers.insert(key, answer.clone());
    }

    fn may_sign(&self, now: Timestamp) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if budget.second != now.unix_seconds() {
            *budget = Budget { second: now.unix_seconds(), spent: 0 };
        }
        budget.spent = budget.spent.saturating_add(1);
        budget.spent <= SIGNATURES_PER_SECOND
    }
}

/// What a prepared answer is found by: one certificate, no nonce, the question byte for byte.
fn prepared_key(signer: &Signer, request: &Request) -> Option<(IssuerName, Serial, Vec<u8>)> {
    match request.cert_ids.as_slice() {
        [one] if request.nonce.is_none() => Some((signer.issuer.clone(), one.serial?, one.der.clone())),
        _ => None,
    }
}

fn error(response: ErrorResponse) -> Answer {
    Answer { der: Bytes::from_static(response.der()), cacheable: None }
}

/// Anybody may ask, so signing has a bound: a quarter of what one core signs.
const SIGNATURES_PER_SECOND: u32 = 20_000;

/// Some 80 MB of prepared answers.
const MAX_PREPARED: usize = 100_000;
