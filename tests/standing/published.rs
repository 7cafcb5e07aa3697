//! What relying parties are told: CRLs and OCSP answers over a real journal, read back.

use std::sync::Arc;

use portcullis::access::{Actor, Part};
use portcullis::ca::issue::{Issue, Purpose};
use portcullis::ca::retention::{Forget, KEPT_AFTER_END};
use portcullis::command::Code;
use portcullis::engine::Engine;
use portcullis::follow::Following;
use portcullis::ident::{IssuerName, Serial};
use portcullis::ledger::rows::CertificateRow;
use portcullis::publish::crl::Lists;
use portcullis::publish::ocsp::Responders;
use portcullis::publish::roll::Roll;
use portcullis::publish::statuses::StatusFollower;
use portcullis::status::{Status, Statuses};
use portcullis::x509::certificate::Certificate;
use portcullis::x509::crl::Crl;
use portcullis::x509::ocsp::issuer::IssuerHashes;

use crate::world::{World, add_user, authorities, fresh_seed, issue, lock, revoke_certificate};

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
    let refused = responders.renew().unwrap_err().detail;
    assert!(refused.contains("is not on the record"), "{refused}");
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

#[test]
fn what_ended_ninety_days_ago_is_forgotten_and_nothing_else_ever() {
    let public = Public::new();
    let rows = public.three();
    let all = || Forget(rows.iter().map(|row| row.fingerprint).collect());
    let forget = || {
        let end = public.engine.run(&Actor::System(Part::Upkeep), &all()).unwrap().revision;
        public.statuses.wait_for(end, std::time::Duration::from_secs(10)).unwrap();
    };
    let kept = || {
        let on_record = rows.iter().filter(|row| public.engine.recorded(&row.fingerprint).unwrap().is_some()).count();
        let on_roll = rows.iter().filter(|row| public.roll.member(&row.issuer, row.serial).is_some()).count();
        assert_eq!(on_record, on_roll);
        on_record
    };
    // While it could be used, and until every list that names it is over.
    let now = || public.world.outside().clock.now();
    let last = rows.iter().map(|row| row.not_after).max().unwrap();
    for at in [now(), rows[1].not_after, rows[1].not_after.after(KEPT_AFTER_END)] {
        public.world.pass(at.since(now()));
        forget();
        assert_eq!(kept(), 3, "at {at}");
    }
    public.world.pass(last.after(KEPT_AFTER_END).since(now()) + std::time::Duration::from_secs(1));
    forget();
    assert_eq!(kept(), 0);
    // Its key is not certified again, and who is revoked is still nobody that gets in.
    let public_key = Certificate::from_der(&rows[0].der).unwrap().public_key;
    let again = Issue { public_key, purpose: Purpose::Management, ..issue("root-admin", "any") };
    let refused = public.engine.run(&Actor::System(Part::Initialisation), &again).unwrap_err();
    assert_eq!(refused.code, Code::KeyReused);
    let status = public.statuses.status(&rows[1].fingerprint, now()).unwrap();
    assert!(matches!(status, Status::Revoked(_) | Status::Unknown), "{status:?}");
}
