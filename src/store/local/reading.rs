//! The journal read from its first frame on, without the store's lock: for a copy, a check, and for a store that was
//! replaced.
//!
//! Segments only ever appear, and what is in one is only ever added to, so whoever knows the mark first and lists the
//! segments after it finds everything up to the mark, also while the store is running.

use std::path::{Path, PathBuf};

use super::OpenError;
use super::archive;
use super::frame::{BLOCK, Head, Position};
use super::segment::{Content, Header};
use crate::disk::Disk;

/// Reads one segment after the other.
pub(super) struct Journal<'d> {
    disk: &'d dyn Disk,
    folder: PathBuf,
    /// The headers that can be read, oldest first and without a gap.
    headers: Vec<Header>,
    /// What ends them before the last segment that is there.
    broken: Option<OpenError>,
    place: usize,
    position: Position,
}

/// What a segment holds, as far as it can be read or is wanted.
pub(super) struct Piece {
    pub(super) path: PathBuf,
    pub(super) content: Content,
    /// Where each frame begins in the file, and its head.
    pub(super) frames: Vec<(usize, Head)>,
    /// Where the last of them ends in the journal.
    pub(super) position: Position,
    /// And in the file.
    pub(super) end: usize,
    /// Why the journal cannot be read on from here, although it should go on.
    pub(super) damage: Option<OpenError>,
}

impl<'d> Journal<'d> {
    /// Finds the segments of a journal's folder.
    pub(super) fn open(disk: &'d dyn Disk, folder: &Path) -> Result<Self, OpenError> {
        let sequences = archive::sequences(disk, folder);
        let sequences = sequences.map_err(|error| OpenError::disk("listing the journal", error))?;
        let (mut headers, mut broken): (Vec<Header>, _) = (Vec::new(), None);
        for sequence in sequences {
            let wanted = headers.len() as u64 + 1;
            let path = archive::find(disk, folder, wanted);
            let header =
                if sequence == wanted { header(disk, &path) } else { Err(OpenError::damaged(&path, "it is missing")) };
            match header {
                Ok(header) if header.sequence == wanted => headers.push(header),
                Ok(_) => broken = Some(OpenError::damaged(&path, "it does not belong at this place")),
                Err(error) => broken = Some(error),
            }
            if broken.is_some() {
                break;
            }
        }
        let position = match (headers.first(), broken) {
            (Some(first), found) => {
                broken = found;
                first.previous
            }
            (None, Some(error)) => return Err(error),
            (None, None) => return Err(OpenError::Unfinished),
        };
        Ok(Self { disk, folder: folder.to_owned(), headers, broken, place: 0, position })
    }

    /// What the segments say about themselves, oldest first.
    pub(super) fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// How many octets the segments have.
    pub(super) fn octets(&self) -> u64 {
        let paths = self.headers.iter().map(|header| archive::find(self.disk, &self.folder, header.sequence));
        paths.filter_map(|path| self.disk.open_to_read(&path).and_then(|file| file.length()).ok()).sum()
    }

    /// The next segment; none after the last, and none beyond the place that is wanted.
    pub(super) fn next(&mut self, until: Option<&Position>) -> Result<Option<Piece>, OpenError> {
        if until.is_some_and(|until| *until == self.position) {
            return Ok(None);
        }
        let Some(header) = self.headers.get(self.place) else { return Ok(None) };
        let path = archive::find(self.disk, &self.folder, header.sequence);
        if header.previous != self.position {
            return Err(OpenError::damaged(&path, "it does not go on from the segment before it"));
        }
        let next = self.headers.get(self.place.saturating_add(1)).map(|next| next.previous);
        let content = Content::read(self.disk, &path)?;
        let (mut frames, mut position, mut end) = (Vec::new(), self.position, BLOCK);
        while next != Some(position) && until.is_none_or(|until| *until != position) {
            let Some((head, _)) = content.frame(end, &position) else { break };
            frames.push((end, head));
            position = head.end();
            end = end.saturating_add(head.span());
        }
        let is_short = next.is_some_and(|next| next != position) && until.is_none_or(|until| *until != position);
        let unread = || format!("what follows revision {} at octet {end} cannot be read", position.revision);
        let damage = if is_short {
            self.headers.truncate(self.place.saturating_add(1));
            Some(OpenError::damaged(&path, unread()))
        } else if next.is_none() {
            self.broken.take()
        } else {
            None
        };
        self.place = self.place.saturating_add(1);
        self.position = position;
        Ok(Some(Piece { path, content, frames, position, end, damage }))
    }
}

impl Piece {
    /// The payload of one of its frames.
    pub(super) fn payload(&self, frame: &(usize, Head)) -> &[u8] {
        let begin = frame.0.saturating_add(super::frame::HEAD);
        let end = begin.saturating_add(frame.1.length as usize);
        self.content.bytes.get(begin..end).unwrap_or_default()
    }
}

fn header(disk: &dyn Disk, path: &Path) -> Result<Header, OpenError> {
    let doing = || format!("reading {}", path.display());
    let file = disk.open_to_read(path).map_err(|error| OpenError::disk(doing(), error))?;
    let mut block = vec![0; BLOCK];
    match file.read_at(&mut block, 0) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(OpenError::damaged(path, "it is shorter than its header"));
        }
        result => result.map_err(|error| OpenError::disk(doing(), error))?,
    }
    Header::decode(&block, path)
}
