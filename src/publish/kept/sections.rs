//! The parts of the file of answers: written in one go, read back whole.

use std::io;

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::disk::DiskFile;
use crate::ident::{Fingerprint, Serial};
use crate::standing::Revision;
use crate::world::Timestamp;

/// Where a section lies, and its checksum.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Section {
    at: u64,
    length: u64,
    digest: [u8; 32],
}

impl Section {
    /// Where the next one may begin.
    pub(super) const fn end(&self) -> u64 {
        self.at.saturating_add(self.length)
    }
}

/// A section while it is written.
pub(super) struct SectionWriter<'a> {
    file: &'a dyn DiskFile,
    at: u64,
    length: u64,
    context: Context,
    /// What was added and not written yet.
    waiting: Vec<u8>,
}

impl<'a> SectionWriter<'a> {
    pub(super) fn begin(file: &'a dyn DiskFile, at: u64) -> Self {
        Self { file, at, length: 0, context: Context::new(&SHA256), waiting: Vec::with_capacity(WRITTEN_AT_ONCE) }
    }

    pub(super) fn add(&mut self, octets: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(octets);
        if self.waiting.len() >= WRITTEN_AT_ONCE { self.write() } else { Ok(()) }
    }

    pub(super) fn end(mut self) -> io::Result<Section> {
        self.write()?;
        let mut checksum = [0; 32];
        checksum.copy_from_slice(self.context.finish().as_ref());
        Ok(Section { at: self.at, length: self.length, digest: checksum })
    }

    fn write(&mut self) -> io::Result<()> {
        self.context.update(&self.waiting);
        self.file.write_at(&self.waiting, self.at.saturating_add(self.length))?;
        self.length = self.length.saturating_add(u64::try_from(self.waiting.len()).map_err(io::Error::other)?);
        self.waiting.clear();
        Ok(())
    }
}

/// A section, if it is whole.
pub(super) fn read_section(file: &dyn DiskFile, section: &Section) -> io::Result<Option<Vec<u8>>> {
    if section.at.checked_add(section.length).is_none_or(|end| end > file.length().unwrap_or(0)) {
        return Ok(None);
    }
    let mut octets = vec![0; usize::try_from(section.length).map_err(io::Error::other)?];
    file.read_at(&mut octets, section.at)?;
    Ok((digest(&SHA256, &octets).as_ref() == section.digest).then_some(octets))
}

/// A credential on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) fingerprint: Fingerprint,
    pub(super) serial: Serial,
    /// Its issuer's place among the issuers.
    pub(super) issuer: u32,
    pub(super) issued: Revision,
    pub(super) not_after: Timestamp,
    /// The place of its cut keys among the cut sets.
    pub(super) cut_set: u32,
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RECORD);
        out.extend_from_slice(self.fingerprint.octets());
        out.extend_from_slice(self.serial.octets());
        out.extend_from_slice(&self.issuer.to_be_bytes());
        out.extend_from_slice(&self.issued.octets());
        out.extend_from_slice(&self.not_after.unix_seconds().to_be_bytes());
        out.extend_from_slice(&self.cut_set.to_be_bytes());
        out
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let (fingerprint, rest) = octets.split_first_chunk::<32>()?;
        let (serial, rest) = rest.split_first_chunk::<20>()?;
        let (issuer, rest) = rest.split_first_chunk::<4>()?;
        let (era, rest) = rest.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (not_after, rest) = rest.split_first_chunk::<8>()?;
        let (cut_set, rest) = rest.split_first_chunk::<4>()?;
        let issued = Revision { era: u32::from_be_bytes(*era), number: u64::from_be_bytes(*number) };
        rest.is_empty().then_some(Self {
            fingerprint: Fingerprint::from_octets(*fingerprint),
            serial: Serial::from_integer(serial)?,
            issuer: u32::from_be_bytes(*issuer),
            issued,
            not_after: Timestamp::from_unix_seconds(i64::from_be_bytes(*not_after)),
            cut_set: u32::from_be_bytes(*cut_set),
        })
    }
}

/// How long a record is.
pub(super) const RECORD: usize = 80;

/// Octets that are given to the disk in one call.
const WRITTEN_AT_ONCE: usize = 1024 * 1024;
