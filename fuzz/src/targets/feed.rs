//! Frames of the feed, in both directions.

use std::fmt::Debug;

use portcullis::status::frames::{self, Decoder, Down, Up};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What was read, written and read again is what was read; and it does not matter in which pieces octets come.
pub(crate) fn target(octets: &[u8]) {
    let Some((direction, octets)) = octets.split_first() else { return };
    if direction % 2 == 0 {
        for frame in read::<Down>(octets) {
            // What a proxy does with a page of a snapshot.
            if let Down::Snapshot(page) = frame {
                let _ = page.into_changes();
            }
        }
    } else {
        read::<Up>(octets);
    }
}

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(octets: &[u8]) -> Vec<T> {
    let whole = frames_in(&[octets]);
    let (front, back) = octets.split_at(octets.len() / 2);
    let single: Vec<&[u8]> = back.chunks(1).collect();
    assert_eq!(whole, frames_in(&[&[front][..], &single].concat()));
    for frame in &whole {
        let again: Vec<T> = frames_in(&[&frames::encode(frame).expect("it was read, so it can be written")]);
        assert_eq!(&again, std::slice::from_ref(frame));
    }
    whole
}

/// The frames up to the first that is none.
fn frames_in<T: DeserializeOwned>(pieces: &[&[u8]]) -> Vec<T> {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}
