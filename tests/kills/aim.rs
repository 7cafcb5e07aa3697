//! Waits for the moment at which a child writes: a sync takes much longer, so that few kills would fall there by chance.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the layout of a segment is made of: `src/store/local/mod.rs` has the tables.
const BLOCK: u64 = 4096;
const HEAD: u64 = 128;
const MAGIC: &[u8] = b"PCLSFRAM";

/// A frame of at least so many octets takes long enough to be caught in the middle.
const LONG: u64 = 1024 * 1024;

/// How many looks at the next frame's place come between two looks for a newer segment.
const LOOKS: u32 = 200;

/// Returns as soon as the child has begun to write another `frames` long frames; a child that writes none is left after
/// a while, as if it had been a moment like any other.
pub(crate) fn at_frame(journal: &Path, frames: u64) {
    let until = Instant::now() + Duration::from_secs(1);
    let (mut segment, mut place) = (newest(journal), BLOCK);
    let mut file = File::open(&segment).unwrap();
    while let Some(length) = frame(&file, place) {
        place += length;
    }
    let mut begun = 0;
    while Instant::now() < until {
        for _ in 0..LOOKS {
            if let Some(length) = frame(&file, place) {
                begun += u64::from(length >= LONG);
                if begun == frames {
                    return;
                }
                place += length;
            }
        }
        let now = newest(journal);
        if now != segment {
            (file, segment, place) = (File::open(&now).unwrap(), now, BLOCK);
        }
    }
}

/// How much room the frame at this place takes, if one has begun there.
fn frame(file: &File, place: u64) -> Option<u64> {
    let mut head = [0; 12];
    file.read_exact_at(&mut head, place).ok()?;
    let length: [u8; 4] = *head.last_chunk()?;
    head.starts_with(MAGIC).then(|| (HEAD + u64::from(u32::from_be_bytes(length))).next_multiple_of(BLOCK))
}

fn newest(journal: &Path) -> PathBuf {
    let names = std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "segment")).max().unwrap()
}
