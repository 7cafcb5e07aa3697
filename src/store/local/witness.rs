//! A store that is not open, asked what it knows: for the backup's check, and for the restore that replaces it.

use std::path::Path;

use super::frame::decode;
use super::reading::{Journal, Piece};
use super::{OpenError, Paths, checkpoint, mark};
use crate::disk::Disk;
use crate::standing::Revision;
use crate::store::{Timeline, Write};

/// A commit of a journal that is read from outside.
#[derive(Debug)]
pub struct Seen {
    /// Its revision.
    pub revision: Revision,
    /// What it wrote.
    pub writes: Vec<Write>,
    /// Its entry.
    pub entry: Vec<u8>,
}

/// What a journal that is read from outside comes to.
#[derive(Debug)]
pub struct Read {
    /// The name of the first era: the same in every copy and every later era of one installation.
    pub origin: Timeline,
    /// The newest era that a segment names.
    pub era: u32,
    /// That era's name.
    pub timeline: Timeline,
    /// How far it could be read.
    pub end: Revision,
    /// The link of the frame there.
    pub link: [u8; 32],
    /// How far it must reach, by its mark; none where that cannot be read.
    pub mark: Option<Revision>,
    /// Why it cannot be read further, if it goes on or should.
    pub damage: Option<String>,
    /// Each segment that was read.
    pub segments: Vec<SegmentRead>,
}

/// One segment of such a journal.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SegmentRead {
    /// The file's name.
    pub file: String,
    /// How many groups are in it.
    pub groups: u64,
    /// How many commits.
    pub commits: u64,
    /// How many octets they take.
    pub octets: u64,
    /// Where it ends, `era-number`.
    pub end: String,
}

/// Reads every frame of a store's journal, as far as it goes, and gives the commits after one revision to `take`.
pub fn read(disk: &dyn Disk, store: &Path, after: Revision, take: &mut dyn FnMut(Seen)) -> Result<Read, OpenError> {
    let paths = Paths::of(store);
    // Before the journal: what the mark names is there.
    let mark = mark::read_only(disk, &paths.mark);
    let mut read = read_folder(disk, &paths.journal, after, take)?;
    match mark {
        Ok(mark) => read.mark = Some(mark.position.revision),
        Err(error) => drop(read.damage.get_or_insert_with(|| error.to_string())),
    }
    Ok(read)
}

/// The mark of a store, where its journal cannot be read at all.
pub fn read_mark(disk: &dyn Disk, store: &Path) -> Option<Revision> {
    mark::read_only(disk, &Paths::of(store).mark).ok().map(|mark| mark.position.revision)
}

/// The same for the folder of a journal alone.
pub fn read_folder(
    disk: &dyn Disk,
    folder: &Path,
    after: Revision,
    take: &mut dyn FnMut(Seen),
) -> Result<Read, OpenError> {
    let mut journal = Journal::open(disk, folder)?;
    let (first, newest) = (journal.headers().first().copied(), journal.headers().last().copied());
    let (Some(first), Some(newest)) = (first, newest) else { return Err(OpenError::Unfinished) };
    let mut read = Read {
        origin: first.timeline,
        era: newest.era,
        timeline: newest.timeline,
        end: first.previous.revision,
        link: first.previous.link,
        mark: None,
        damage: None,
        segments: Vec::new(),
    };
    while read.damage.is_none() {
        match journal.next(None) {
            Ok(Some(piece)) => read.piece(piece, after, newest.sequence, take),
            Ok(None) => break,
            Err(error) => read.damage = Some(error.to_string()),
        }
    }
    Ok(read)
}

impl Read {
    fn piece(&mut self, piece: Piece, after: Revision, newest: u64, take: &mut dyn FnMut(Seen)) {
        self.segments.push(summary(&piece));
        for frame in &piece.frames {
            let Some(commits) = decode(&frame.1, piece.payload(frame)) else {
                let what = format!("the group of revision {} is none", frame.1.first);
                self.damage = Some(OpenError::damaged(&piece.path, what).to_string());
                return;
            };
            for commit in commits.into_iter().filter(|commit| commit.revision > after) {
                take(Seen { revision: commit.revision, writes: commit.writes, entry: commit.entry });
            }
            (self.end, self.link) = (frame.1.end().revision, frame.1.end().link);
        }
        let is_torn = piece.content.header.sequence == newest && !piece.content.rest(piece.end).is_empty();
        if let Some(damage) = piece.damage {
            self.damage = Some(damage.to_string());
        } else if is_torn {
            let what = format!("what follows revision {} cannot be read", piece.position.revision);
            // Beyond the mark that is what a crash leaves; whoever asks compares with the mark.
            self.damage = Some(OpenError::damaged(&piece.path, what).to_string());
        }
    }
}

fn summary(piece: &Piece) -> SegmentRead {
    SegmentRead {
        file: piece.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        groups: piece.frames.len() as u64,
        commits: piece.frames.iter().map(|(_, head)| u64::from(head.count)).sum(),
        octets: piece.end as u64,
        end: piece.position.revision.to_string(),
    }
}

/// What a store's checkpoint says: where it stands and how many keys it holds; none where there is none.
pub fn read_checkpoint(disk: &dyn Disk, store: &Path) -> Result<Option<(Revision, usize)>, OpenError> {
    let path = Paths::of(store).checkpoint;
    let is_there = disk.open_to_read(&path).is_ok();
    match checkpoint::read(disk, &path)? {
        Some(found) => Ok(Some((found.position.revision, found.resident.len()))),
        None if is_there => Err(OpenError::damaged(&path, "it is not whole; the journal knows all that it said")),
        None => Ok(None),
    }
}
