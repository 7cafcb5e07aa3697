use super::*;
use crate::x509::reason::Reason;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn revision(number: u64) -> Revision {
    Revision { era: 1, number }
}

fn cut(number: u64) -> Cut {
    Cut { revision: revision(number), at: NOW, reason: Reason::Unspecified }
}

fn fingerprint(n: u8) -> ShortFingerprint {
    ShortFingerprint([n; 16])
}

fn of(id: &str) -> CutKey {
    CutKey::Identity(id.parse().unwrap())
}

fn index_with(n: u8, issued: u64, keys: &[CutKey]) -> Index {
    let mut index = Index::default();
    index.apply(Change::Recorded(Credential {
        key: fingerprint(n),
        issued: revision(issued),
        not_after: NOW,
        cut_keys: keys.to_vec(),
    }));
    index
}

#[test]
fn what_is_not_on_the_record_is_unknown() {
    assert_eq!(index_with(1, 1, &[of("a")]).status(&fingerprint(2), NOW), Status::Unknown);
}

#[test]
fn the_earliest_later_cut_off_gives_the_date() {
    let mut index = index_with(1, 5, &[of("a")]);
    for number in [9, 3, 7] {
        index.apply(Change::CutOff(of("a"), cut(number)));
    }
    assert_eq!(index.status(&fingerprint(1), NOW), Status::Revoked(cut(7)));
}

#[test]
fn a_cut_off_before_the_record_does_not_kill() {
    let mut index = index_with(1, 5, &[of("a")]);
    index.apply(Change::CutOff(of("a"), cut(4)));
    assert_eq!(index.status(&fingerprint(1), NOW), Status::Good);
}

#[test]
fn revoked_comes_before_expired_and_expired_before_locked() {
    let late = NOW.after(std::time::Duration::from_secs(1));
    let mut index = index_with(1, 5, &[of("a")]);
    let key = LockKey { id: "a".parse().unwrap(), cluster: None };
    index.apply(Change::Locked(Lock { key: key.clone(), at: NOW, revision: revision(6) }));
    assert!(matches!(index.status(&fingerprint(1), NOW), Status::Locked(_)));
    assert_eq!(index.status(&fingerprint(1), late), Status::Expired { not_after: NOW });
    index.apply(Change::Unlocked(key));
    assert_eq!(index.status(&fingerprint(1), NOW), Status::Good);
    index.apply(Change::Revoked(fingerprint(1), cut(8)));
    assert_eq!(index.status(&fingerprint(1), late), Status::Revoked(cut(8)));
}

#[test]
fn an_agency_lock_covers_what_is_held_under_it() {
    let mut index = index_with(1, 5, &[of("a"), CutKey::Agency("acme".parse().unwrap())]);
    let key = LockKey { id: "acme".parse().unwrap(), cluster: None };
    index.apply(Change::Locked(Lock { key, at: NOW, revision: revision(6) }));
    assert!(matches!(index.status(&fingerprint(1), NOW), Status::Locked(_)));
}

#[test]
fn a_snapshot_forgets_no_dead_and_nothing_that_was_looked_up_ahead_of_it() {
    let mut older = index_with(1, 3, &[of("a")]);
    older.apply(Change::CutOff(of("a"), cut(5)));
    older.apply(Change::Revoked(fingerprint(2), cut(6)));
    let ahead = Credential { key: fingerprint(3), issued: revision(9), not_after: NOW, cut_keys: vec![of("c")] };
    older.apply(Change::Recorded(ahead));
    let key = LockKey { id: "a".parse().unwrap(), cluster: None };
    older.apply(Change::Locked(Lock { key, at: NOW, revision: revision(6) }));
    // A restored authority, in a new era, has forgotten the cut-off, the revocation and the lock.
    let new_era = Revision { era: 2, number: 1 };
    let mut snapshot = index_with(1, 3, &[of("a")]);
    snapshot.record(Credential { key: fingerprint(2), issued: revision(3), not_after: NOW, cut_keys: Vec::new() });
    snapshot.inherit(older, new_era);
    assert_eq!(snapshot.status(&fingerprint(1), NOW), Status::Revoked(cut(5)));
    assert_eq!(snapshot.status(&fingerprint(2), NOW), Status::Revoked(cut(6)));
    assert_eq!(snapshot.status(&fingerprint(3), NOW), Status::Unknown);
    // In the same era, what was looked up ahead of the snapshot stays known, and what was unlocked is unlocked.
    let mut older = index_with(3, 9, &[of("c")]);
    let key = LockKey { id: "c".parse().unwrap(), cluster: None };
    older.apply(Change::Locked(Lock { key, at: NOW, revision: revision(4) }));
    let mut snapshot = Index::default();
    snapshot.inherit(older, revision(8));
    assert_eq!(snapshot.status(&fingerprint(3), NOW), Status::Good);
}

#[test]
fn a_lock_covers_the_keys_that_name_it_and_no_other() {
    let [id, cluster] = ["acme", "prod"];
    let on = |id: &str| (id.parse::<crate::ident::AnyId>().unwrap(), cluster.parse::<ClusterName>().unwrap());
    for cluster in [None, Some(cluster.parse().unwrap())] {
        let lock = LockKey { id: id.parse().unwrap(), cluster };
        assert!(lock.cut_keys().iter().all(|key| LockKey::covering(key).as_ref() == Some(&lock)), "{lock:?}");
    }
    let ((own, there), (other, _)) = (on("acme"), on("other"));
    let keys = [CutKey::AgencyOnCluster(own.clone(), there.clone()), CutKey::Identity(other)];
    let mut index = index_with(1, 5, &keys);
    let mut lock = |cluster: Option<ClusterName>| {
        let key = LockKey { id: own.clone(), cluster };
        index.apply(Change::Locked(Lock { key: key.clone(), at: NOW, revision: revision(6) }));
        let is_locked = matches!(index.status(&fingerprint(1), NOW), Status::Locked(_));
        index.apply(Change::Unlocked(key));
        assert!(index.status(&fingerprint(1), NOW).is_good(), "it was unlocked");
        is_locked
    };
    assert_eq!([lock(None), lock(Some(there)), lock(Some("test".parse().unwrap()))], [false, true, false]);
}
