//! Joining with a token, and renewing.

use std::sync::Arc;

use crate::access::{Actor, ProxyHolder};
use crate::api::Api;
use crate::api::routes::{Call, Reply};
use crate::ca::proxies::join::{Equip, Equipped};
use crate::command::{Code, Rejected};
use crate::ident::IssuerName;
use crate::status::joining::{EquipRequest, Equipped as Certificates};
use crate::x509::csr::Request;
use crate::x509::pem::{self, Label};
use crate::x509::public_key::PublicKey;

/// `POST /v1/proxies/join`: whoever shows a token's secret gets the certificates of the proxy it is for, once.
pub fn join(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let Actor::Joiner { token } = call.actor else {
        return Err(Rejected::new(
            Code::Unauthenticated,
            "show the secret of a token made with `portcullis proxy token`",
        ));
    };
    let done = api.run(call, &equip(api, call)?.on_token(token))?;
    Reply::created(&answer(&done.outcome), done.revision)
}

/// `POST /v1/proxies/certificates`: a proxy renews what it follows and serves with.
pub fn renew(api: &Api, call: &Call) -> Result<Reply, Rejected> {
    let holder = proxy(call)?;
    let done = api.run(call, &equip(api, call)?.renewing(holder.cluster.clone()))?;
    Reply::created(&answer(&done.outcome), done.revision)
}

/// The proxy that asks.
pub(super) fn proxy(call: &Call) -> Result<&ProxyHolder, Rejected> {
    match &call.actor {
        Actor::Proxy(holder) => Ok(holder),
        _ => Err(Rejected::new(Code::Forbidden, "only a proxy does this, with its own certificate")),
    }
}

fn equip(api: &Api, call: &Call) -> Result<Equip, Rejected> {
    let request: EquipRequest = call.read()?;
    let key = |csr: &str| -> Result<PublicKey, Rejected> {
        let csr = Request::from_pem_or_der(csr.as_bytes())
            .map_err(|error| Rejected::new(Code::RequestRefused, error.to_string()))?;
        Ok(csr.public_key)
    };
    Ok(Equip {
        follower_key: key(&request.follower_csr)?,
        server_key: key(&request.server_csr)?,
        keyring: Arc::clone(&api.authorities.keyring),
        places: api.authorities.places.clone(),
    })
}

fn answer(equipped: &Equipped) -> Certificates {
    let chain = |leaf: &[u8]| pem::write_certificates([leaf, &equipped.issuer_der]);
    Certificates {
        proxy: equipped.proxy.to_string(),
        cluster: equipped.cluster.to_string(),
        follower_pem: chain(&equipped.follower.der),
        server_pem: chain(&equipped.server.der),
        ca_pem: pem::write(Label::Certificate, &equipped.issuer_der),
        authorities_pem: pem::write_certificates(equipped.authorities.iter().map(Vec::as_slice)),
        not_after: equipped.follower.not_after.min(equipped.server.not_after).to_string(),
    }
}

impl Api {
    /// The infrastructure CA's fingerprint: what a proxy that joins knows the authority by.
    pub(super) fn infra_hash(&self) -> Result<String, Rejected> {
        let infra = self.authorities.keyring.issuer(&IssuerName::infra())?;
        Ok(hex::encode(infra.certificate.fingerprint().octets()))
    }
}
