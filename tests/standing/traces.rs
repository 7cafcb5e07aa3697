//! The shortest sequence that each rule of standing exists for.
//!
//! What was recorded at I is dead iff one of its cut keys was cut off at a C > I; everything here follows.

use std::time::Duration;

use portcullis::command::Code;
use portcullis::directory::groups::DeleteGroup;
use portcullis::directory::identities::AddIdentity;
use portcullis::engine::Repeatable;
use portcullis::ident::{Fingerprint, IssuerName};
use portcullis::journal::{Event, IdentityKind};
use portcullis::ledger::credentials::{self, Reference};
use portcullis::ledger::cuts::Why;
use portcullis::ledger::rows::{CertificateRole, CertificateRow, LockRow};
use portcullis::revocation::wish::{Known, Lock, Revoke, Target};
use portcullis::standing::CutKey;
use portcullis::status::Status;
use portcullis::store::txn::Txn;

use crate::world::{
    CLUSTERS, World, add_agency, add_user, delete, fresh_seed, holder, id, issue, join, leave, lock, move_to, renewal,
    revoke_agency, revoke_certificate, revoke_user, unlock, withdraw,
};

fn world() -> World {
    World::in_memory(fresh_seed())
}

fn world_with_alice() -> World {
    let world = world();
    world.run(&add_user("alice", &["dev", "ops"], None)).unwrap();
    world
}

// Cut-offs and the order of commits.

#[test]
fn an_issuing_ca_that_was_cut_off_kills_what_it_signed_and_signs_no_more() {
    let world = world_with_alice();
    let before = world.issued("alice");
    let begun = world.begin(&world.admin(), issue("alice", CLUSTERS[0]));
    world.cut_issuer(&before.issuer);
    assert!(world.is_dead(&before));
    let refused = begun.finish();
    assert_eq!(refused.conflicts, 1);
    assert_eq!(refused.result.unwrap_err().code, Code::Unavailable);
    assert_eq!(world.run(&issue("alice", CLUSTERS[0])).unwrap_err().code, Code::Unavailable);
    assert!(world.run(&issue("alice", CLUSTERS[1])).is_ok(), "the other cluster has a CA of its own");
}

#[test]
fn a_cut_off_is_written_although_nothing_seems_alive() {
    let world = world_with_alice();
    let begun = world.begin(&world.admin(), issue("alice", CLUSTERS[0]));
    let cut = world.run(&revoke_user("alice")).unwrap().revision;
    let issued = begun.finish();
    assert_eq!(issued.conflicts, 1, "the issuance was decided before the cut-off and must be decided again");
    assert!(issued.decided_at.unwrap() >= cut);
    assert!(world.is_good(&issued.result.unwrap().outcome.row));
}

#[test]
fn an_id_that_nobody_has_can_be_revoked_and_each_time_is_a_cut_off() {
    let world = world();
    let before = world.store().end();
    for _ in 0..2 {
        assert_eq!(world.run(&revoke_user("CN=Somebody Else")).unwrap().outcome.known, Known::Never);
    }
    let cuts = world.entries_after(before).into_iter().flat_map(|(_, entry)| entry.events);
    assert_eq!(cuts.filter(|event| matches!(event, Event::CutOff { .. })).count(), 2);
}

#[test]
fn a_revoked_user_who_is_issued_a_new_certificate_has_that_one_only() {
    let world = world_with_alice();
    let old = world.issued("alice");
    world.run(&revoke_user("alice")).unwrap();
    let new = world.issued("alice");
    world.run(&add_user("bob", &[], None)).unwrap();
    assert!(world.is_dead(&old) && world.is_good(&new));
}

#[test]
fn the_first_revocation_gives_the_date_and_a_restart_does_not_change_it() {
    let mut world = world_with_alice();
    let row = world.issued("alice");
    let first = world.begin(&world.admin(), revoke_certificate(&row));
    let earlier = Revoke { why: why("keyCompromise"), ..revoke_certificate(&row) };
    let earlier = world.run(&earlier).unwrap().revision;
    world.pass(Duration::from_secs(5));
    first.finish().result.unwrap();
    let followed = world.status(&row);
    assert!(matches!(&followed, Status::Revoked(cut) if cut.revision == earlier));
    world.restart();
    assert_eq!(world.status(&row), followed);
}

#[test]
fn a_revocation_narrowed_to_a_cluster_spares_the_others() {
    let world = world_with_alice();
    let [north, south] = CLUSTERS.map(|cluster| world.run(&issue("alice", cluster)).unwrap().outcome.row);
    world.run(&Revoke { cluster: Some(CLUSTERS[0].parse().unwrap()), ..revoke_user("alice") }).unwrap();
    assert!(world.is_dead(&north) && world.is_good(&south));
}

// What an issuance rests on.

#[test]
fn a_certificate_revoked_while_it_is_renewed_renews_nothing() {
    let world = world_with_alice();
    let first = world.issued("alice");
    let second = world.renewed(&first).unwrap();
    let begun = world.begin(&holder(&second), renewal(&second));
    world.run(&revoke_certificate(&first)).unwrap();
    assert!(world.is_dead(&first) && world.is_dead(&second), "what was obtained with it is dead with it");
    assert_eq!(begun.finish().result.unwrap_err().code, Code::Unauthenticated);
    assert_eq!(world.renewed(&first).unwrap_err().code, Code::Unauthenticated);
}

#[test]
fn a_certificate_individually_revoked_while_it_is_renewed_renews_nothing() {
    let world = world_with_alice();
    let first = world.issued("alice");
    let begun = world.begin(&holder(&first), renewal(&first));
    world.run(&revoke_certificate(&first)).unwrap();
    assert_eq!(begun.finish().result.unwrap_err().code, Code::Unauthenticated);
}

#[test]
fn a_lock_that_lands_first_stops_an_issuance_that_had_begun() {
    let world = world();
    world.run(&add_agency("acme")).unwrap();
    world.run(&add_user("alice", &[], Some("acme"))).unwrap();
    let south = Some(CLUSTERS[1].parse().unwrap());
    for (lock, cluster) in [
        (lock("alice"), CLUSTERS[0]),
        (lock("acme"), CLUSTERS[0]),
        (Lock { cluster: south.clone(), ..lock("alice") }, CLUSTERS[1]),
        (Lock { cluster: south.clone(), ..lock("acme") }, CLUSTERS[1]),
    ] {
        let begun = world.begin(&world.admin(), issue("alice", cluster));
        world.run(&lock).unwrap();
        let refused = begun.finish();
        assert_eq!((refused.conflicts, refused.result.unwrap_err().code), (1, Code::Locked), "{lock:?}");
        assert_eq!(world.run(&issue("alice", cluster)).unwrap_err().code, Code::Locked);
        let mut unlock = unlock(lock.id.as_str());
        unlock.cluster = lock.cluster;
        world.run(&unlock).unwrap();
        assert!(world.run(&issue("alice", cluster)).is_ok());
    }
}

#[test]
fn a_locked_user_cannot_renew_and_stands_again_once_unlocked() {
    let world = world_with_alice();
    let row = world.issued("alice");
    world.run(&lock("alice")).unwrap();
    assert!(matches!(world.status(&row), Status::Locked(_)));
    assert_eq!(world.renewed(&row).unwrap_err().code, Code::Unauthenticated);
    world.run(&unlock("alice")).unwrap();
    assert!(world.is_good(&row));
}

#[test]
fn an_expired_certificate_renews_nothing() {
    let world = world_with_alice();
    let row = world.issued("alice");
    world.pass(Duration::from_secs(31 * 86_400));
    assert!(matches!(world.status(&row), Status::Expired { .. }));
    assert_eq!(world.renewed(&row).unwrap_err().code, Code::Unauthenticated);
}

#[test]
fn an_admin_who_is_revoked_while_they_act_has_not_acted() {
    let world = world_with_alice();
    let other = world.new_admin("other-admin");
    let begun = world.begin(&other, issue("alice", CLUSTERS[0]));
    world.run(&revoke_user("other-admin")).unwrap();
    assert_eq!(begun.finish().result.unwrap_err().code, Code::Unauthenticated);
}

#[test]
fn an_admin_whose_role_is_withdrawn_while_they_act_has_not_acted() {
    let world = world_with_alice();
    let other = world.new_admin("other-admin");
    let begun = world.begin(&other, revoke_user("alice"));
    world.run(&withdraw("other-admin")).unwrap();
    assert_eq!(begun.finish().result.unwrap_err().code, Code::NotFound);
}

#[test]
fn a_key_is_certified_once_even_by_two_at_the_same_moment() {
    let world = world_with_alice();
    world.run(&add_user("bob", &[], None)).unwrap();
    let first = issue("alice", CLUSTERS[0]);
    let mut second = issue("bob", CLUSTERS[1]);
    second.public_key = first.public_key.clone();
    let begun = world.begin(&world.admin(), second);
    world.run(&first).unwrap();
    assert_eq!(begun.finish().result.unwrap_err().code, Code::KeyReused);
    assert_eq!(world.run(&first).unwrap_err().code, Code::KeyReused);
}

#[test]
fn a_user_who_is_deleted_while_a_certificate_is_issued_gets_none() {
    let world = world_with_alice();
    let begun = world.begin(&world.admin(), issue("alice", CLUSTERS[0]));
    world.run(&delete(IdentityKind::User, "alice")).unwrap();
    assert_eq!(begun.finish().result.unwrap_err().code, Code::NotFound);
}

#[test]
fn a_lifetime_outside_the_limits_is_refused() {
    let world = world_with_alice();
    for seconds in [0, 59, 366 * 86_400] {
        let mut wish = issue("alice", CLUSTERS[0]);
        wish.lifetime = Some(Duration::from_secs(seconds));
        assert_eq!(world.run(&wish).unwrap_err().code, Code::Invalid, "{seconds} s");
    }
}

// Renewals.

#[test]
fn a_renewal_by_a_new_ca_dies_with_the_ca_of_what_it_was_obtained_with() {
    let world = world_with_alice();
    let first = world.issued("alice");
    let successor = world.rotate();
    let second = world.renewed(&first).unwrap();
    assert_eq!(second.issuer, successor);
    let third = world.issued("alice");
    world.cut_issuer(&first.issuer);
    assert!(world.is_dead(&first) && world.is_dead(&second));
    assert!(world.is_good(&third), "what an administrator issued by the new CA has nothing to do with the old one");
}

#[test]
fn a_renewal_after_leaving_a_group_dies_with_the_group() {
    let world = world_with_alice();
    let first = world.issued("alice");
    let without = world.renewed(&first).unwrap();
    world.run(&leave("alice", &["ops"])).unwrap();
    assert!(world.is_dead(&first) && world.is_dead(&without));

    let second = world.issued("alice");
    let renewed = world.renewed(&second).unwrap();
    assert_eq!(renewed.groups, ["dev".parse().unwrap()]);
    world.run(&leave("alice", &["dev"])).unwrap();
    assert!(world.is_dead(&second) && world.is_dead(&renewed));
}

#[test]
fn a_chain_of_renewals_ends_after_sixteen() {
    let world = world_with_alice();
    let first = world.issued("alice");
    let mut newest = first.clone();
    for _ in 0..16 {
        newest = world.renewed(&newest).unwrap();
    }
    let refused = world.renewed(&newest).unwrap_err();
    assert_eq!(refused.code, Code::Invalid);
    assert!(refused.detail.contains("16"), "{refused}");
    world.run(&revoke_certificate(&first)).unwrap();
    assert!(world.is_dead(&newest), "the sixteenth is still obtained with the first");
}

#[test]
fn what_an_admin_issues_to_somebody_else_does_not_die_with_the_admins_certificate() {
    let world = world_with_alice();
    let other = world.new_admin("other-admin");
    let row = world.run_as(&other, &issue("alice", CLUSTERS[0])).unwrap().outcome.row;
    world.run(&revoke_user("other-admin")).unwrap();
    assert!(world.is_good(&row));
}

// Groups, agencies and their incarnations.

#[test]
fn leaving_a_group_kills_what_carries_that_group_and_nothing_else() {
    let world = world_with_alice();
    let with_both = world.issued("alice");
    world.run(&leave("alice", &["ops"])).unwrap();
    let with_dev = world.issued("alice");
    assert!(world.is_dead(&with_both) && world.is_good(&with_dev));
    assert_eq!(with_dev.groups, ["dev".parse().unwrap()]);
    world.run(&join("alice", &["ops"])).unwrap();
    world.run(&leave("alice", &["ops"])).unwrap();
    assert!(world.is_good(&with_dev), "it never carried that group");
}

#[test]
fn leaving_a_group_while_a_certificate_is_issued_leaves_it_out() {
    let world = world_with_alice();
    let begun = world.begin(&world.admin(), issue("alice", CLUSTERS[0]));
    world.run(&leave("alice", &["ops"])).unwrap();
    let row = begun.finish().result.unwrap().outcome.row;
    assert_eq!(row.groups, ["dev".parse().unwrap()]);
}

#[test]
fn a_group_that_is_made_again_has_no_members() {
    let world = world_with_alice();
    let old = world.issued("alice");
    world.run(&DeleteGroup { name: "ops".parse().unwrap() }).unwrap();
    assert!(world.is_dead(&old));
    world.run(&add_user("bob", &["ops"], None)).unwrap();
    assert_eq!(world.issued("alice").groups, ["dev".parse().unwrap()]);
    assert_eq!(world.issued("bob").groups, ["ops".parse().unwrap()]);
    world.run(&join("alice", &["ops"])).unwrap();
    assert_eq!(world.issued("alice").groups.len(), 2, "alice was let in again by name");
}

#[test]
fn an_agency_that_is_made_again_has_no_members() {
    let world = world();
    world.run(&add_agency("acme")).unwrap();
    world.run(&add_user("alice", &[], Some("acme"))).unwrap();
    let old = world.issued("alice");
    assert_eq!(old.agency, Some(id("acme")));
    world.run(&delete(IdentityKind::Agency, "acme")).unwrap();
    assert!(world.is_dead(&old));
    assert_eq!(world.issued("alice").agency, None);
    world.run(&AddIdentity { reuse: true, ..add_agency("acme") }).unwrap();
    let new = world.issued("alice");
    assert_eq!(new.agency, None);
    assert!(!new.cut_keys.contains(&CutKey::Agency("acme".parse().unwrap())));
}

#[test]
fn an_agency_that_is_deleted_while_somebody_joins_it_is_not_joined() {
    let world = world_with_alice();
    world.run(&add_agency("acme")).unwrap();
    let begun = world.begin(&world.admin(), move_to("alice", Some("acme")));
    world.run(&delete(IdentityKind::Agency, "acme")).unwrap();
    assert_eq!(begun.finish().result.unwrap_err().code, Code::NotFound);
}

#[test]
fn a_group_joined_while_its_user_is_deleted_is_not_inherited_by_the_next() {
    let world = world_with_alice();
    let begun = world.begin(&world.admin(), delete(IdentityKind::User, "alice"));
    world.run(&join("alice", &["wheel"])).unwrap();
    begun.finish().result.unwrap();
    world.run(&AddIdentity { reuse: true, ..add_user("alice", &[], None) }).unwrap();
    assert!(world.issued("alice").groups.is_empty());
}

#[test]
fn moving_between_agencies_kills_what_the_user_holds() {
    let world = world();
    world.run(&add_agency("acme")).unwrap();
    world.run(&add_agency("globex")).unwrap();
    world.run(&add_user("alice", &[], None)).unwrap();
    let mut held = world.issued("alice");
    for agency in [Some("acme"), Some("globex"), None] {
        world.run(&move_to("alice", agency)).unwrap();
        assert!(world.is_dead(&held), "{agency:?}");
        held = world.issued("alice");
        assert_eq!(held.agency, agency.map(id));
    }
    world.run(&revoke_agency("globex")).unwrap();
    assert!(world.is_good(&held), "it was issued after alice had left");
}

#[test]
fn revoking_an_agency_hits_what_it_and_its_members_hold_and_nothing_else() {
    let world = world();
    world.run(&add_agency("acme")).unwrap();
    world.run(&add_user("alice", &[], Some("acme"))).unwrap();
    world.run(&add_user("bob", &[], None)).unwrap();
    let [own, alice, bob] = ["acme", "alice", "bob"].map(|id| world.issued(id));
    world.run(&revoke_user("acme")).unwrap();
    assert!(world.is_dead(&own) && world.is_good(&alice));
    let own = world.issued("acme");
    world.run(&revoke_agency("acme")).unwrap();
    assert!(world.is_dead(&own) && world.is_dead(&alice) && world.is_good(&bob));
}

// Deletions.

#[test]
fn deleting_an_identity_ends_its_memberships_and_its_id_stays_taken() {
    let world = world();
    world.run(&add_agency("acme")).unwrap();
    world.run(&add_user("alice", &["ops"], Some("acme"))).unwrap();
    let old = world.issued("alice");
    world.run(&delete(IdentityKind::User, "alice")).unwrap();
    assert!(world.is_dead(&old));
    let refused = world.run(&add_user("alice", &[], None)).unwrap_err();
    assert_eq!(refused.code, Code::AlreadyExists);
    assert!(refused.detail.contains("--reuse"), "{refused}");
    world.run(&AddIdentity { reuse: true, ..add_user("alice", &[], None) }).unwrap();
    let new = world.issued("alice");
    assert!(new.groups.is_empty() && new.agency.is_none());
    assert!(world.is_dead(&old) && world.is_good(&new));
}

#[test]
fn a_lock_outlives_a_deletion_and_the_reuse_of_the_id() {
    let world = world_with_alice();
    world.run(&lock("alice")).unwrap();
    world.run(&delete(IdentityKind::User, "alice")).unwrap();
    world.run(&AddIdentity { reuse: true, ..add_user("alice", &[], None) }).unwrap();
    assert_eq!(world.run(&issue("alice", CLUSTERS[0])).unwrap_err().code, Code::Locked);
}

#[test]
fn an_id_deleted_long_ago_can_be_revoked() {
    let world = world_with_alice();
    world.run(&delete(IdentityKind::User, "alice")).unwrap();
    let known = world.run(&revoke_user("alice")).unwrap().outcome.known;
    assert!(matches!(known, Known::Deleted(IdentityKind::User, _)));
}

// Revoking and locking at once.

#[test]
fn revoking_and_locking_is_one_commit() {
    let world = world_with_alice();
    let before = world.store().end();
    let row = world.issued("alice");
    let done = world.run(&Revoke { lock: true, ..revoke_user("alice") }).unwrap();
    let entries = world.entries_after(before);
    let [.., (revision, entry)] = entries.as_slice() else { panic!("no entry") };
    assert_eq!(*revision, done.revision);
    assert!(entry.events.iter().any(|event| matches!(event, Event::CutOff { .. })));
    assert!(entry.events.iter().any(|event| matches!(event, Event::Locked { .. })));
    assert!(world.is_dead(&row));
    assert_eq!(world.run(&issue("alice", CLUSTERS[0])).unwrap_err().code, Code::Locked);
}

#[test]
fn a_lock_that_is_asked_for_is_in_force_although_an_earlier_one_is_taken_back_meanwhile() {
    let world = world_with_alice();
    world.run(&lock("alice")).unwrap();
    let begun = world.begin(&world.admin(), Revoke { lock: true, ..revoke_user("alice") });
    world.run(&unlock("alice")).unwrap();
    begun.finish().result.unwrap();
    assert_eq!(world.run(&issue("alice", CLUSTERS[0])).unwrap_err().code, Code::Locked);
}

#[test]
fn what_is_locked_twice_at_once_is_locked_since_the_first_time() {
    let world = world_with_alice();
    let begun = world.begin(&world.admin(), lock("alice"));
    let since = world.outside().clock.now();
    world.run(&lock("alice")).unwrap();
    world.pass(Duration::from_secs(9));
    assert!(!begun.finish().result.unwrap().outcome.0, "it was locked already");
    let row = Txn::begin(&**world.store()).peek::<LockRow>(&("alice".parse().unwrap(), None)).unwrap().unwrap();
    assert_eq!(row.value.at, since);
}

// Requests that are sent again.

#[test]
fn a_request_sent_again_is_answered_again_and_another_one_under_its_key_is_refused() {
    let world = world_with_alice();
    let engine = world.engine();
    let once = |digest, wish: &Revoke| {
        engine.run_once(&world.admin(), &Repeatable { key: "k".to_owned(), digest: [digest; 32] }, wish)
    };
    let first = once(1, &revoke_user("alice")).unwrap();
    let end = world.store().end();
    let again = once(1, &revoke_user("alice")).unwrap();
    assert_eq!((again.outcome, again.revision), (first.outcome, first.revision));
    assert_eq!(world.store().end(), end, "nothing was done a second time");
    assert_eq!(once(2, &revoke_user("bob")).unwrap_err().code, Code::IdempotencyMismatch);
}

// What is on the record.

#[test]
fn what_is_not_on_the_record_stands_nowhere() {
    let world = world_with_alice();
    let row = CertificateRow { fingerprint: Fingerprint::from_octets([9; 32]), ..world.issued("alice") };
    assert_eq!(world.status(&row), Status::Unknown);
    assert_eq!(world.renewed(&row).unwrap_err().code, Code::Unauthenticated);
}

#[test]
fn a_record_belongs_to_its_holder() {
    let world = world_with_alice();
    world.run(&add_user("bob", &[], None)).unwrap();
    let row = CertificateRow { subject: "bob".to_owned(), ..world.issued("alice") };
    assert_eq!(world.renewed(&row).unwrap_err().code, Code::Unauthenticated);
}

#[test]
fn a_caller_calls_in_the_role_on_its_record() {
    let world = world_with_alice();
    let admin = world.management("root-admin").unwrap();
    let txn = &mut Txn::begin(&**world.store());
    let mut call = |role| credentials::must_be_caller(txn, "root-admin", &admin.fingerprint, role, admin.not_before);
    assert!(call(CertificateRole::Management).is_ok());
    assert_eq!(call(CertificateRole::Proxy).unwrap_err().code, Code::Unauthenticated);
}

#[test]
fn an_authority_cannot_be_revoked_like_a_certificate() {
    let world = world_with_alice();
    let row = world.issued("alice");
    let root = Fingerprint::of(&world.authority_der(&IssuerName::root()));
    let target = Target::Certificate(Reference::Fingerprint(root));
    assert_eq!(world.run(&Revoke { target, ..revoke_certificate(&row) }).unwrap_err().code, Code::Invalid);
    assert!(world.is_good(&row));
}

#[test]
fn a_restart_changes_no_answer() {
    for mut world in [world(), World::on_disk(fresh_seed())] {
        world.run(&add_agency("acme")).unwrap();
        world.run(&add_user("alice", &["dev"], Some("acme"))).unwrap();
        world.run(&add_user("bob", &["dev"], None)).unwrap();
        let [first, bob] = ["alice", "bob"].map(|id| world.issued(id));
        let second = world.renewed(&first).unwrap();
        world.run(&revoke_certificate(&first)).unwrap();
        let third = world.issued("alice");
        world.run(&lock("acme")).unwrap();
        let before = [&first, &second, &third, &bob].map(|row| world.status(row));
        world.restart();
        assert_eq!([&first, &second, &third, &bob].map(|row| world.status(row)), before);
        assert!(matches!(before, [Status::Revoked(_), Status::Revoked(_), Status::Locked(_), Status::Good]));
    }
}

fn why(reason: &str) -> Why {
    Why { reason: reason.parse().unwrap(), comment: None }
}
