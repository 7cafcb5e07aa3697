//! The answers and the roll on disk, so that a start need not read all of the journal: it reads this file and what was
//! committed after it.
//!
//! It is made while the answers move on, and says from which commit on the journal must be read again: what is said
//! twice changes nothing. Without it, or where it is damaged or of another timeline, all of the journal is read.
//!
//! # The bytes
//!
//! The first 4096 octets begin with `PCLSANSW`, the length of the head (4, big endian), the head in postcard and its
//! SHA-256. The head names four sections, each with its own SHA-256: credentials of 80 octets (SHA-256 of the
//! certificate, serial, issuer's place, issue revision, `notAfter`, place of the cut set), issuers and facts in
//! postcard, the cut sets in postcard, one after another, each the places of its keys, and the cut keys likewise.

mod sections;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use self::sections::{RECORD, Record, Section, SectionWriter, read_section};
use super::roll::{Member, Roll};
use crate::ca::retention::is_forgettable;
use crate::disk::{Disk, DiskFile};
use crate::ident::{IssuerName, Serial};
use crate::standing::{CutKey, Revision};
use crate::status::{Change, Snapshot, Statuses};
use crate::store::Timeline;
use crate::world::Timestamp;

/// The file.
#[derive(Debug)]
pub struct Kept {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

/// What is written down.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    /// Whose answers they are.
    pub timeline: Timeline,
    /// The answers.
    pub statuses: &'a Statuses,
    /// The roll.
    pub roll: &'a Roll,
    /// The newest time on the record.
    pub newest: Timestamp,
}

/// What was in it.
#[derive(Debug)]
pub struct Found {
    /// From which commit on the journal must be read again.
    pub cursor: Revision,
    /// The newest time on the record.
    pub newest: Timestamp,
    /// The answers.
    pub snapshot: Snapshot,
    /// The roll, by issuer and in the order of serials.
    pub members: HashMap<IssuerName, Vec<(Serial, Member)>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u16,
    timeline: [u8; 16],
    cursor: Revision,
    newest: Timestamp,
    credentials: Section,
    facts: Section,
    cut_sets: Section,
    cut_keys: Section,
}

/// Issuers in the order that credentials name them by, and every cut-off, revocation and lock.
#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    issuers: Vec<IssuerName>,
    changes: Vec<Change>,
}

impl Kept {
    /// The file in a folder that exists.
    pub fn new(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        Self { disk, path: folder.join(NAME) }
    }

    /// Writes what the answers and the roll hold; certificates that ended long before `now` are left out. Blocking; the
    /// answers go on meanwhile. The commit from which on the journal must be read again.
    pub fn write(&self, answers: &Answers<'_>, now: Timestamp) -> io::Result<Revision> {
        let cursor = answers.statuses.reached_revision().map_err(|stale| io::Error::other(stale.to_string()))?;
        let temporary = self.path.with_extension("new");
        match self.disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create_new(&temporary)?;
        let written = fill(&*file, answers, cursor, now);
        let named = written.and_then(|()| {
            file.sync_data()?;
            self.disk.rename(&temporary, &self.path)?;
            self.disk.sync_dir(self.path.parent().unwrap_or_else(|| Path::new("/")))
        });
        if named.is_err() {
            // It takes space that others need.
            drop(self.disk.remove(&temporary));
        }
        named.map(|()| cursor)
    }

    /// Reads the file; none where there is none, or it is damaged, of another format or of another timeline.
    pub fn read(&self, timeline: Timeline) -> io::Result<Option<Found>> {
        let file = match self.disk.open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(head) = read_head(&*file)? else { return Ok(None) };
        if head.format != FORMAT || head.timeline != timeline.0 {
            return Ok(None);
        }
        let Some(facts) = read_section(&*file, &head.facts)? else { return Ok(None) };
        let Ok(Facts { issuers, changes }) = postcard::from_bytes::<Facts>(&facts) else { return Ok(None) };
        // Both are long and neither needs the other: who waits for a start waits half as long. The sets are many small
        // pieces of memory, which are had faster on the thread that was there.
        let (sets, credentials) = std::thread::scope(|scope| {
            let credentials = scope.spawn(|| read_credentials(&*file, &head.credentials, issuers.len()));
            let sets = read_cut_sets(&*file, &head.cut_keys, &head.cut_sets);
            let ended = || io::Error::other("reading the credentials ended early");
            (sets, credentials.join().unwrap_or_else(|_| Err(ended())))
        });
        let (Some((sets, known)), Some(credentials)) = (sets?, credentials?) else { return Ok(None) };
        // Without its cut keys a credential could never be cut off.
        if credentials.cut_sets > known {
            return Ok(None);
        }
        let mut snapshot = sets;
        snapshot.take_credentials(credentials.snapshot);
        let members = issuers.into_iter().zip(credentials.members).collect();
        snapshot.apply(changes);
        Ok(Some(Found { cursor: head.cursor, newest: head.newest, snapshot, members }))
    }
}

/// Writes the sections, then the head that names them.
fn fill(file: &dyn DiskFile, answers: &Answers<'_>, cursor: Revision, now: Timestamp) -> io::Result<()> {
    let Answers { timeline, statuses, roll, newest } = *answers;
    let mut credentials = SectionWriter::begin(file, HEAD);
    let mut issuers = Vec::new();
    for issuer in roll.issuers() {
        let place = u32::try_from(issuers.len()).map_err(io::Error::other)?;
        let mut after = None;
        loop {
            let page = roll.page(&issuer, after, PAGE);
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let standing = page.into_iter().filter(|(_, member)| !is_forgettable(member.not_after, now));
            for (serial, member) in standing {
                let Some((issued, cut_set)) = statuses.placed(&member.fingerprint.short()) else { continue };
                let not_after = member.not_after;
                let record =
                    Record { fingerprint: member.fingerprint, serial, issuer: place, issued, not_after, cut_set };
                credentials.add(&record.encode())?;
            }
        }
        issuers.push(issuer);
    }
    let credentials = credentials.end()?;
    let mut facts = SectionWriter::begin(file, credentials.end());
    let all = Facts { issuers, changes: statuses.facts() };
    facts.add(&postcard::to_allocvec(&all).map_err(io::Error::other)?)?;
    let facts = facts.end()?;
    // Behind the credentials: a set that one of them names is among these. And the keys behind the sets.
    let cut_sets = write_pages(file, facts.end(), |place| statuses.cut_sets(place, PAGE))?;
    let cut_keys = write_pages(file, cut_sets.end(), |place| statuses.cut_keys(place, PAGE))?;
    let format = FORMAT;
    write_head(file, &Head { format, timeline: timeline.0, cursor, newest, credentials, facts, cut_sets, cut_keys })
}

/// Writes all of something that is had page by page.
fn write_pages<T: Serialize>(file: &dyn DiskFile, at: u64, page: impl Fn(usize) -> Vec<T>) -> io::Result<Section> {
    let (mut section, mut place) = (SectionWriter::begin(file, at), 0);
    loop {
        let page = page(place);
        if page.is_empty() {
            return section.end();
        }
        place = place.saturating_add(page.len());
        for one in page {
            section.add(&postcard::to_allocvec(&one).map_err(io::Error::other)?)?;
        }
    }
}

fn write_head(file: &dyn DiskFile, head: &Head) -> io::Result<()> {
    let head = postcard::to_allocvec(head).map_err(io::Error::other)?;
    let mut block = MAGIC.to_vec();
    block.extend_from_slice(&u32::try_from(head.len()).map_err(io::Error::other)?.to_be_bytes());
    block.extend_from_slice(&head);
    block.extend_from_slice(digest(&SHA256, &block).as_ref());
    file.write_at(&block, 0)
}

/// Answers that have nothing but the cut keys and their sets, and how many sets these are; none where they are damaged.
fn read_cut_sets(file: &dyn DiskFile, keys: &Section, sets: &Section) -> io::Result<Option<(Snapshot, u32)>> {
    let (Some(keys), Some(sets)) = (read_section(file, keys)?, read_section(file, sets)?) else { return Ok(None) };
    let mut snapshot = Snapshot::default();
    // Each has the place that it had: none is there twice.
    let keys = in_order(&keys, |key: CutKey| Some(snapshot.cut_key(key)));
    let sets = keys.and_then(|_| in_order(&sets, |set| snapshot.cut_set(set)));
    Ok(sets.map(|count| (snapshot, count)))
}

/// Reads one after the other, each of which must get the next place; how many there are.
fn in_order<'o, T: Deserialize<'o>>(octets: &'o [u8], mut place: impl FnMut(T) -> Option<u32>) -> Option<u32> {
    let (mut known, mut rest) = (0_u32, octets);
    while !rest.is_empty() {
        let (one, behind) = postcard::take_from_bytes::<T>(rest).ok()?;
        if place(one)? != known {
            return None;
        }
        known = known.checked_add(1)?;
        rest = behind;
    }
    Some(known)
}

/// What the section of credentials holds.
struct Credentials {
    /// The credentials; their cut sets are elsewhere.
    snapshot: Snapshot,
    /// How many cut sets there must be for all of them.
    cut_sets: u32,
    /// The roll's part, by the place of the issuer.
    members: Vec<Vec<(Serial, Member)>>,
}

/// The credentials; none where they are damaged.
fn read_credentials(file: &dyn DiskFile, section: &Section, issuers: usize) -> io::Result<Option<Credentials>> {
    let Some(octets) = read_section(file, section)? else { return Ok(None) };
    let (mut snapshot, mut cut_sets, mut members) = (Snapshot::default(), 0, vec![Vec::new(); issuers]);
    for octets in octets.chunks_exact(RECORD) {
        let Some(record) = Record::decode(octets) else { return Ok(None) };
        let Some(issued) = usize::try_from(record.issuer).ok().and_then(|place| members.get_mut(place)) else {
            return Ok(None);
        };
        issued.push((record.serial, Member { fingerprint: record.fingerprint, not_after: record.not_after }));
        snapshot.place(record.fingerprint.short(), record.issued, record.not_after, record.cut_set);
        cut_sets = cut_sets.max(record.cut_set.saturating_add(1));
    }
    Ok(Some(Credentials { snapshot, cut_sets, members }))
}

fn read_head(file: &dyn DiskFile) -> io::Result<Option<Head>> {
    let mut block = vec![0; usize::try_from(HEAD.min(file.length()?)).map_err(io::Error::other)?];
    file.read_at(&mut block, 0)?;
    let read = || {
        let (magic, rest) = block.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (head, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let checked = block.get(..12_usize.checked_add(head.len())?)?;
        let is_whole = magic == MAGIC && rest.first_chunk::<32>()? == digest(&SHA256, checked).as_ref();
        is_whole.then(|| postcard::from_bytes::<Head>(head).ok()).flatten()
    };
    Ok(read())
}

/// The file's name, in the folder of the store.
const NAME: &str = "answers";

const MAGIC: &[u8; 8] = b"PCLSANSW";

/// The layout that this version writes and reads; another is as good as no file.
const FORMAT: u16 = 2;

/// Where the sections begin.
const HEAD: u64 = 4096;

/// Certificates and cut sets taken from the answers at once, so that nobody waits long for them.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests;
