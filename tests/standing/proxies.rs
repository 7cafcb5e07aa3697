//! What lets a proxy join, follow and renew, and that every process which was told something stays on the record until
//! it is gone.

use std::sync::Arc;
use std::time::Duration;

use portcullis::access::{Actor, Part, ProxyHolder};
use portcullis::ca::proxies::instances::{Follow, Forget, ListInstances, Report};
use portcullis::ca::proxies::join::{Equip, Equipped, Invite, TOKEN_LIFETIME};
use portcullis::ca::proxies::look::{ClusterAuthorities, LookUp};
use portcullis::ca::proxies::remove::Remove;
use portcullis::ca::proxies::rows::InstanceRow;
use portcullis::command::{Code, Rejected};
use portcullis::journal::Event;
use portcullis::ledger::rows::CertificateRole;
use portcullis::status::frames::{Incident, ProxyHello, VERSION};
use portcullis::status::freshness::Mode;
use portcullis::store::entry;
use portcullis::x509::public_key::PublicKey;
use rcgen::KeyPair;

use crate::world::{CLUSTERS, World, add_user, authorities};

const SECRET: [u8; 32] = [9; 32];

fn invite(world: &World) {
    let (proxy, cluster) = ("prod-a".parse().unwrap(), CLUSTERS[0].parse().unwrap());
    world.run(&Invite { proxy, cluster, secret_hash: SECRET }).unwrap();
}

fn equip() -> Equip {
    let key = || PublicKey::of(&KeyPair::generate().unwrap()).unwrap();
    let (keyring, places) = (Arc::clone(&authorities().keyring), authorities().places.clone());
    Equip { follower_key: key(), server_key: key(), keyring, places }
}

fn join(world: &World) -> Result<Equipped, Rejected> {
    let actor = Actor::Joiner { token: SECRET };
    world.run_as(&actor, &equip().on_token(SECRET)).map(|done| done.outcome)
}

fn joined(world: &World) -> (Actor, Equipped) {
    invite(world);
    let equipped = join(world).unwrap();
    (holder(&equipped), equipped)
}

fn holder(equipped: &Equipped) -> Actor {
    let (name, cluster) = (equipped.proxy.clone(), equipped.cluster.clone());
    Actor::Proxy(ProxyHolder { name, cluster, fingerprint: equipped.follower.fingerprint })
}

fn hello(instance: u8, bound: Duration) -> ProxyHello {
    ProxyHello {
        version: VERSION,
        cluster: CLUSTERS[0].parse().unwrap(),
        instance: [instance; 16],
        cursor: None,
        bound,
        mode: Mode::Strict,
        cut_time: Duration::from_millis(250),
    }
}

fn instances(world: &World) -> Vec<InstanceRow> {
    world.engine().ask(&Actor::System(Part::Upkeep), &ListInstances).unwrap().outcome
}

fn refused<T>(answer: Result<T, Rejected>) -> Code {
    answer.err().map(|rejected| rejected.code).unwrap()
}

#[test]
fn a_token_is_good_once_and_for_an_hour() {
    let world = World::in_memory(1);
    assert_eq!(refused(join(&world)), Code::Unauthenticated);
    invite(&world);
    world.pass(TOKEN_LIFETIME + Duration::from_secs(1));
    assert_eq!(refused(join(&world)), Code::Unauthenticated);
    let (_, equipped) = joined(&world);
    assert_eq!((equipped.follower.role, equipped.server.role), (CertificateRole::Proxy, CertificateRole::Server));
    assert_eq!(refused(join(&world)), Code::Unauthenticated);
    // Whoever shows one token does not use another.
    invite(&world);
    let other = Actor::Joiner { token: [8; 32] };
    assert_eq!(refused(world.run_as(&other, &equip().on_token(SECRET))), Code::Forbidden);
}

#[test]
fn of_two_that_join_with_one_token_at_once_one_does() {
    let world = World::in_memory(2);
    invite(&world);
    let first = world.begin(&Actor::Joiner { token: SECRET }, equip().on_token(SECRET));
    join(&world).unwrap();
    assert_eq!(refused(first.finish().result), Code::Unauthenticated);
}

#[test]
fn a_removed_proxy_neither_follows_nor_renews_also_when_it_had_begun_to() {
    let world = World::in_memory(3);
    let (actor, equipped) = joined(&world);
    let renewed = world.run_as(&actor, &equip().renewing(equipped.cluster.clone())).unwrap().outcome;
    let renewing = world.begin(&holder(&renewed), equip().renewing(equipped.cluster.clone()));
    let removed = world.run(&Remove(equipped.proxy.clone())).unwrap().outcome;
    assert_eq!(removed.certificates, 4);
    assert_eq!(refused(renewing.finish().result), Code::Unauthenticated);
    for row in [&equipped.follower, &equipped.server, &renewed.follower, &renewed.server] {
        assert!(world.is_dead(row));
    }
    assert_eq!(refused(world.run_as(&actor, &Follow(hello(1, Duration::from_secs(30))))), Code::Unauthenticated);
    assert_eq!(refused(world.run(&Remove(equipped.proxy))), Code::NotFound);
}

#[test]
fn a_process_stays_on_the_record_until_it_is_gone_and_is_nobody_elses() {
    let world = World::in_memory(4);
    let (actor, equipped) = joined(&world);
    let bound = Duration::from_secs(30);
    let first = world.run_as(&actor, &Follow(hello(1, bound))).unwrap().outcome;
    // Whoever takes it off the record because it was gone does not if it has come back meanwhile.
    let upkeep = Actor::System(Part::Upkeep);
    let forgetting = world.begin(&upkeep, Forget(first.clone()));
    world.pass(Duration::from_secs(1));
    let again = world.run_as(&actor, &Follow(hello(1, bound))).unwrap().outcome;
    forgetting.finish().result.unwrap();
    world.run_as(&upkeep, &Forget(first)).unwrap();
    assert_eq!(instances(&world), [again]);
    world.run_as(&actor, &Follow(hello(1, bound * 2))).unwrap();
    world.run_as(&actor, &Follow(hello(2, bound))).unwrap();
    assert_eq!(instances(&world).iter().map(|row| row.bound).collect::<Vec<_>>(), [bound * 2, bound]);
    // Removing the proxy leaves its processes: they may serve on what they know.
    world.run(&Remove(equipped.proxy)).unwrap();
    assert_eq!(instances(&world).len(), 2);
    let [one, two] = instances(&world).try_into().unwrap();
    world.run_as(&upkeep, &Forget(one)).unwrap();
    assert_eq!(instances(&world), std::slice::from_ref(&two));
    assert_eq!(refused(world.run(&Forget(two))), Code::Forbidden);
}

#[test]
fn a_bound_that_nobody_could_wait_for_is_refused_and_so_is_somebody_elses_process() {
    let world = World::in_memory(5);
    let (actor, _) = joined(&world);
    let hour = Duration::from_secs(3600);
    assert_eq!(refused(world.run_as(&actor, &Follow(hello(1, hour)))), Code::Invalid);
    world.run_as(&actor, &Follow(hello(1, Duration::from_secs(30)))).unwrap();
    let (proxy, cluster) = ("prod-b".parse().unwrap(), CLUSTERS[0].parse().unwrap());
    world.run(&Invite { proxy, cluster, secret_hash: SECRET }).unwrap();
    let other = holder(&join(&world).unwrap());
    assert_eq!(refused(world.run_as(&other, &Follow(hello(1, Duration::from_secs(30))))), Code::Forbidden);
}

#[test]
fn a_proxy_is_told_of_its_own_clusters_users_and_of_nothing_else_when_it_asks() {
    let world = World::in_memory(6);
    let (actor, equipped) = joined(&world);
    world.run(&add_user("alice", &[], None)).unwrap();
    let alice = world.issued("alice");
    let look_up = |fingerprint| {
        let cluster = CLUSTERS[0].parse().unwrap();
        world.engine().ask(&actor, &LookUp { cluster, fingerprint }).unwrap().outcome
    };
    assert_eq!(look_up(alice.fingerprint).map(|found| found.row.subject), Some("alice".to_owned()));
    let admins = world.management("root-admin").unwrap();
    for row in [&admins, &equipped.follower, &equipped.server] {
        assert_eq!(look_up(row.fingerprint), None);
    }
    let other = ClusterAuthorities(CLUSTERS[1].parse().unwrap());
    assert_eq!(refused(world.engine().ask(&actor, &other)), Code::Forbidden);
}

#[test]
fn what_a_proxy_reports_is_on_the_record_under_its_name() {
    let world = World::in_memory(7);
    let (actor, equipped) = joined(&world);
    let incident = Incident::Denied { id: "alice".to_owned(), is_denied: true };
    let report = Report { cluster: equipped.cluster, incidents: vec![incident.clone()] };
    let revision = world.run_as(&actor, &report).unwrap().revision;
    let before = portcullis::standing::Revision { number: revision.number - 1, ..revision };
    let entries = world.store().entries_after(before, 1).unwrap();
    let entry = entry::decode(&entries[0].1).unwrap();
    assert_eq!(entry.actor, actor);
    assert_eq!(entry.events, [Event::ProxyReported { proxy: equipped.proxy, incident }]);
}
