//! Whether what the authority says goes on from what is known here.
//!
//! One history is never older than it was, and an era has one name. Whatever says otherwise comes from an authority
//! that was put back without a new era, or from a clone of it: it is refused, and somebody must look.

use crate::standing::Revision;
use crate::status::frames::{AuthorityHello, Cursor, VERSION};

/// Why what the authority says cannot be believed; for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Disbelief {
    #[error("wanted version {VERSION} of the feed, found {0}: upgrade the authority first, then its proxies")]
    Version(u16),
    #[error(
        "the authority is at {told}, and this proxy has seen {seen}: it was put back without `portcullis store restore`"
    )]
    Behind { told: Revision, seen: Revision },
    #[error("the authority tells another history of the same era: it is a clone of the one that was followed")]
    OtherTimeline,
    #[error("the authority sent a snapshot of {told}, and this proxy has seen {seen}")]
    OldSnapshot { told: Revision, seen: Revision },
    #[error("changes up to {told} came after {seen}")]
    Backwards { told: Revision, seen: Revision },
}

/// Whether an authority that says hello can be followed from here.
pub(super) fn check_hello(known: Option<Cursor>, hello: &AuthorityHello) -> Result<(), Disbelief> {
    if hello.version != VERSION {
        return Err(Disbelief::Version(hello.version));
    }
    let Some(Cursor { timeline, revision: seen }) = known else { return Ok(()) };
    if hello.revision < seen {
        return Err(Disbelief::Behind { told: hello.revision, seen });
    }
    if hello.revision.era == seen.era && hello.timeline != timeline {
        return Err(Disbelief::OtherTimeline);
    }
    Ok(())
}

/// Whether a snapshot is not older than what is known.
pub(super) fn check_snapshot(known: Option<Cursor>, told: Revision) -> Result<(), Disbelief> {
    match known {
        Some(Cursor { revision: seen, .. }) if told < seen => Err(Disbelief::OldSnapshot { told, seen }),
        _ => Ok(()),
    }
}

/// Whether changes go on in the same era.
pub(super) fn check_changes(known: Cursor, told: Revision) -> Result<(), Disbelief> {
    let seen = known.revision;
    if told < seen || told.era != seen.era { Err(Disbelief::Backwards { told, seen }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [u8; 16] = [1; 16];
    const OTHER: [u8; 16] = [2; 16];

    fn at(era: u32, number: u64) -> Revision {
        Revision { era, number }
    }

    fn known(era: u32, number: u64) -> Option<Cursor> {
        Some(Cursor { timeline: OURS, revision: at(era, number) })
    }

    fn hello(timeline: [u8; 16], revision: Revision) -> AuthorityHello {
        AuthorityHello { version: VERSION, timeline, revision, restored: None }
    }

    #[test]
    fn a_history_goes_on_or_begins_a_later_era() {
        for (cursor, hello) in [
            (None, hello(OTHER, at(1, 1))),
            (known(1, 5), hello(OURS, at(1, 5))),
            (known(1, 5), hello(OURS, at(1, 9))),
            (known(1, 5), hello(OTHER, at(2, 1))),
        ] {
            assert_eq!(check_hello(cursor, &hello), Ok(()), "{hello:?}");
        }
    }

    #[test]
    fn an_authority_that_knows_less_than_was_seen_is_not_believed() {
        for told in [at(1, 4), at(0, 9)] {
            let found = check_hello(known(1, 5), &hello(OURS, told));
            assert_eq!(found, Err(Disbelief::Behind { told, seen: at(1, 5) }));
        }
    }

    #[test]
    fn another_timeline_of_the_same_era_is_not_believed() {
        let found = check_hello(known(1, 5), &hello(OTHER, at(1, 9)));
        assert_eq!(found, Err(Disbelief::OtherTimeline));
        let newer = AuthorityHello { version: VERSION + 1, ..hello(OURS, at(1, 9)) };
        assert_eq!(check_hello(known(1, 5), &newer), Err(Disbelief::Version(VERSION + 1)));
    }

    #[test]
    fn a_snapshot_that_was_kept_and_is_sent_again_is_refused() {
        assert!(check_snapshot(known(1, 5), at(1, 4)).is_err());
        for told in [at(1, 5), at(1, 6), at(2, 1)] {
            assert_eq!(check_snapshot(known(1, 5), told), Ok(()));
        }
        assert_eq!(check_snapshot(None, at(1, 1)), Ok(()));
    }

    #[test]
    fn changes_neither_go_back_nor_into_another_era() {
        let seen = Cursor { timeline: OURS, revision: at(1, 5) };
        for told in [at(1, 4), at(2, 1), at(0, 9)] {
            assert!(check_changes(seen, told).is_err(), "{told}");
        }
        assert_eq!(check_changes(seen, at(1, 5)), Ok(()));
    }
}
