//! Who stands, found out a second time: from the journal's entries alone, by the rules and not by the product's code.
//!
//! It works out by itself which cut keys a certificate must carry: from who was in what when it was recorded, and from
//! the certificate that its holder obtained it with. What the record says of them is compared and never used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portcullis::access::Actor;
use portcullis::ident::Fingerprint;
use portcullis::journal::{Entry, Event, IdentityKind, Issued};
use portcullis::standing::Revision;

/// What was told so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) cursor: Revision,
    certificates: HashMap<Fingerprint, Known>,
    cuts: HashMap<String, Vec<Revision>>,
    revoked: HashMap<Fingerprint, Revision>,
    locks: BTreeSet<String>,
    groups: BTreeMap<String, BTreeSet<String>>,
    agencies: BTreeMap<String, String>,
    kinds: BTreeMap<String, IdentityKind>,
}

#[derive(Clone, Debug)]
struct Known {
    issued: Revision,
    keys: BTreeSet<String>,
}

/// What the rules say of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Since this revision.
    Dead(Revision),
    Locked,
    Good,
}

impl Oracle {
    /// Hears the next entries; panics at one that the rules do not allow.
    pub(crate) fn hear(&mut self, entries: &[(Revision, Entry)]) {
        for (revision, entry) in entries {
            for event in &entry.events {
                self.event(*revision, &entry.actor, event);
            }
            self.cursor = *revision;
        }
    }

    /// What becomes of a certificate.
    pub(crate) fn verdict(&self, fingerprint: &Fingerprint) -> Verdict {
        let known = &self.certificates[fingerprint];
        let by_key = known.keys.iter().flat_map(|key| {
            let terminal = key.starts_with("issuer/");
            self.cuts.get(key).into_iter().flatten().filter(move |cut| terminal || **cut > known.issued)
        });
        match by_key.chain(self.revoked.get(fingerprint)).min() {
            Some(cut) => Verdict::Dead(*cut),
            None if self.is_locked(&known.keys) => Verdict::Locked,
            None => Verdict::Good,
        }
    }

    /// A cut-off between the reads of an issuance and its commit, which must have made it run again.
    pub(crate) fn overtaken(&self, fingerprint: &Fingerprint, decided: Revision) -> Option<&str> {
        let known = &self.certificates[fingerprint];
        let is_overtaken = |cut: &Revision| *cut > decided && *cut < known.issued;
        let mut keys = known.keys.iter().filter(|key| self.cuts.get(*key).is_some_and(|c| c.iter().any(is_overtaken)));
        keys.next().map(String::as_str)
    }

    fn event(&mut self, revision: Revision, actor: &Actor, event: &Event) {
        match event {
            Event::IdentityAdded { id, kind } => {
                self.kinds.insert(id.to_string(), *kind);
            }
            Event::IdentityDeleted { id, .. } => {
                self.kinds.remove(id.as_str());
                self.groups.remove(id.as_str());
                self.agencies.retain(|user, agency| user != id.as_str() && agency != id.as_str());
            }
            Event::GroupJoined { id, group } => {
                self.groups.entry(id.to_string()).or_default().insert(group.to_string());
            }
            Event::GroupLeft { id, group } => {
                if let Some(groups) = self.groups.get_mut(id.as_str()) {
                    groups.remove(group.as_str());
                }
            }
            Event::GroupDeleted { group } => self.groups.values_mut().for_each(|groups| {
                groups.remove(group.as_str());
            }),
            Event::AgencyJoined { id, agency } => {
                self.agencies.insert(id.to_string(), agency.to_string());
            }
            Event::AgencyLeft { id, .. } => {
                self.agencies.remove(id.as_str());
            }
            Event::CertificateIssued(issued) => self.issued(revision, actor, issued),
            Event::CertificateImported(issued) => self.issued(Revision::IMPORTED, actor, issued),
            Event::CutOff { key, .. } => self.cuts.entry(key.to_string()).or_default().push(revision),
            Event::CertificateRevoked { fingerprint, .. } => {
                self.revoked.entry(*fingerprint).or_insert(revision);
            }
            Event::Locked { id, cluster } => {
                assert!(self.locks.insert(path(id.as_str(), cluster.as_ref().map(|c| c.as_str()))), "locked twice");
            }
            Event::Unlocked { id, cluster } => {
                assert!(self.locks.remove(&path(id.as_str(), cluster.as_ref().map(|c| c.as_str()))), "was not locked");
            }
            Event::Restored { .. }
            | Event::ClockAccepted { .. }
            | Event::CertificatesForgotten { .. }
            | Event::CutOffTakenOver { .. }
            | Event::RevocationTakenOver { .. }
            | Event::SerialTakenOver { .. }
            | Event::LockedByRestore { .. }
            | Event::RoleGranted { .. }
            | Event::RoleWithdrawn { .. }
            | Event::AuthorityCreated { .. }
            | Event::ClusterAdded { .. }
            | Event::ClusterRotated { .. }
            | Event::AuthorityDetached { .. }
            | Event::AuthorityAttached { .. }
            | Event::CrlIssued { .. }
            | Event::Refused { .. }
            | Event::ProxyInvited { .. }
            | Event::ProxyJoined { .. }
            | Event::ProxyRemoved { .. }
            | Event::ProxyFollows { .. }
            | Event::ProxyGone { .. }
            | Event::ProxyReported { .. } => {}
        }
    }

    fn issued(&mut self, revision: Revision, actor: &Actor, issued: &Issued) {
        let id = issued.subject.as_str();
        let mut keys = BTreeSet::from([format!("issuer/{}", issued.issuer)]);
        // Authorities and the product's own certificates are nobody's.
        if let Some(kind) = self.kinds.get(id) {
            let cluster = issued.issuer.as_str().rsplit_once('-').map(|(cluster, _)| cluster);
            let agency = if *kind == IdentityKind::Agency { Some(id) } else { self.agency_of(id) };
            for (tag, id) in [("id", Some(id)), ("agency", agency)] {
                let Some(id) = id else { continue };
                keys.insert(format!("{tag}/{id}"));
                keys.extend(cluster.map(|cluster| format!("{tag}/{id}@{cluster}")));
            }
            for group in self.groups.get(id).filter(|_| cluster.is_some()).into_iter().flatten() {
                keys.insert(format!("member/{id}/{group}"));
                keys.insert(format!("group/{group}"));
            }
            keys.extend(self.inherited(id, actor));
            assert!(!self.is_locked(&keys), "{id} was issued a certificate while locked, at {revision}");
        }
        let recorded: BTreeSet<String> = issued.cut_keys.iter().map(ToString::to_string).collect();
        assert_eq!(recorded, keys, "the cut keys of what was issued to {id} at {revision}");
        self.certificates.insert(issued.fingerprint, Known { issued: revision, keys });
    }

    fn agency_of(&self, id: &str) -> Option<&str> {
        self.agencies.get(id).map(String::as_str)
    }

    /// What a holder's next certificate takes over from the one they asked with, which must have stood.
    fn inherited(&self, id: &str, actor: &Actor) -> Vec<String> {
        let Actor::Holder(holder) = actor else { return Vec::new() };
        let verdict = self.verdict(&holder.fingerprint);
        assert_eq!(verdict, Verdict::Good, "{} obtained a certificate with one that does not stand", holder.id);
        if holder.id.as_str() != id {
            return Vec::new();
        }
        let earlier = &self.certificates[&holder.fingerprint];
        let passes_on = |key: &&String| ["via/", "issuer/", "member/", "group/"].iter().any(|tag| key.starts_with(tag));
        let mut keys: Vec<String> = earlier.keys.iter().filter(passes_on).cloned().collect();
        keys.push(format!("via/{}", holder.fingerprint));
        keys
    }

    fn is_locked(&self, keys: &BTreeSet<String>) -> bool {
        let covered = |key: &String| key.strip_prefix("id/").or(key.strip_prefix("agency/")).map(str::to_owned);
        keys.iter().filter_map(covered).any(|path| self.locks.contains(&path))
    }
}

fn path(id: &str, cluster: Option<&str>) -> String {
    cluster.map_or_else(|| id.to_owned(), |cluster| format!("{id}@{cluster}"))
}
