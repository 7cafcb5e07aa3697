//! Copies of a journal: out of a store into a backup, and out of a backup into a store that begins a new era.

use std::path::Path;
use std::sync::Arc;

use super::frame::Position;
use super::mark::{self, Mark};
use super::reading::Journal;
use super::segment::{self, Header};
use super::{LocalStore, OpenError, Options, Paths, recover, take_lock};
use crate::disk::{Disk, DiskFile};
use crate::standing::Revision;
use crate::store::Timeline;
use crate::world::{Entropy, random};

/// What a copy of a journal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The era it ends in.
    pub era: u32,
    /// That era's name.
    pub timeline: Timeline,
    /// The name of the first era: the same in every copy and every later era of one installation.
    pub origin: Timeline,
    /// Its last revision.
    pub revision: Revision,
    /// The link of its last frame.
    pub link: [u8; 32],
    /// How many segments it has.
    pub segments: usize,
    /// How many octets.
    pub octets: u64,
}

/// How much of something long is done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// So many octets …
    pub octets: u64,
    /// … of so many.
    pub of: u64,
}

/// Copies the journal of a store, running or not, up to exactly the frame that its mark names, into a new folder.
///
/// The chain of frames is verified on the way. Everything is durable when this returns.
pub fn copy_journal(
    disk: &dyn Disk,
    store: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Done),
) -> Result<Copied, OpenError> {
    let paths = Paths::of(store);
    let mark = mark::read_only(disk, &paths.mark)?;
    if mark.position.revision.number == 0 {
        return Err(OpenError::Unfinished);
    }
    copy(disk, &paths.journal, to, &mark.position, progress)
}

/// The lock of a store that must not be running; it is held until the answer is dropped.
pub fn lock(disk: &dyn Disk, store: &Path) -> Result<Box<dyn DiskFile>, OpenError> {
    take_lock(disk, &Paths::of(store))
}

/// Copies a journal up to a place that it must reach.
fn copy(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    until: &Position,
    progress: &mut dyn FnMut(Done),
) -> Result<Copied, OpenError> {
    let mut journal = Journal::open(disk, from)?;
    let first = journal.headers().first().map_or(Timeline([0; 16]), |header| header.timeline);
    let (of, mut octets, mut segments, mut last) = (journal.octets(), 0_u64, 0_usize, None);
    while let Some(piece) = journal.next(Some(until))? {
        let path = segment::path(to, piece.content.header.sequence);
        let doing = |error| OpenError::disk(format!("writing {}", path.display()), error);
        if piece.position != *until
            && let Some(damage) = piece.damage
        {
            return Err(damage);
        }
        let file = disk.create_new(&path).map_err(doing)?;
        file.write_at(piece.content.bytes.get(..piece.end).unwrap_or_default(), 0).map_err(doing)?;
        file.sync_data().map_err(doing)?;
        octets = octets.saturating_add(piece.end as u64);
        segments = segments.saturating_add(1);
        progress(Done { octets, of: of.max(octets) });
        last = Some((piece.content.header, piece.position));
    }
    disk.sync_dir(to).map_err(|error| OpenError::disk(format!("writing {}", to.display()), error))?;
    match last {
        Some((header, position)) if position == *until => Ok(Copied {
            era: header.era,
            timeline: header.timeline,
            origin: first,
            revision: position.revision,
            link: position.link,
            segments,
            octets,
        }),
        Some((_, position)) => Err(OpenError::damaged(
            from,
            format!("it ends at {}, and its mark says that it reached {}", position.revision, until.revision),
        )),
        None => Err(OpenError::Unfinished),
    }
}

/// A store that is to be.
#[derive(Debug)]
pub struct New<'n> {
    /// Its folder, which is not there yet.
    pub folder: &'n Path,
    /// Its era: later than every one that was.
    pub era: u32,
    /// Where it lies.
    pub disk: Arc<dyn Disk>,
    /// Chance, for the era's name.
    pub entropy: Arc<dyn Entropy>,
    /// How it is to be opened.
    pub options: Options,
}

/// Makes a store out of the journal in a backup: what is committed from now on is in a new era, which goes on from the
/// backup's last frame.
pub fn begin_era(
    backup: &Path,
    until: &Copied,
    new: New<'_>,
    progress: &mut dyn FnMut(Done),
) -> Result<LocalStore, OpenError> {
    let New { folder, era, disk, entropy, options } = new;
    let paths = Paths::of(folder);
    let doing = |error| OpenError::disk(format!("making a store in {}", folder.display()), error);
    disk.create_dir(folder).map_err(doing)?;
    disk.create_dir(&paths.journal).map_err(doing)?;
    let previous = Position { revision: until.revision, link: until.link };
    copy(&*disk, &backup.join(super::JOURNAL), &paths.journal, &previous, progress)?;
    let timeline = Timeline(random(&*entropy).map_err(|_| OpenError::NoEntropy)?);
    let nonce = random(&*entropy).map_err(|_| OpenError::NoEntropy)?;
    let sequence = until.segments as u64 + 1;
    let header = Header { sequence, era, timeline, previous, nonce };
    let mark = Mark { count: 0, timeline, position: previous };
    mark::create(&*disk, &paths.mark, &paths.mark_unfinished, &mark).map_err(doing)?;
    recover::begin(&*disk, &paths.journal, &header, options.segment_length()).map_err(doing)?;
    LocalStore::open(folder, disk, entropy, options)
}
