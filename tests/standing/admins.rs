//! Somebody is always left who can manage, whatever is wished at once.

use portcullis::ca::issue::{Issue, Purpose};
use portcullis::command::{Code, Command, Rejected};
use portcullis::directory::identities::EditIdentity;
use portcullis::journal::IdentityKind;
use portcullis::revocation::wish::Revoke;

use crate::world::{
    CLUSTERS, World, add_agency, add_user, delete, fresh_seed, holder, issue, lock, move_to, revoke_certificate,
    revoke_user, withdraw,
};

#[test]
fn two_admins_cannot_remove_each_other_at_once() {
    removing_each_other(revoke_user);
    removing_each_other(|id| Revoke { lock: true, ..revoke_user(id) });
    removing_each_other(lock);
    removing_each_other(|id| delete(IdentityKind::User, id));
    removing_each_other(withdraw);
    removing_each_other(|id| move_to(id, Some("acme")));
}

/// Two admins are there, and both wish at once that the other were not.
fn removing_each_other<C>(wish: impl Fn(&str) -> C)
where
    C: Command + Send + 'static,
    C::Outcome: Send,
{
    let world = World::in_memory(fresh_seed());
    world.run(&add_agency("acme")).unwrap();
    let other = world.new_admin("other-admin");
    let begun = world.begin(&other, wish("root-admin"));
    world.run(&wish("other-admin")).unwrap();
    let refused = begun.finish();
    assert!(refused.result.is_err(), "both are gone");
    assert!(world.run(&add_user("alice", &[], None)).is_ok(), "the first of them is left");
}

#[test]
fn the_last_two_admins_cannot_leave_at_once() {
    leaving_at_once(revoke_user);
    leaving_at_once(|id| Revoke { lock: true, ..revoke_user(id) });
    leaving_at_once(lock);
    leaving_at_once(|id| delete(IdentityKind::User, id));
    leaving_at_once(withdraw);
    leaving_at_once(|id| move_to(id, Some("acme")));
}

/// Two admins are there, and each wishes not to be: they read nothing that the other writes, but for the generation.
fn leaving_at_once<C>(wish: impl Fn(&str) -> C)
where
    C: Command + Send + 'static,
    C::Outcome: Send,
{
    let world = World::in_memory(fresh_seed());
    world.run(&add_agency("acme")).unwrap();
    let other = world.new_admin("other-admin");
    let begun = world.begin(&other, wish("other-admin"));
    world.run(&wish("root-admin")).unwrap();
    let refused = begun.finish();
    assert_eq!(refused.result.map(drop).unwrap_err().code, Code::LastAdmin);
}

#[test]
fn the_last_admin_cannot_be_removed_in_any_way() {
    let world = World::in_memory(fresh_seed());
    world.run(&add_agency("acme")).unwrap();
    world.new_admin("other-admin");
    world.run(&revoke_user("other-admin")).unwrap();
    let row = world.management("root-admin").unwrap();
    let code = |result: Result<(), Rejected>| result.unwrap_err().code;
    let me = "root-admin";
    assert_eq!(code(world.run(&revoke_user(me)).map(drop)), Code::LastAdmin);
    assert_eq!(code(world.run(&Revoke { lock: true, ..revoke_user(me) }).map(drop)), Code::LastAdmin);
    assert_eq!(code(world.run(&lock(me)).map(drop)), Code::LastAdmin);
    assert_eq!(code(world.run(&delete(IdentityKind::User, me)).map(drop)), Code::LastAdmin);
    assert_eq!(code(world.run(&withdraw(me)).map(drop)), Code::LastAdmin);
    assert_eq!(code(world.run(&move_to(me, Some("acme"))).map(drop)), Code::LastAdmin);
    let locking = Revoke { lock: true, ..revoke_certificate(&row) };
    assert_eq!(code(world.run(&locking).map(drop)), Code::LastAdmin, "the lock stops the other certificate too");
    assert!(world.run(&revoke_certificate(&row)).is_ok(), "there is another");
    assert!(world.run(&EditIdentity { force: true, ..withdraw(me) }).is_ok());
}

#[test]
fn a_lock_beside_a_revocation_cannot_stop_the_last_admin_by_their_agency() {
    let world = World::in_memory(fresh_seed());
    world.run(&add_agency("acme")).unwrap();
    let spare = world.new_admin("spare");
    world.run_as(&spare, &move_to("root-admin", Some("acme"))).unwrap();
    let root = world.run_as(&spare, &management_wish("root-admin")).unwrap().outcome.row;
    world.run_as(&holder(&root), &revoke_user("spare")).unwrap();
    let wish = Revoke { lock: true, ..revoke_user("acme") };
    assert_eq!(world.run_as(&holder(&root), &wish).unwrap_err().code, Code::LastAdmin);
    assert!(world.run_as(&holder(&root), &revoke_user("acme")).is_ok(), "alone it stops no member");
}

fn management_wish(id: &str) -> Issue {
    Issue { purpose: Purpose::Management, ..issue(id, CLUSTERS[0]) }
}
