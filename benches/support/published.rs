//! An authority with a list of any length to publish.
#![allow(dead_code, reason = "each bench uses another part of this")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis::ident::AnyId;
use portcullis::publish::crl::{Lists, Published};
use portcullis::publish::roll::Member;
use portcullis::standing::{Cut, CutKey, Revision};
use portcullis::status::{Change, Credential, Statuses};
use portcullis::world::{Clock as _, SystemClock};
use portcullis::x509::reason::Reason;

use super::authority::Authority;
use super::record::{FAR, fingerprint};
use super::revoked::serial;

/// Certificates of a user.
pub(crate) const EACH: u64 = 4;

/// The lists of an authority, in a folder.
pub(crate) struct Publisher<'a> {
    authority: &'a Authority,
    lists: Lists,
    folder: PathBuf,
    /// The next user whose certificates stand.
    next: Cell<u64>,
}

impl<'a> Publisher<'a> {
    /// So many of its certificates are revoked, and so many more stand.
    pub(crate) fn new(authority: &'a Authority, revoked: u64, standing: u64, folder: &Path) -> Self {
        record(authority, revoked + standing);
        let publisher =
            Self { authority, lists: lists(authority, folder), folder: folder.to_owned(), next: Cell::new(0) };
        (0..revoked / EACH).for_each(|_| publisher.revoke());
        publisher
    }

    /// Begins anew, as after a start: nothing is encoded yet.
    pub(crate) fn forget(&mut self) {
        self.lists = lists(self.authority, &self.folder);
    }

    /// Cuts one more user off.
    pub(crate) fn revoke(&self) {
        let user = self.next.replace(self.next.get() + 1);
        let cut =
            Cut { revision: Revision { era: 1, number: 2 }, at: SystemClock.now(), reason: Reason::KeyCompromise };
        self.authority.statuses.apply([Change::CutOff(CutKey::Identity(id(user)), cut)]);
    }

    /// How many certificates are revoked.
    pub(crate) fn revoked(&self) -> u64 {
        self.next.get() * EACH
    }

    /// The next list.
    pub(crate) fn publish(&self) -> Published {
        self.lists.publish(&self.authority.issuer()).unwrap()
    }
}

fn lists(authority: &Authority, folder: &Path) -> Lists {
    let (engine, keyring) = (Arc::clone(&authority.engine), Arc::clone(&authority.authorities.keyring));
    let (statuses, roll) = (Arc::clone(&authority.statuses), Arc::clone(&authority.roll));
    Lists::new(engine, keyring, statuses, roll, folder).unwrap()
}

/// Puts so many certificates on the roll, as following the journal does.
fn record(authority: &Authority, size: u64) {
    let name = authority.issuer().name.clone();
    let member = |number| (serial(number), Member { fingerprint: fingerprint(number), not_after: FAR });
    authority.roll.add_all(&name, (0..size).map(member).collect());
    let statuses: &Statuses = &authority.statuses;
    statuses.apply((0..size).map(|number| {
        let id = id(number / EACH);
        let cut_keys = vec![
            CutKey::Identity(id.clone()),
            CutKey::IdentityOnCluster(id, "north".parse().unwrap()),
            CutKey::Issuer(name.clone()),
        ];
        let issued = Revision { era: 1, number: 1 };
        Change::Recorded(Credential { key: fingerprint(number).short(), issued, not_after: FAR, cut_keys })
    }));
}

fn id(user: u64) -> AnyId {
    format!("user-{user}").parse().unwrap()
}
