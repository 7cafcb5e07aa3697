use std::sync::Arc;

use super::*;
use crate::access::Part;
use crate::directory::identities::AddIdentity;
use crate::ident::IdentityId;
use crate::journal::IdentityKind;
use crate::ledger::rows::LockRow;
use crate::store::Timeline;
use crate::store::memory::MemoryStore;
use crate::world::{Timestamp, World};

const RESTORE: Actor = Actor::System(Part::Restore);
const BACKUP: Revision = Revision { era: 10, number: 90 };
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// A store in era 20, which began on a backup.
fn restored() -> Engine {
    let engine = Engine::new(Arc::new(MemoryStore::new(20, Timeline([0; 16]))), World::system());
    engine.run(&RESTORE, &BeginEra { era: 20, backup: BACKUP }).unwrap();
    engine
}

fn add(engine: &Engine, id: &str, groups: &[String]) {
    let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
    let (id, kind) = (id.parse().unwrap(), IdentityKind::User);
    let add = AddIdentity { id, kind, groups, agency: None, role: None, reuse: false };
    engine.run(&Actor::System(Part::Initialisation), &add).unwrap();
}

fn cut(number: u64) -> Cut {
    Cut { revision: Revision { number, ..BACKUP }, at: NOW, reason: Reason::Unspecified }
}

fn told(engine: &Engine, told: &[Told]) -> TakenOver {
    take_over(engine, &RESTORE, &Witness::Journal, None, told).unwrap()
}

fn is_locked(engine: &Engine, id: &str) -> bool {
    let key = (id.parse().unwrap(), None);
    Txn::begin(&**engine.store()).peek::<LockRow>(&key).unwrap().is_some_and(|lock| lock.value.by_restore)
}

#[test]
fn whoever_was_in_a_group_that_comes_back_is_locked() {
    let engine = restored();
    add(&engine, "alice", &["dev".to_owned()]);
    add(&engine, "bob", &[]);
    let group = CutKey::Group("dev".parse().unwrap());
    let member = CutKey::Member("bob".parse().unwrap(), "ops".parse().unwrap());
    let taken = told(&engine, &[Told::CutOff(group, cut(95), Cause::Deleted)]);
    assert_eq!(taken.locked, ["alice"]);
    assert!(is_locked(&engine, "alice") && !is_locked(&engine, "bob"));
    assert_eq!(told(&engine, &[Told::CutOff(member, cut(96), Cause::Moved)]).locked, ["bob"]);
}

#[test]
fn much_is_taken_over_in_many_commits_and_once() {
    let engine = restored();
    let groups: Vec<String> = (0..32).map(|number| format!("group-{number}")).collect();
    add(&engine, "erin", &groups);
    let mut facts: Vec<Told> = (0..150)
        .map(|number| {
            let key = CutKey::Identity(format!("user-{number}").parse().unwrap());
            Told::CutOff(key, cut(100 + number), Cause::Revoked)
        })
        .collect();
    let id: IdentityId = "erin".parse().unwrap();
    facts.push(Told::Deleted(DeletedRow { id: id.clone(), kind: IdentityKind::User, at: NOW }));
    let taken = told(&engine, &facts);
    assert_eq!((taken.cut_offs, taken.deletions, taken.locked.len()), (150, 1, 151));
    let txn = Txn::begin(&**engine.store());
    assert!(txn.peek::<IdentityRow>(&id).unwrap().is_none());
    assert!(txn.peek::<DeletedRow>(&AnyId::from(&id)).unwrap().is_some());
    let before = engine.store().end();
    facts.pop();
    assert!(told(&engine, &facts).is_empty());
    assert_eq!(engine.store().end(), before);
}

#[test]
fn a_proxy_ends_no_authority_but_its_own_clusters() {
    let engine = restored();
    let prod: ClusterName = "prod".parse().unwrap();
    let mut txn = Txn::begin(&**engine.store());
    for (name, cluster) in [("infra", None), ("prod-1", Some("prod")), ("east-1", Some("east"))] {
        let name: IssuerName = name.parse().unwrap();
        let cluster = cluster.map(|cluster| cluster.parse().unwrap());
        let row = AuthorityRow { name: name.clone(), cluster, der: Vec::new(), not_after: NOW, retired: false };
        txn.put(&name, &row).unwrap();
    }
    txn.commit(NOW, &RESTORE).unwrap();
    let may = |issuer: &str, cluster: Option<&ClusterName>| {
        let told = Told::CutOff(CutKey::Issuer(issuer.parse().unwrap()), cut(95), Cause::TakenOver);
        let witness = Witness::Proxy("prod-a".parse().unwrap());
        let planning = Planning { told: &[], witness: &witness, cluster };
        planning.may_tell(&Txn::begin(&**engine.store()), &told).unwrap()
    };
    assert_eq!(
        ["infra", "prod-1", "east-1", "west-1"].map(|issuer| may(issuer, Some(&prod))),
        [false, true, false, false]
    );
    assert!(may("infra", None), "the journal that was replaced may");
    // What was cut off like that signs no more.
    told(&engine, &[Told::CutOff(CutKey::Issuer("prod-1".parse().unwrap()), cut(95), Cause::Revoked)]);
    let row = Txn::begin(&**engine.store()).peek::<AuthorityRow>(&"prod-1".parse().unwrap()).unwrap().unwrap();
    assert!(row.value.retired);
}
