//! The entries of an issuer's list, kept encoded from one list to the next: only those parts are made anew in which a
//! certificate came or went, became dead, or has been expired for long enough.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::KEPT;
use crate::ident::{IssuerName, Serial};
use crate::publish::roll::{Roll, ShelfContents};
use crate::status::{Marks, Stale, Status, Statuses};
use crate::world::Timestamp;
use crate::x509::crl::{Entry, encode_entry};

/// Encoded entries, in the order of their serials.
pub(super) type Chunks = Vec<Arc<[u8]>>;

/// Encoded entries, by the parts of the roll.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    /// How many facts that kill were there before the last list.
    killing: u64,
    parts: BTreeMap<Option<Serial>, Part>,
}

/// The entries of one part of the roll.
#[derive(Debug)]
struct Part {
    change: u64,
    until: Option<Serial>,
    made: Timestamp,
    /// When the first of them is to leave.
    leaves: Option<Timestamp>,
    /// The places of the cut sets of the part's certificates; none where one of those is not in the statuses yet.
    cut_sets: Option<Box<[u32]>>,
    octets: Arc<[u8]>,
}

impl Encoded {
    /// What is dead of an issuer's certificates, as entries in the order of their serials.
    pub(super) fn chunks(
        &mut self,
        issuer: &IssuerName,
        roll: &Roll,
        statuses: &Statuses,
        now: Timestamp,
    ) -> Result<Chunks, Stale> {
        // Read first: what comes meanwhile is looked at again for the next list.
        let killing = statuses.killing();
        let touched = statuses.touched_since(self.killing);
        let (mut chunks, mut from) = (Vec::new(), None);
        loop {
            let known = self.parts.get(&from).filter(|part| part.holds(touched.as_ref(), now));
            let Some(shelf) = roll.shelf(issuer, from, known.map(|part| part.change)) else { break };
            if let Some(contents) = shelf.contents {
                let part = Part::make(shelf.change, shelf.until, &contents, statuses, now)?;
                self.parts.insert(from, part);
            }
            let Some(part) = self.parts.get(&from) else { break };
            chunks.push(Arc::clone(&part.octets));
            match part.until {
                Some(until) => from = Some(until),
                None => break,
            }
        }
        self.killing = killing;
        Ok(chunks)
    }
}

impl Part {
    fn make(
        change: u64,
        until: Option<Serial>,
        contents: &ShelfContents,
        statuses: &Statuses,
        now: Timestamp,
    ) -> Result<Self, Stale> {
        let judged = statuses.judge(contents.members.iter().map(|(_, member)| &member.fingerprint), now)?;
        let mut cut_sets = Some(Vec::with_capacity(contents.members.len()));
        let mut entries = Vec::new();
        for ((serial, member), (status, place)) in contents.members.iter().zip(judged) {
            cut_sets = cut_sets.zip(place).map(|(mut places, place)| {
                places.push(place);
                places
            });
            if let Status::Revoked(cut) = status {
                entries.push((*serial, cut, member.not_after));
            }
        }
        for (serial, listed) in &contents.listed {
            if contents.members.binary_search_by_key(serial, |(serial, _)| *serial).is_err() {
                entries.push((*serial, listed.cut.clone(), listed.until));
            }
        }
        entries.retain(|(_, _, ends)| ends.after(KEPT) >= now);
        entries.sort_unstable_by_key(|(serial, ..)| *serial);
        let mut octets = Vec::new();
        for (serial, cut, _) in &entries {
            encode_entry(&Entry { serial: *serial, revoked_at: cut.at, reason: Some(cut.reason) }, &mut octets);
        }
        let leaves = entries.iter().map(|(_, _, ends)| ends.after(KEPT)).min();
        let cut_sets = cut_sets.map(|mut places| {
            places.sort_unstable();
            places.dedup();
            places.into()
        });
        Ok(Self { change, until, made: now, leaves, cut_sets, octets: octets.into() })
    }

    /// Whether these are the entries still, if nothing came to the certificates or went.
    fn holds(&self, touched: Option<&Marks>, now: Timestamp) -> bool {
        let (Some(touched), Some(cut_sets)) = (touched, &self.cut_sets) else { return false };
        // A clock that was set back brings back what has left.
        let is_time = self.made <= now && self.leaves.is_none_or(|leaves| now <= leaves);
        is_time && (touched.is_empty() || !cut_sets.iter().any(|place| touched.of(*place) != 0))
    }
}

#[cfg(test)]
mod tests;
