//! An authority with a list of any length to publish.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use portcullis::publish::crl::Lists;
use portcullis::publish::roll::Member;
use portcullis::standing::{Cut, CutKey, Revision};
use portcullis::status::{Change, Credential};
use portcullis::world::{Clock as _, SystemClock};
use portcullis::x509::reason::Reason;

use super::authority::Authority;
use super::record::{FAR, fingerprint};
use super::revoked::serial;

/// Its lists, in a folder; so many of its certificates are revoked.
pub(crate) fn lists(authority: &Authority, size: u64, folder: &Path) -> Lists {
    revoke(authority, size);
    let (engine, keyring) = (Arc::clone(&authority.engine), Arc::clone(&authority.authorities.keyring));
    let (statuses, roll) = (Arc::clone(&authority.statuses), Arc::clone(&authority.roll));
    Lists::new(engine, keyring, statuses, roll, folder).unwrap()
}

/// Puts so many revoked certificates on the roll, as following the journal does.
fn revoke(authority: &Authority, size: u64) {
    let (name, at) = (authority.issuer().name.clone(), SystemClock.now());
    let member = |number| (serial(number), Member { fingerprint: fingerprint(number), not_after: FAR });
    authority.roll.add_all(name.clone(), (0..size).map(member).collect());
    let issued = Revision { era: 1, number: 1 };
    authority.statuses.apply((0..size).flat_map(|number| {
        let key = fingerprint(number).short();
        let cut_keys = vec![CutKey::Issuer(name.clone())];
        let credential = Credential { key, issued, not_after: FAR, cut_keys };
        let cut = Cut { revision: Revision { era: 1, number: 2 }, at, reason: Reason::KeyCompromise };
        [Change::Recorded(credential), Change::Revoked(key, cut)]
    }));
}
