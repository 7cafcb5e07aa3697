//! What a proxy keeps on disk, so that a restart goes on where it was, also while the authority is away.
//!
//! Two files in one folder. `statuses` is what the feed said, as it came: a snapshot and the changes after it, each
//! record with its length and a checksum; it is written anew from memory when the changes outgrow the snapshot. `fresh`
//! says when the authority was last asked what is enforced by now, on which boot of the machine, and which bound it had
//! been told: a process on the same boot may use the answers until that bound is over.
//!
//! Nothing here is synced on the way: after a crash of the machine the boot is another one, so that nothing is fresh
//! before the authority answers, and what was lost is said again. A record that is damaged ends the file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::frames::{Changes, Cursor, SnapshotPage};
use super::{Snapshot, Statuses};
use crate::disk::{Disk, DiskFile, boot_id, read_whole};
use crate::ident::{ClusterName, Fingerprint};
use crate::world::{Timestamp, Uptime};

/// The folder, and the file that changes are appended to.
#[derive(Debug)]
pub struct Mirror {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    cluster: ClusterName,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: Box<dyn DiskFile>,
    end: u64,
    /// How long the file was when it was last written anew.
    base: u64,
}

/// What was found in a mirror.
#[derive(Debug)]
pub struct Found {
    /// How far it had come.
    pub cursor: Cursor,
    /// The cluster's issuing CAs in DER.
    pub authorities: Vec<Vec<u8>>,
    /// The answers.
    pub snapshot: Snapshot,
    /// When the authority was last asked what is in it, if that was on this boot, and the bound it had been told.
    pub confirmed: Option<(Uptime, Duration)>,
}

#[derive(Serialize, Deserialize)]
enum Kept {
    Head { format: u16, cluster: ClusterName, timeline: [u8; 16] },
    Page(SnapshotPage),
    Changes(Changes),
}

#[derive(Serialize, Deserialize)]
struct Fresh {
    boot_id: String,
    timeline: [u8; 16],
    asked: Uptime,
    bound: Duration,
}

impl Mirror {
    /// Reads what is in the folder, which must exist; a file of another cluster or format, or one without a whole
    /// snapshot, is as good as none.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, cluster: &ClusterName) -> io::Result<(Self, Option<Found>)> {
        let mut mirror = Self { disk, dir: dir.to_owned(), cluster: cluster.clone(), open: None };
        let file = match mirror.disk.open(&mirror.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((mirror, None)),
            Err(error) => return Err(error),
        };
        let octets = read_whole(&*file, MOST_OCTETS)?;
        let Some((found, end)) = mirror.read(&octets) else { return Ok((mirror, None)) };
        mirror.open = Some(Open { file, end, base: end });
        Ok((mirror, Some(found)))
    }

    fn read(&self, octets: &[u8]) -> Option<(Found, u64)> {
        let mut records = Records { octets, read: 0 };
        let Some(Kept::Head { format: FORMAT, cluster, timeline }) = records.next() else { return None };
        if cluster != self.cluster {
            return None;
        }
        let (mut snapshot, mut whole) = (Snapshot::default(), None);
        while let Some(record) = records.next() {
            match record {
                Kept::Head { .. } => return None,
                Kept::Page(page) => {
                    let state = (page.revision, page.authorities.clone());
                    let is_last = page.is_last;
                    snapshot.apply(page.into_changes().ok()?);
                    whole = is_last.then_some(state);
                }
                Kept::Changes(changes) => {
                    let (_, before) = whole?;
                    whole = Some((changes.revision, changes.authorities.unwrap_or(before)));
                    snapshot.apply(changes.changes);
                }
            }
        }
        let (revision, authorities) = whole?;
        let confirmed = self.confirmed(timeline);
        let cursor = Cursor { timeline, revision };
        Some((Found { cursor, authorities, snapshot, confirmed }, u64::try_from(records.read).ok()?))
    }

    fn confirmed(&self, timeline: [u8; 16]) -> Option<(Uptime, Duration)> {
        let file = self.disk.open(&self.dir.join(FRESH)).ok()?;
        let octets = read_whole(&*file, 4096).ok()?;
        let fresh: Fresh = Records { octets: &octets, read: 0 }.next()?;
        let is_ours = fresh.boot_id == boot_id().ok()? && fresh.timeline == timeline;
        is_ours.then_some((fresh.asked, fresh.bound))
    }

    /// Adds what the feed said last. A mirror without a snapshot takes nothing; one that could not be written is one
    /// without a snapshot until it is written anew.
    pub fn append(&mut self, changes: &Changes) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let octets = record(&Kept::Changes(changes.clone()))?;
        open.file.write_at(&octets, open.end)?;
        open.end += u64::try_from(octets.len()).unwrap_or(0);
        self.open = Some(open);
        Ok(())
    }

    /// The mirror itself, to be written elsewhere; what is left takes nothing until that one is put back.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let left =
            Self { disk: Arc::clone(&self.disk), dir: self.dir.clone(), cluster: self.cluster.clone(), open: None };
        std::mem::replace(self, left)
    }

    /// Whether the changes have outgrown the snapshot.
    pub fn is_outgrown(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.end > open.base.saturating_mul(2).saturating_add(SLACK))
    }

    /// Writes everything anew; a crash leaves the old file or the new one.
    pub fn rewrite(
        &mut self,
        statuses: &Statuses,
        cursor: Cursor,
        authorities: &[Vec<u8>],
        now: Timestamp,
    ) -> io::Result<()> {
        let unfinished = self.dir.join("statuses.new");
        match self.disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create_new(&unfinished)?;
        let mut end = 0;
        let mut put = |kept: &Kept| {
            let octets = record(kept)?;
            file.write_at(&octets, end)?;
            end += u64::try_from(octets.len()).unwrap_or(0);
            Ok::<_, io::Error>(())
        };
        put(&Kept::Head { format: FORMAT, cluster: self.cluster.clone(), timeline: cursor.timeline })?;
        let mut from = Some(0);
        while let Some(place) = from {
            let (credentials, next) = statuses.page(place, PAGE, None, now);
            put(&Kept::Page(SnapshotPage::new(cursor.revision, authorities.to_vec(), credentials)))?;
            from = next;
        }
        let last = SnapshotPage {
            facts: statuses.facts(),
            is_last: true,
            ..SnapshotPage::new(cursor.revision, authorities.to_vec(), Vec::new())
        };
        put(&Kept::Page(last))?;
        file.sync_data()?;
        self.disk.rename(&unfinished, &self.path())?;
        self.disk.sync_dir(&self.dir)?;
        self.open = Some(Open { file, end, base: end });
        Ok(())
    }

    /// Notes that everything the authority had when it was asked at `asked` is enforced and in the file.
    ///
    /// A mirror without a snapshot is never confirmed.
    pub fn confirm(&self, timeline: [u8; 16], asked: Uptime, bound: Duration) -> io::Result<()> {
        if self.open.is_none() {
            return Ok(());
        }
        let unfinished = self.dir.join("fresh.new");
        match self.disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let fresh = Fresh { boot_id: boot_id()?, timeline, asked, bound };
        self.disk.create_new(&unfinished)?.write_at(&record(&fresh)?, 0)?;
        self.disk.rename(&unfinished, &self.dir.join(FRESH))
    }

    fn path(&self) -> PathBuf {
        self.dir.join("statuses")
    }
}

/// Records one after the other, up to the first that is not whole.
struct Records<'o> {
    octets: &'o [u8],
    read: usize,
}

impl Records<'_> {
    fn next<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        let (length, rest) = self.octets.get(self.read..)?.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<CHECKSUM>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let octets = rest.get(..length)?;
        if check(octets) != *checksum {
            return None;
        }
        let value = postcard::from_bytes(octets).ok()?;
        self.read += 4 + CHECKSUM + length;
        Some(value)
    }
}

fn record<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let octets = postcard::to_allocvec(value).map_err(io::Error::other)?;
    let length = u32::try_from(octets.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes()[..], &check(&octets), &octets].concat())
}

fn check(octets: &[u8]) -> [u8; CHECKSUM] {
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(Fingerprint::of(octets).octets().split_at(CHECKSUM).0);
    checksum
}

const FRESH: &str = "fresh";
const FORMAT: u16 = 1;
const CHECKSUM: usize = 8;
/// Credentials in a page.
const PAGE: usize = 4096;
/// Changes that are kept whatever the size of the snapshot.
const SLACK: u64 = 1024 * 1024;
/// More than a proxy can hold in memory.
const MOST_OCTETS: u64 = 64 * 1024 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;
    use crate::standing::{Cut, CutKey, Revision};
    use crate::status::{Change, Credential, Status};
    use crate::x509::reason::Reason;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const TIMELINE: [u8; 16] = [9; 16];

    fn revision(number: u64) -> Revision {
        Revision { era: 1, number }
    }

    fn fingerprint() -> Fingerprint {
        Fingerprint::from_octets([1; 32])
    }

    fn alice() -> CutKey {
        CutKey::IdentityOnCluster("alice".parse().unwrap(), "prod".parse().unwrap())
    }

    fn cut() -> Changes {
        let cut = Cut { revision: revision(7), at: NOW, reason: Reason::Unspecified };
        Changes { revision: revision(7), authorities: None, changes: vec![Change::CutOff(alice(), cut)] }
    }

    fn open(dir: &Path, cluster: &str) -> (Mirror, Option<Found>) {
        Mirror::open(Arc::new(SystemDisk), dir, &cluster.parse().unwrap()).unwrap()
    }

    /// A mirror with one credential of alice at revision 5, and the change that cuts her off.
    fn written(dir: &Path) -> Mirror {
        let statuses = Statuses::empty();
        let credential =
            Credential { key: fingerprint().short(), issued: revision(3), not_after: NOW, cut_keys: vec![alice()] };
        statuses.apply([Change::Recorded(credential)]);
        let (mut mirror, found) = open(dir, "prod");
        assert!(found.is_none());
        let cursor = Cursor { timeline: TIMELINE, revision: revision(5) };
        mirror.rewrite(&statuses, cursor, &[vec![4]], NOW).unwrap();
        mirror.append(&cut()).unwrap();
        mirror
    }

    fn status(found: Found) -> Status {
        let statuses = Statuses::empty();
        statuses.replace(found.snapshot, found.cursor.revision);
        statuses.status(&fingerprint(), NOW).unwrap()
    }

    #[test]
    fn what_the_feed_said_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let (_, found) = open(dir.path(), "prod");
        let found = found.unwrap();
        assert_eq!(found.cursor, Cursor { timeline: TIMELINE, revision: revision(7) });
        assert_eq!(found.authorities, [[4]]);
        assert_eq!(found.confirmed, None);
        assert!(matches!(status(found), Status::Revoked(_)));
    }

    #[test]
    fn a_mirror_of_another_cluster_or_with_a_damaged_snapshot_is_none() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        assert!(open(dir.path(), "other").1.is_none());
        let path = dir.path().join("statuses");
        let mut octets = std::fs::read(&path).unwrap();
        octets[20] ^= 1;
        std::fs::write(&path, octets).unwrap();
        assert!(open(dir.path(), "prod").1.is_none());
    }

    #[test]
    fn a_torn_change_is_as_if_it_had_never_come_and_the_next_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let path = dir.path().join("statuses");
        let octets = std::fs::read(&path).unwrap();
        std::fs::write(&path, octets.split_last().unwrap().1).unwrap();
        let (mut mirror, found) = open(dir.path(), "prod");
        let found = found.unwrap();
        assert_eq!(found.cursor.revision, revision(5));
        assert_eq!(status(found), Status::Good);
        mirror.append(&cut()).unwrap();
        assert_eq!(open(dir.path(), "prod").1.unwrap().cursor.revision, revision(7));
    }

    #[test]
    fn a_confirmation_holds_on_the_same_boot_and_timeline_only() {
        let dir = tempfile::tempdir().unwrap();
        let mirror = written(dir.path());
        let asked = Uptime { boot: Duration::from_secs(5), raw: Duration::from_secs(4) };
        let bound = Duration::from_secs(30);
        mirror.confirm([8; 16], asked, bound).unwrap();
        assert_eq!(open(dir.path(), "prod").1.unwrap().confirmed, None);
        mirror.confirm(TIMELINE, asked, bound).unwrap();
        assert_eq!(open(dir.path(), "prod").1.unwrap().confirmed, Some((asked, bound)));
        let other = Fresh { boot_id: "another boot".to_owned(), timeline: TIMELINE, asked, bound };
        std::fs::write(dir.path().join(FRESH), record(&other).unwrap()).unwrap();
        assert_eq!(open(dir.path(), "prod").1.unwrap().confirmed, None);
    }
}
