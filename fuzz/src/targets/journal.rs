//! Frames of the journal: what a start reads back from the disk.

use portcullis::standing::Revision;
use portcullis::store::Batch;
use portcullis::store::entry;
use portcullis::store::local::frame::{self, HEAD, Head};

/// The first two octets say how many commits the payload has and where one bit of the sealed frame is turned.
///
/// A payload that decodes is, encoded again, the same octets. A sealed frame reads back, and not with a bit turned.
pub(crate) fn target(octets: &[u8]) {
    let [count, turned, payload @ ..] = octets else { return };
    let (first, nonce) = (Revision { era: 7, number: 40 }, [5; 16]);
    let mut sealed = vec![0; HEAD];
    sealed.extend_from_slice(payload);
    frame::seal(&mut sealed, &[9; 32], first, u32::from(*count).max(1), &nonce);
    let head = Head::read(&sealed, &nonce).expect("a frame that was sealed");
    assert!(head.vouches_for(payload) && head.span() == sealed.len());
    if let Some(commits) = frame::decode(&head, payload) {
        let again: Vec<u8> = commits
            .iter()
            .flat_map(|commit| {
                let (writes, entry) = (commit.writes.clone(), commit.entry.clone());
                frame::encode(&Batch { writes, entry, ..Batch::default() })
            })
            .collect();
        assert_eq!(again, payload);
        for commit in &commits {
            facts(&commit.entry);
        }
    }
    facts(payload);

    let place = usize::from(*turned) * (HEAD + payload.len()) / 256;
    sealed[place] ^= 1 << (turned % 8);
    let stays = Head::read(&sealed, &nonce).is_some_and(|head| head.vouches_for(&sealed[HEAD..HEAD + payload.len()]));
    assert!(!stays, "a turned bit at {place} was not seen");
}

/// The facts of a commit, read, written and read again, are what was read.
fn facts(octets: &[u8]) {
    if let Ok(read) = entry::decode(octets) {
        let written = entry::encode(&read).expect("it was read, so it can be written");
        assert_eq!(entry::decode(&written).expect("what we wrote"), read);
    }
}
