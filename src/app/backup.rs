//! Backups: a copy of the store that can be verified and restored, taken beside a running authority or without one.
//!
//! A backup is a folder: `journal/` up to exactly one revision, `ca/` with the key files as they are (encrypted), `crl/`
//! with the lists up to that revision, and `backup.json`, written last, which says what is in it. The passphrase of the
//! keys is not.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::authority::Places;
use super::rolled_back::folder_of;
use super::{AppError, Doing, Progress};
use crate::ca::vault::write_new_private;
use crate::disk::{Disk, SystemDisk};
use crate::ident::Fingerprint;
use crate::standing::Revision;
use crate::store::Timeline;
use crate::store::local::copy::{Copied, copy_journal};
use crate::store::local::witness::{self, Seen, SegmentRead};
use crate::world::Timestamp;

/// What a backup says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The layout of the folder; this version knows 1.
    pub format: u32,
    /// The era it ends in.
    pub era: u32,
    /// That era's name, in hex.
    pub timeline: String,
    /// The name of the first era, in hex: the same in every backup of one installation.
    pub origin: String,
    /// Its last revision, `era-number`.
    pub revision: String,
    /// The link of its last frame, in hex.
    pub link: String,
    /// When it was taken.
    pub taken: String,
    /// How many segments the journal has.
    pub segments: usize,
    /// Every other file in the folder.
    pub files: Vec<Filed>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filed {
    /// Its path in the folder.
    pub name: String,
    /// How long it is.
    pub octets: u64,
    /// Its SHA-256 in hex.
    pub sha256: String,
}

/// A backup whose files are as its manifest says.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The folder.
    pub folder: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
    /// What its journal holds.
    pub journal: Copied,
}

/// Takes a backup of what lies in `places` into a new folder. Blocking.
pub fn take(
    places: &Places,
    out: &Path,
    now: Timestamp,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, AppError> {
    let disk = SystemDisk;
    make_new(&disk, out)?;
    let journal = journal(&disk, &places.store, out, progress)?;
    let names = disk.list(&out.join(JOURNAL)).doing("reading the backup")?;
    let mut files = Vec::new();
    for name in names {
        files.push(filed(out, &format!("{JOURNAL}/{name}"))?);
    }
    // After the journal: whoever is on the record by then has had a key before.
    copy_files(&disk, &places.ca, out, CA, "key", |_| true, &mut files)?;
    let is_reflected = |bytes: &[u8]| list_number(bytes).is_some_and(|number| number <= journal.revision);
    copy_files(&disk, &places.crl, out, CRL, "crl", is_reflected, &mut files)?;
    let manifest = Manifest {
        format: FORMAT,
        era: journal.era,
        timeline: hex::encode(journal.timeline.0),
        origin: hex::encode(journal.origin.0),
        revision: journal.revision.to_string(),
        link: hex::encode(journal.link),
        taken: now.to_string(),
        segments: journal.segments,
        files,
    };
    let text = serde_json::to_vec_pretty(&manifest).doing("writing the manifest")?;
    let (path, unfinished) = (out.join(MANIFEST), out.join(format!("{MANIFEST}.new")));
    crate::disk::replace(&disk, &path, &unfinished, &text).doing("writing the manifest")?;
    disk.sync_dir(folder_of(out)).doing("writing the backup")?;
    Ok(manifest)
}

impl Backup {
    /// Reads a backup and checks every file of it.
    pub fn open(folder: &Path) -> Result<Self, AppError> {
        let path = folder.join(MANIFEST);
        let text = fs::read(&path).doing(format_args!("reading {} (a backup has it, written last)", path.display()))?;
        let damaged = |what: &str| AppError::new(format_args!("reading {}", path.display()), what);
        let manifest: Manifest = serde_json::from_slice(&text).doing(format_args!("reading {}", path.display()))?;
        if manifest.format != FORMAT {
            return Err(damaged(&format!(
                "wanted format {FORMAT}, found {}: a newer version made it",
                manifest.format
            )));
        }
        for file in &manifest.files {
            let is_inside = file.name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
            if !is_inside || file.name.starts_with('/') {
                return Err(damaged(&format!("{} is not in the folder", file.name)));
            }
            let found = filed(folder, &file.name)?;
            if found != *file {
                return Err(damaged(&format!("{} is not as it was when the backup was taken", file.name)));
            }
        }
        let octets = |text: &str| hex::decode(text).ok();
        let journal = (|| {
            Some(Copied {
                era: manifest.era,
                timeline: Timeline(octets(&manifest.timeline)?.try_into().ok()?),
                origin: Timeline(octets(&manifest.origin)?.try_into().ok()?),
                revision: manifest.revision.parse().ok()?,
                link: octets(&manifest.link)?.try_into().ok()?,
                segments: manifest.segments,
                octets: manifest.files.iter().map(|file| file.octets).sum(),
            })
        })();
        let journal = journal.ok_or_else(|| damaged("it does not say what is in it"))?;
        Ok(Self { folder: folder.to_owned(), manifest, journal })
    }

    /// Reads every frame, gives the commits to `take`, and checks that the journal ends where the manifest says.
    pub fn read_journal(&self, take: &mut dyn FnMut(Seen)) -> Result<Vec<SegmentRead>, AppError> {
        let read = witness::read_folder(&SystemDisk, &self.folder.join(JOURNAL), Revision::IMPORTED, &mut |seen| {
            take(seen);
        });
        let read = read.doing(format_args!("reading the journal of {}", self.folder.display()))?;
        let doing = || format!("reading {}", self.folder.display());
        if let Some(damage) = read.damage {
            return Err(AppError::new(doing(), damage));
        }
        if (read.end, read.link) != (self.journal.revision, self.journal.link) || read.origin != self.journal.origin {
            let (found, wanted) = (read.end, self.journal.revision);
            return Err(AppError::new(doing(), format!("the journal ends at {found}, and the manifest says {wanted}")));
        }
        Ok(read.segments)
    }

    /// The key files in it.
    pub fn keys(&self) -> impl Iterator<Item = &Filed> {
        self.manifest.files.iter().filter(|file| file.name.starts_with("ca/"))
    }
}

/// The revision that a list's number stands for, in DER.
pub(super) fn list_number(der: &[u8]) -> Option<Revision> {
    let list = crate::x509::crl::Crl::from_der(der).ok()?;
    Revision::from_crl_number(&list.number?)
}

/// The folder and those in it, for its owner alone; nothing is ever written over.
fn make_new(disk: &dyn Disk, out: &Path) -> Result<(), AppError> {
    let doing = || format!("making {}", out.display());
    disk.create_dir(out).doing(doing())?;
    if !disk.list(out).doing(doing())?.is_empty() {
        return Err(AppError::new(doing(), "it is there and not empty: choose another --out"));
    }
    for name in [JOURNAL, CA, CRL] {
        disk.create_dir(&out.join(name)).doing(doing())?;
    }
    disk.sync_dir(out).doing(doing())
}

/// The store may be started or stopped in the middle, which leaves other segments than were listed.
fn journal(
    disk: &SystemDisk,
    store: &Path,
    out: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, AppError> {
    let to = out.join(JOURNAL);
    for _ in 1..ATTEMPTS {
        if let Ok(copied) = copy_journal(disk, store, &to, &mut |done| progress(done.into())) {
            return Ok(copied);
        }
        for name in disk.list(&to).doing("reading the backup")? {
            disk.remove(&to.join(name)).doing("beginning the backup anew")?;
        }
    }
    copy_journal(disk, store, &to, &mut |done| progress(done.into()))
        .doing(format_args!("copying the journal of {}", store.display()))
}

fn copy_files(
    disk: &dyn Disk,
    from: &Path,
    out: &Path,
    folder: &str,
    extension: &str,
    is_wanted: impl Fn(&[u8]) -> bool,
    files: &mut Vec<Filed>,
) -> Result<(), AppError> {
    let names = match disk.list(from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        listed => listed.doing(format_args!("listing {}", from.display()))?,
    };
    for name in names {
        let path = Path::new(&name);
        if name.starts_with('.') || path.extension().and_then(|found| found.to_str()) != Some(extension) {
            continue;
        }
        let bytes = fs::read(from.join(&name)).doing(format_args!("reading {}", from.join(&name).display()))?;
        if is_wanted(&bytes) {
            write_new_private(&out.join(folder).join(&name), &bytes).doing("writing the backup")?;
            files.push(filed(out, &format!("{folder}/{name}"))?);
        }
    }
    disk.sync_dir(&out.join(folder)).doing("writing the backup")
}

fn filed(folder: &Path, name: &str) -> Result<Filed, AppError> {
    let path = folder.join(name);
    let bytes = fs::read(&path).doing(format_args!("reading {}", path.display()))?;
    let sha256 = hex::encode(Fingerprint::of(&bytes).octets());
    Ok(Filed { name: name.to_owned(), octets: bytes.len() as u64, sha256 })
}

const FORMAT: u32 = 1;
const MANIFEST: &str = "backup.json";
const JOURNAL: &str = "journal";
const CA: &str = "ca";
const CRL: &str = "crl";
/// How often a copy is begun at most.
const ATTEMPTS: usize = 4;
