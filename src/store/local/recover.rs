//! The start: what the journal holds, what a crash left at its end, and the state that follows from it.
//!
//! The journal must reach the mark (and the checkpoint, and the beginning of its newest segment: each was made after
//! what it names was synced). Up to there any damage refuses the start by name. Beyond it only the very last group may
//! be damaged; whole groups there may be in the page cache and not on the disk, so they are written into a new segment
//! and synced before anything is served.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive;
use super::checkpoint::{self, Checkpoint};
use super::frame::{BLOCK, HEAD, Head, Position, seal, span};
use super::log::{Log, Part, Walked, walk};
use super::mark::Mark;
use super::segment::{self, Content, FrameAt, Header};
use super::state::{Applied, Changes, is_resident};
use super::{OpenError, Options, Paths, spare};
use crate::disk::{Disk, DiskFile};
use crate::world::{Entropy, random};

/// Where the writer goes on.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) header: Header,
    /// Where the next frame goes.
    pub(super) offset: u64,
    /// How long the file is.
    pub(super) length: u64,
}

/// The outcome of a start.
pub(super) struct Recovered {
    pub(super) applied: Applied,
    pub(super) log: Log,
    pub(super) active: Active,
}

/// What a start works with.
struct Start<'a> {
    disk: &'a Arc<dyn Disk>,
    paths: &'a Paths,
    options: &'a Options,
    entropy: &'a dyn Entropy,
    mark: Mark,
}

/// Brings the store to the state that everything acknowledged demands, or refuses.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    paths: &Paths,
    options: &Options,
    mark: Mark,
    entropy: &dyn Entropy,
) -> Result<Recovered, OpenError> {
    let start = Start { disk, paths, options, entropy, mark };
    let headers = start.headers()?;
    let checkpoint = start.checkpoint()?;
    let (log, active, end) = start.journal(&headers, checkpoint.as_ref())?;
    let applied = replay(&log, checkpoint, end)?;
    Ok(Recovered { applied, log, active })
}

impl Start<'_> {
    /// The headers of all segments that are here, which follow one another without a gap.
    fn headers(&self) -> Result<Vec<Header>, OpenError> {
        let journal = &self.paths.journal;
        let sequences = archive::sequences(&**self.disk, journal);
        let sequences = sequences.map_err(|error| OpenError::disk("listing the journal", error))?;
        let mut headers: Vec<Header> = Vec::new();
        for sequence in sequences {
            let wanted = headers.last().map_or(sequence, |header| header.sequence.saturating_add(1));
            if sequence != wanted {
                return Err(OpenError::damaged(&segment::path(journal, wanted), "it is missing"));
            }
            let path = archive::find(&**self.disk, journal, sequence);
            let header = self.header(&path)?;
            let before = headers.last().map_or(Position::START, |header| header.previous);
            if header.sequence != sequence || header.previous.revision < before.revision {
                return Err(OpenError::damaged(&path, "it does not belong at this place"));
            }
            headers.push(header);
        }
        let Some(newest) = headers.last() else {
            let begun = self.mark.position.revision.number > 0;
            let missing = || OpenError::damaged(&segment::path(journal, 1), "it is missing, and so are all others");
            return Err(if begun { missing() } else { OpenError::Unfinished });
        };
        if newest.timeline != self.mark.timeline {
            let path = segment::path(journal, newest.sequence);
            return Err(OpenError::damaged(&path, "it is of another timeline than the mark"));
        }
        Ok(headers)
    }

    fn header(&self, path: &Path) -> Result<Header, OpenError> {
        let doing = || format!("reading {}", path.display());
        let file = self.disk.open(path).map_err(|error| OpenError::disk(doing(), error))?;
        let mut block = vec![0; BLOCK];
        match file.read_at(&mut block, 0) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(OpenError::damaged(path, "it is shorter than its header"));
            }
            result => result.map_err(|error| OpenError::disk(doing(), error))?,
        }
        Header::decode(&block, path)
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, OpenError> {
        let read = checkpoint::read(&**self.disk, &self.paths.checkpoint)?;
        if read.as_ref().is_some_and(|checkpoint| checkpoint.timeline != self.mark.timeline) {
            return Err(OpenError::damaged(&self.paths.checkpoint, "it is of another timeline than the mark"));
        }
        Ok(read)
    }

    /// Reads and checks the journal from where the checkpoint stands, and settles its end.
    fn journal(
        &self,
        headers: &[Header],
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(Log, Active, Position), OpenError> {
        let known = checkpoint.map_or(Position::START, |checkpoint| checkpoint.position);
        let from = known.revision.min(self.mark.position.revision);
        // The oldest may have been taken away once a checkpoint was beyond them.
        if let Some(oldest) = headers.first().filter(|oldest| oldest.previous.revision.number > from.number) {
            let missing = archive::path(&self.paths.journal, oldest.sequence.saturating_sub(1));
            return Err(OpenError::damaged(&missing, "it is missing, and the checkpoint does not reach beyond it"));
        }
        let first = headers.partition_point(|header| header.previous.revision <= from).saturating_sub(1);
        let mut parts: Vec<Part> = Vec::new();
        let mut required = vec![self.mark.position];
        required.extend(checkpoint.map(|checkpoint| checkpoint.position));
        for (place, header) in headers.iter().enumerate() {
            let next = headers.get(place.saturating_add(1));
            if place < first {
                parts.push(Part { header: *header, frames: None });
                continue;
            }
            let path = archive::find(&**self.disk, &self.paths.journal, header.sequence);
            let content = Content::read(&**self.disk, &path)?;
            let walked = walk(&content, next);
            let Some(next) = next else {
                return self.settle(parts, &content, walked, &required);
            };
            if walked.position != next.previous {
                return Err(OpenError::damaged(&path, damage_after(&walked)));
            }
            reach(&path, &content, &walked, &required)?;
            parts.push(Part { header: *header, frames: Some(walked.frames) });
        }
        Err(OpenError::Unfinished)
    }

    /// Decides what the newest segment ends with.
    fn settle(
        &self,
        mut parts: Vec<Part>,
        content: &Content,
        walked: Walked,
        required: &[Position],
    ) -> Result<(Log, Active, Position), OpenError> {
        let header = content.header;
        let path = segment::path(&self.paths.journal, header.sequence);
        reach(&path, content, &walked, required)?;
        if required.iter().any(|position| position.revision > walked.position.revision) {
            return Err(OpenError::damaged(&path, damage_after(&walked)));
        }
        if content.any_head_behind(walked.offset).is_some() {
            return Err(OpenError::damaged(&path, damage_after(&walked)));
        }
        let certain = required.iter().map(|position| position.revision).max().unwrap_or(header.previous.revision);
        let bad = content.rest(walked.offset);
        let journal = self.paths.journal.clone();
        if bad.is_empty() && walked.position.revision <= certain.max(header.previous.revision) {
            let doing = || format!("opening {}", path.display());
            let file = self.disk.open(&path).map_err(|error| OpenError::disk(doing(), error))?;
            parts.push(Part { header, frames: Some(walked.frames) });
            let active = Active { file, header, offset: walked.offset as u64, length: content.bytes.len() as u64 };
            return Ok((Log::new(Arc::clone(self.disk), journal, parts), active, walked.position));
        }
        let keep = walked.frames.partition_point(|frame| frame.first <= certain);
        let (active, frames) = self.rewrite(content, &walked.frames, keep)?;
        self.quarantine(&path, bad)?;
        let kept = walked.frames.get(..keep).unwrap_or_default().to_vec();
        parts.push(Part { header, frames: Some(kept) });
        parts.push(Part { header: active.header, frames: Some(frames) });
        Ok((Log::new(Arc::clone(self.disk), journal, parts), active, walked.position))
    }

    /// Writes the frames from `keep` on into a new segment, and makes it durable before it gets its name.
    fn rewrite(&self, content: &Content, frames: &[FrameAt], keep: usize) -> Result<(Active, Vec<FrameAt>), OpenError> {
        let before = place_before(content, frames, keep);
        let sequence = content.header.sequence.saturating_add(1);
        let nonce = random(self.entropy).map_err(|_| OpenError::NoEntropy)?;
        let header = Header { sequence, previous: before, nonce, ..content.header };
        let mut bytes = header.encode();
        let mut places = Vec::new();
        let mut position = before;
        for frame in frames.get(keep..).unwrap_or_default() {
            let offset = usize::try_from(frame.offset).unwrap_or(usize::MAX);
            let Some((head, payload)) = content.frame(offset, &position) else { break };
            let mut copy = Vec::with_capacity(span(payload.len()));
            copy.resize(HEAD, 0);
            copy.extend_from_slice(payload);
            seal(&mut copy, &position.link, head.first, head.count, &nonce);
            places.push(FrameAt { first: head.first, offset: bytes.len() as u64 });
            bytes.extend_from_slice(&copy);
            position = head.end();
        }
        let doing = |error| OpenError::disk("writing the journal's end into a new segment", error);
        let length = self.options.segment.max(content.bytes.len() as u64);
        let file = spare::ready(&**self.disk, &self.paths.journal, length).map_err(doing)?;
        file.write_at(&bytes, 0).map_err(doing)?;
        file.sync_data().map_err(doing)?;
        let from = spare::path(&self.paths.journal);
        self.disk.rename(&from, &segment::path(&self.paths.journal, sequence)).map_err(doing)?;
        self.disk.sync_dir(&self.paths.journal).map_err(doing)?;
        let length = file.length().map_err(doing)?;
        Ok((Active { file, header, offset: bytes.len() as u64, length }, places))
    }

    /// Keeps what cannot be read for whoever wants to know what happened; the segment's end is ignored from now on.
    fn quarantine(&self, segment: &Path, bad: &[u8]) -> Result<(), OpenError> {
        if bad.is_empty() {
            return Ok(());
        }
        let doing = |error| OpenError::disk("putting the journal's damaged end into quarantine", error);
        self.disk.create_dir(&self.paths.quarantine).map_err(doing)?;
        self.disk.sync_dir(&self.paths.folder).map_err(doing)?;
        let name = segment.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (path, temporary) = (self.paths.quarantine.join(&name), self.paths.quarantine.join(format!("{name}.new")));
        crate::disk::replace(&**self.disk, &path, &temporary, bad).map_err(doing)
    }
}

/// Each place that the segment must hold is there with the right link.
fn reach(path: &Path, content: &Content, walked: &Walked, required: &[Position]) -> Result<(), OpenError> {
    for position in required {
        let begins = content.header.previous.revision;
        if position.revision < begins || position.revision > walked.position.revision {
            continue;
        }
        let passed = walked.frames.partition_point(|frame| frame.first <= position.revision);
        if place_before(content, &walked.frames, passed) != *position {
            return Err(OpenError::damaged(path, format!("it is not the journal that reached {}", position.revision)));
        }
    }
    Ok(())
}

/// The place in the journal after the first `count` of these frames.
fn place_before(content: &Content, frames: &[FrameAt], count: usize) -> Position {
    let last = count.checked_sub(1).and_then(|last| frames.get(last));
    let head = last.and_then(|frame| {
        let bytes = content.bytes.get(usize::try_from(frame.offset).ok()?..)?;
        Head::read(bytes, &content.header.nonce)
    });
    head.map_or(content.header.previous, |head| head.end())
}

fn damage_after(walked: &Walked) -> String {
    format!("what follows revision {} at octet {} cannot be read", walked.position.revision, walked.offset)
}

/// Carries the resident keys forward from the checkpoint to the end.
fn replay(log: &Log, checkpoint: Option<Checkpoint>, end: Position) -> Result<Applied, OpenError> {
    let (resident, position) = checkpoint.map_or_else(
        || (std::collections::BTreeMap::new(), Position::START),
        |checkpoint| (checkpoint.resident, checkpoint.position),
    );
    let from = position.revision;
    let mut applied = Applied::new(resident, position);
    log.replay(from, end.revision, |position, commits| {
        let mut changes = Changes::default();
        for mut commit in commits {
            commit.writes.retain(|write| is_resident(write.key()));
            changes.prepare(&commit.writes, &applied)?;
            changes.make(commit.writes, commit.revision);
        }
        applied.apply_resident(&changes, position);
        Ok(ControlFlow::Continue(()))
    })
    .map_err(|error| OpenError::Journal(error.0))?;
    if applied.position.revision.number != end.revision.number {
        return Err(OpenError::Journal(format!("it ends at {}, not at {}", applied.position.revision, end.revision)));
    }
    applied.position = end;
    Ok(applied)
}

/// A new journal: its first segment, which is all zeros behind the header.
pub(super) fn begin(disk: &dyn Disk, journal: &Path, header: &Header, length: u64) -> std::io::Result<()> {
    let file = spare::ready(disk, journal, length)?;
    file.write_at(&header.encode(), 0)?;
    file.sync_data()?;
    let path: PathBuf = segment::path(journal, header.sequence);
    disk.rename(&spare::path(journal), &path)?;
    disk.sync_dir(journal)
}
