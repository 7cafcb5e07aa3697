//! What relying parties are told: CRLs and OCSP answers over a real journal, read back.

use std::sync::Arc;

use portcullis::engine::Engine;
use portcullis::follow::Following;
use portcullis::ident::{IssuerName, Serial};
use portcullis::ledger::rows::CertificateRow;
use portcullis::publish::crl::Lists;
use portcullis::publish::ocsp::Responders;
use portcullis::publish::roll::Roll;
use portcullis::publish::statuses::StatusFollower;
use portcullis::status::Statuses;
use portcullis::x509::crl::Crl;
use portcullis::x509::ocsp::issuer::IssuerHashes;

use crate::world::{World, add_user, authorities, fresh_seed, lock, revoke_certificate};

/// The authority's public side.
struct Public {
    world: World,
    engine: Arc<Engine>,
    statuses: Arc<Statuses>,
    roll: Arc<Roll>,
    _following: Following,
}

impl Public {
    fn new() -> Self {
        let world = World::in_memory(fresh_seed());
        let (statuses, roll) = (Arc::new(Statuses::empty()), Arc::new(Roll::default()));
        let follower = StatusFollower::load(
            &**world.store(),
            Arc::clone(&statuses),
            Arc::clone(&roll),
            Arc::default(),
            Arc::default(),
            None,
        )
        .unwrap();
        let _following = Following::start(Arc::clone(world.store()), follower).unwrap();
        let engine = Arc::new(world.engine());
        Self { world, engine, statuses, roll, _following }
    }

    /// A good, a revoked and a locked certificate of the first cluster.
    fn three(&self) -> [CertificateRow; 3] {
        let rows = ["good", "revoked", "locked"].map(|id| {
            self.world.run(&add_user(id, &[], None)).unwrap();
            self.world.issued(id)
        });
        self.world.run(&revoke_certificate(&rows[1])).unwrap();
        let end = self.world.run(&lock("locked")).unwrap().revision;
        self.statuses.wait_for(end, std::time::Duration::from_secs(10)).unwrap();
        rows
    }
}

#[test]
fn a_list_names_what_is_revoked_and_nothing_else() {
    let public = Public::new();
    let folder = tempfile::tempdir().unwrap();
    let keyring = Arc::clone(&authorities().keyring);
    let (engine, statuses, roll) = (Arc::clone(&public.engine), Arc::clone(&public.statuses), Arc::clone(&public.roll));
    let lists = Lists::new(engine, keyring, statuses, roll, folder.path()).unwrap();
    let [_, revoked, _] = public.three();
    let issuer = authorities().keyring.issuer(&revoked.issuer).unwrap();
    let first = lists.publish(&issuer).unwrap();
    let list = Crl::from_der(&first.der).unwrap();
    assert_eq!(list.entries.iter().map(|entry| entry.serial).collect::<Vec<_>>(), [revoked.serial]);
    list.verify(&issuer.certificate.public_key).unwrap();
    let second = lists.publish(&issuer).unwrap();
    assert!(second.number > first.number, "no two lists share a number");
    assert_eq!(std::fs::read(folder.path().join(format!("{}.crl", issuer.name))).unwrap(), second.der);
}

#[test]
fn what_was_never_issued_is_unknown_and_never_good() {
    let public = Public::new();
    let (engine, statuses, roll) = (Arc::clone(&public.engine), Arc::clone(&public.statuses), Arc::clone(&public.roll));
    let responders = Responders::new(engine, authorities().clone(), statuses, roll);
    // The keyring also holds a CA that is not on the record here: it does not keep the others from theirs.
    assert!(responders.renew().unwrap_err().detail.contains("signs no more"));
    let [good, revoked, locked] = public.three();
    let ask = |serial: Serial, issuer: &IssuerName| {
        let id = cert_id(serial, issuer);
        let request = der(0x30, &[&der(0x30, &[&der(0x30, &[&der(0x30, &[&id])])])]);
        let answer = responders.answer(&request, &*public.world.outside().clock).der;
        let place = answer.windows(id.len()).position(|window| window == id).map(|place| place + id.len());
        place.map(|place| answer[place])
    };
    assert_eq!(ask(good.serial, &good.issuer), Some(GOOD));
    assert_eq!(ask(revoked.serial, &revoked.issuer), Some(REVOKED));
    assert_eq!(ask(locked.serial, &locked.issuer), Some(GOOD), "a lock can be undone and does not show");
    assert_eq!(ask(Serial::from_random([3; 20]), &good.issuer), Some(UNKNOWN));
    assert_eq!(ask(good.serial, &IssuerName::infra()), Some(UNKNOWN), "it is another issuer's");
}

/// RFC 6960 §4.2.1, CertStatus: the tags of its three choices.
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;
const UNKNOWN: u8 = 0x82;

fn cert_id(serial: Serial, issuer: &IssuerName) -> Vec<u8> {
    let hashes = IssuerHashes::of(&authorities().keyring.issuer(issuer).unwrap().certificate);
    let sha1 = [0x2b, 0x0e, 0x03, 0x02, 0x1a];
    let algorithm = der(0x30, &[&der(0x06, &[&sha1]), &[0x05, 0x00]]);
    let name = der(0x04, &[&hashes.name_sha1]);
    let key = der(0x04, &[&hashes.key_sha1]);
    der(0x30, &[&algorithm, &name, &key, &der(0x02, &[serial.octets()])])
}

/// A value of fewer than 128 octets.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    assert!(content.len() < 128);
    [&[tag, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
}
