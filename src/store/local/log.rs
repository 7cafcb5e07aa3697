//! The journal as it is read back: which segments there are, where their frames lie, and the entries in them.
//!
//! Only the places of frames are kept in memory, 24 octets each; those of an older segment are found out when it is
//! first asked for.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use super::OpenError;
use super::archive;
use super::frame::{BLOCK, HEAD, Head, Position, Recorded, decode};
use super::segment::{Content, FrameAt, Header};
use crate::disk::{Disk, DiskFile};
use crate::standing::Revision;
use crate::store::StoreError;

/// The segments, oldest first.
#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    journal: PathBuf,
    parts: RwLock<Vec<Part>>,
}

/// One segment; `frames` is `None` until it was read.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) header: Header,
    pub(super) frames: Option<Vec<FrameAt>>,
}

impl Log {
    pub(super) fn new(disk: Arc<dyn Disk>, journal: PathBuf, parts: Vec<Part>) -> Self {
        Self { disk, journal, parts: RwLock::new(parts) }
    }

    /// A segment was begun.
    pub(super) fn begin(&self, header: Header) {
        self.parts_mut().push(Part { header, frames: Some(Vec::new()) });
    }

    /// A frame was written to the newest segment.
    pub(super) fn add(&self, frame: FrameAt) {
        if let Some(frames) = self.parts_mut().last_mut().and_then(|part| part.frames.as_mut()) {
            frames.push(frame);
        }
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> usize {
        self.parts.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The first `limit` commits after one revision, up to and with another.
    pub(super) fn between(&self, after: Revision, end: Revision, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        let mut found = Vec::new();
        self.replay(after, end, |_, commits| {
            found.extend(commits.into_iter().filter(|commit| commit.revision > after && commit.revision <= end));
            if found.len() < limit { Ok(ControlFlow::Continue(())) } else { Ok(ControlFlow::Break(())) }
        })?;
        found.truncate(limit);
        Ok(found)
    }

    /// Whether a group ended at this place.
    pub(super) fn has(&self, position: &Position) -> Result<bool, StoreError> {
        let mut ends = Vec::new();
        let before = Revision { number: position.revision.number.saturating_sub(1), ..position.revision };
        self.replay(before, position.revision, |end, _| {
            ends.push(end);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(ends.contains(position))
    }

    /// Gives every group after one revision that begins no later than another to `work`, oldest first.
    pub(super) fn replay(
        &self,
        after: Revision,
        end: Revision,
        mut work: impl FnMut(Position, Vec<Recorded>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        self.must_reach_back_to(after)?;
        let mut place = self.place_of(after);
        while let Some((header, frames)) = self.frames(place)? {
            let from = frames.partition_point(|frame| frame.first <= after).saturating_sub(1);
            let wanted = frames.get(from..).unwrap_or_default();
            if !wanted.is_empty() {
                let file = archive::find(&*self.disk, &self.journal, header.sequence);
                let open = self.disk.open_to_read(&file);
                let open = open.map_err(|error| StoreError(format!("{} cannot be read: {error}", file.display())))?;
                for frame in wanted.iter().take_while(|frame| frame.first <= end) {
                    let read = read_frame(&*open, &header, frame.offset);
                    let read =
                        read.map_err(|error| StoreError(format!("{} cannot be read: {error}", file.display())))?;
                    let (position, commits) = read.ok_or_else(|| {
                        StoreError(format!("{} is damaged at octet {}", file.display(), frame.offset))
                    })?;
                    if position.revision > after && work(position, commits)?.is_break() {
                        return Ok(());
                    }
                }
            }
            place = place.saturating_add(1);
        }
        Ok(())
    }

    /// The segments that end at or before a revision, oldest first.
    pub(super) fn ended_by(&self, revision: Revision) -> Vec<u64> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let nexts = parts.iter().skip(1).map(|next| next.header.previous.revision);
        parts.iter().zip(nexts).take_while(|(_, end)| *end <= revision).map(|(part, _)| part.header.sequence).collect()
    }

    /// The oldest segments may be elsewhere; whoever needs them is told which.
    fn must_reach_back_to(&self, revision: Revision) -> Result<(), StoreError> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        match parts.first().map(|part| part.header) {
            Some(oldest) if revision.number < oldest.previous.revision.number => Err(StoreError(format!(
                "what was committed after revision {revision} is wanted, and the oldest segment here, number {}, begins \
                 behind {}: put those before it back into {} and start again",
                oldest.sequence,
                oldest.previous.revision,
                self.journal.display()
            ))),
            _ => Ok(()),
        }
    }

    /// The newest segment that begins at or before the revision.
    fn place_of(&self, revision: Revision) -> usize {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        parts.partition_point(|part| part.header.previous.revision <= revision).saturating_sub(1)
    }

    fn frames(&self, place: usize) -> Result<Option<(Header, Vec<FrameAt>)>, StoreError> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let Some(part) = parts.get(place).cloned() else { return Ok(None) };
        let next = parts.get(place.saturating_add(1)).map(|next| next.header);
        drop(parts);
        if let Some(frames) = part.frames {
            return Ok(Some((part.header, frames)));
        }
        let read = self.read_part(&part.header, next.as_ref());
        let frames = read.map_err(|error| StoreError(error.to_string()))?;
        if let Some(part) = self.parts_mut().get_mut(place) {
            part.frames = Some(frames.clone());
        }
        Ok(Some((part.header, frames)))
    }

    fn read_part(&self, header: &Header, next: Option<&Header>) -> Result<Vec<FrameAt>, OpenError> {
        let file = archive::find(&*self.disk, &self.journal, header.sequence);
        let content = Content::read(&*self.disk, &file)?;
        let walked = walk(&content, next);
        if next.is_some_and(|next| next.previous != walked.position) {
            return Err(OpenError::damaged(&file, format!("what follows revision {}", walked.position.revision)));
        }
        Ok(walked.frames)
    }

    fn parts_mut(&self) -> RwLockWriteGuard<'_, Vec<Part>> {
        self.parts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frames of a segment that continue from its header, up to the first that does not or to where `next` begins.
pub(super) struct Walked {
    pub(super) frames: Vec<FrameAt>,
    /// Where the last of them ends in the journal.
    pub(super) position: Position,
    /// And in the file.
    pub(super) offset: usize,
}

/// Walks a segment from its header on, checking every frame.
pub(super) fn walk(content: &Content, next: Option<&Header>) -> Walked {
    let mut walked = Walked { frames: Vec::new(), position: content.header.previous, offset: BLOCK };
    while next.is_none_or(|next| next.previous != walked.position) {
        let Some((head, _)) = content.frame(walked.offset, &walked.position) else { break };
        walked.frames.push(FrameAt { first: head.first, offset: walked.offset as u64 });
        walked.position = head.end();
        walked.offset = walked.offset.saturating_add(head.span());
    }
    walked
}

/// The frame at an offset; none if it is not whole.
fn read_frame(file: &dyn DiskFile, header: &Header, offset: u64) -> std::io::Result<Option<(Position, Vec<Recorded>)>> {
    let mut bytes = [0; HEAD];
    if !read_all(file, &mut bytes, offset)? {
        return Ok(None);
    }
    let Some(head) = Head::read(&bytes, &header.nonce) else { return Ok(None) };
    let mut payload = vec![0; head.length as usize];
    if !read_all(file, &mut payload, offset.saturating_add(HEAD as u64))? || !head.vouches_for(&payload) {
        return Ok(None);
    }
    Ok(decode(&head, &payload).map(|commits| (head.end(), commits)))
}

/// Whether the file goes on far enough; what the disk says otherwise is an error.
fn read_all(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> std::io::Result<bool> {
    match file.read_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
