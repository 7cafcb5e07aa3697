//! Server certificates for our own listeners, from the infrastructure CA.

use std::sync::{Arc, Mutex, PoisonError};

use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{AppError, Doing};
use crate::access::{Actor, Part};
use crate::ca::authorities::Authorities;
use crate::ca::upkeep::{Equip, Equipment};
use crate::engine::Engine;
use crate::net::tls::Serving;
use crate::world::Timestamp;
use crate::x509::public_key::PublicKey;

/// A listener's certificate, and when it is due.
#[derive(Debug)]
pub struct Served {
    title: String,
    names: Mutex<Vec<String>>,
    /// What the listener serves.
    pub serving: Arc<Serving>,
    validity: Mutex<(Timestamp, Timestamp)>,
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, (Timestamp, Timestamp));

impl Served {
    /// Has a certificate made for a server of ours; its key stays in memory. Blocking.
    pub fn new(
        engine: &Engine,
        authorities: &Authorities,
        title: &str,
        names: Vec<String>,
    ) -> Result<Arc<Self>, AppError> {
        let (chain, key, validity) = equip(engine, authorities, title, &names)?;
        let serving = Serving::new(chain, key).doing("using the server's certificate")?;
        Ok(Arc::new(Self {
            title: title.to_owned(),
            names: Mutex::new(names),
            serving,
            validity: Mutex::new(validity),
        }))
    }

    /// Renews the certificate at two thirds of its life; connections go on. Blocking.
    pub fn renew_if_due(&self, engine: &Engine, authorities: &Authorities) -> Result<(), AppError> {
        let (from, until) = *self.validity.lock().unwrap_or_else(PoisonError::into_inner);
        let due = from.after(until.since(from) / 3 * 2);
        if engine.world().clock.now() < due {
            return Ok(());
        }
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.replace(engine, authorities, &names)
    }

    /// Has a certificate for other names made and serves that from the next handshake on. Blocking.
    pub fn rename(&self, engine: &Engine, authorities: &Authorities, names: Vec<String>) -> Result<(), AppError> {
        self.replace(engine, authorities, &names)?;
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        Ok(())
    }

    fn replace(&self, engine: &Engine, authorities: &Authorities, names: &[String]) -> Result<(), AppError> {
        let (chain, key, validity) = equip(engine, authorities, &self.title, names)?;
        self.serving.replace(chain, key).doing("using the server's new certificate")?;
        *self.validity.lock().unwrap_or_else(PoisonError::into_inner) = validity;
        tracing::info!(server = self.title, until = %validity.1, "renewed a server certificate");
        Ok(())
    }
}

fn equip(engine: &Engine, authorities: &Authorities, title: &str, names: &[String]) -> Result<Pair, AppError> {
    let key = KeyPair::generate().doing("making a server key")?;
    let equip = Equip {
        equipment: Equipment::Server { title: title.to_owned(), names: names.to_vec() },
        public_key: PublicKey::of(&key).doing("reading a server key")?,
        keyring: Arc::clone(&authorities.keyring),
        places: authorities.places.clone(),
    };
    let equipped = engine.run(&Actor::System(Part::Upkeep), &equip).doing("issuing a server certificate")?.outcome;
    let chain = vec![CertificateDer::from(equipped.row.der), CertificateDer::from(equipped.issuer_der)];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((chain, key, (equipped.row.not_before, equipped.row.not_after)))
}
