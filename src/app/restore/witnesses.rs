//! Who knows of the time after a backup: the journal of the store that is being replaced, and published lists.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::access::Role;
use crate::app::rolled_back::published;
use crate::app::{AppError, Doing};
use crate::ca::rows::AuthorityRow;
use crate::ca::template::ISSUING_LIFETIME;
use crate::directory::rows::{DeletedRow, RoleBindingRow};
use crate::disk::SystemDisk;
use crate::ident::{IdentityId, IssuerName};
use crate::ledger::rows::{CertificateRow, CutOffRow, ListedSerialRow, LockRow, RevokedRow};
use crate::revocation::reimport::Told;
use crate::standing::{Cut, CutKey, Revision, is_cut};
use crate::status::{Lock, LockKey};
use crate::store::local::witness::{self, Read, Seen};
use crate::store::record::{Record, decode};
use crate::store::{StoreError, Write};
use crate::world::Timestamp;
use crate::x509::certificate::Certificate;
use crate::x509::crl::Crl;
use crate::x509::pem::{self, Label};
use crate::x509::reason::Reason;

/// The journal of the store in place, and what it knows beyond the backup.
pub(super) struct OldJournal {
    pub(super) read: Read,
    pub(super) told: Vec<Told>,
}

/// Reads the journal of the store in place from the backup's end on, as far as it goes.
pub(super) fn old_journal(store: &Path, backup: Revision) -> Result<OldJournal, AppError> {
    let mut facts = Facts::default();
    let read = witness::read(&SystemDisk, store, backup, &mut |seen| facts.take(seen));
    let read = read.doing("reading the journal of the store in place")?;
    if let Some(error) = facts.unreadable.take() {
        return Err(AppError::new("reading the journal of the store in place", error));
    }
    Ok(OldJournal { read, told: facts.into_told() })
}

/// What the commits beyond the backup come to; rows that can go again count as they were last.
#[derive(Default)]
struct Facts {
    cut_offs: Vec<(CutKey, Cut, crate::journal::Cause)>,
    revoked: Vec<(RevokedRow, Cut)>,
    locks: BTreeMap<Vec<u8>, Lock>,
    deleted: BTreeMap<Vec<u8>, DeletedRow>,
    /// Who had which roles last.
    roles: BTreeMap<IdentityId, Vec<Role>>,
    listed: Vec<ListedSerialRow>,
    /// Issued beyond the backup: what is dead of it stays on the lists.
    issued: Vec<Issued>,
    unreadable: Option<StoreError>,
}

struct Issued {
    row: CertificateRow,
    at: Revision,
}

impl Facts {
    fn take(&mut self, seen: Seen) {
        for write in seen.writes {
            if let Err(error) = self.write(seen.revision, write) {
                self.unreadable.get_or_insert(error);
            }
        }
    }

    fn write(&mut self, revision: Revision, write: Write) -> Result<(), StoreError> {
        let (key, value) = match write {
            Write::Put { key, value } => (key, Some(value)),
            Write::Delete { key } => (key, None),
        };
        let is_of = |table| key.first() == Some(&(table as u8));
        match value {
            Some(value) if is_of(CutOffRow::TABLE) => {
                let CutOffRow { key, at, reason, cause, cut } = decode(&value)?;
                self.cut_offs.push((key, Cut { revision: cut.unwrap_or(revision), at, reason }, cause));
            }
            Some(value) if is_of(RevokedRow::TABLE) => {
                let row: RevokedRow = decode(&value)?;
                let cut = Cut { revision: row.cut.unwrap_or(revision), at: row.at, reason: row.reason };
                self.revoked.push((row, cut));
            }
            Some(value) if is_of(LockRow::TABLE) => {
                let LockRow { id, cluster, at, .. } = decode(&value)?;
                self.locks.insert(key, Lock { key: LockKey { id, cluster }, at, revision });
            }
            None if is_of(LockRow::TABLE) => drop(self.locks.remove(&key)),
            Some(value) if is_of(DeletedRow::TABLE) => drop(self.deleted.insert(key, decode(&value)?)),
            None if is_of(DeletedRow::TABLE) => drop(self.deleted.remove(&key)),
            Some(value) if is_of(RoleBindingRow::TABLE) => {
                let RoleBindingRow { id, roles } = decode(&value)?;
                self.roles.insert(id, roles);
            }
            Some(value) if is_of(ListedSerialRow::TABLE) => self.listed.push(decode(&value)?),
            Some(value) if is_of(CertificateRow::TABLE) => {
                let row = CertificateRow { der: Vec::new(), groups: Vec::new(), ..decode(&value)? };
                self.issued.push(Issued { row, at: revision });
            }
            _ => {}
        }
        Ok(())
    }

    fn into_told(self) -> Vec<Told> {
        let mut listed = self.listed;
        listed.extend(dead(&self.issued, &self.cut_offs, &self.revoked));
        let mut told: Vec<Told> = Vec::new();
        told.extend(self.cut_offs.into_iter().map(|(key, cut, cause)| Told::CutOff(key, cut, cause)));
        told.extend(self.revoked.into_iter().map(|(row, cut)| Told::Revoked(row.fingerprint.short(), cut)));
        told.extend(self.locks.into_values().map(Told::Locked));
        told.extend(self.deleted.into_values().map(Told::Deleted));
        told.extend(self.roles.into_iter().map(|(id, roles)| Told::Roles(id, roles)));
        told.extend(listed.into_iter().map(Told::Listed));
        told
    }
}

/// What was issued beyond the backup and is dead: it will have no record, and stays on its issuer's list.
fn dead(
    issued: &[Issued],
    cut_offs: &[(CutKey, Cut, crate::journal::Cause)],
    revoked: &[(RevokedRow, Cut)],
) -> Vec<ListedSerialRow> {
    let mut cuts: HashMap<&CutKey, Vec<&Cut>> = HashMap::new();
    cut_offs.iter().for_each(|(key, cut, _)| cuts.entry(key).or_default().push(cut));
    let revoked: HashMap<_, _> = revoked.iter().map(|(row, cut)| (row.fingerprint, cut)).collect();
    let first_cut = |issued: &Issued| {
        let by_key = issued.row.cut_keys.iter().filter_map(|key| {
            let cuts = cuts.get(key)?.iter().copied();
            cuts.filter(|cut| is_cut(key, issued.at, cut.revision)).min_by_key(|cut| cut.revision)
        });
        by_key.chain(revoked.get(&issued.row.fingerprint).copied()).min_by_key(|cut| cut.revision).cloned()
    };
    let row = |issued: &Issued| {
        let CertificateRow { issuer, serial, not_after, .. } = &issued.row;
        let cut = first_cut(issued)?;
        Some(ListedSerialRow { issuer: issuer.clone(), serial: *serial, cut, until: *not_after })
    };
    issued.iter().filter_map(row).collect()
}

/// A list of revoked certificates, signed by an authority that the backup knows.
pub(super) struct List {
    pub(super) file: PathBuf,
    pub(super) issuer: IssuerName,
    pub(super) number: Revision,
    pub(super) crl: Crl,
}

impl List {
    /// What it says of a certificate that is not on the record.
    pub(super) fn without_record(&self, entry: &crate::x509::crl::Entry) -> ListedSerialRow {
        let is_root = self.issuer == IssuerName::root();
        let until = self.crl.this_update.after(if is_root { ISSUING_LIFETIME } else { LONGEST_LIFETIME });
        ListedSerialRow { issuer: self.issuer.clone(), serial: entry.serial, cut: self.cut(entry), until }
    }

    /// When and why an entry of it was revoked; where in the journal is not told, so that its number stands for that.
    pub(super) fn cut(&self, entry: &crate::x509::crl::Entry) -> Cut {
        let reason = entry.reason.unwrap_or(Reason::Unspecified);
        Cut { revision: self.number, at: entry.revoked_at, reason }
    }
}

/// Lists and what they come to.
#[derive(Default)]
pub(super) struct Lists {
    /// The newest of each issuer.
    pub(super) newest: BTreeMap<IssuerName, List>,
    /// The numbers of all that were seen, also of those that nobody here can verify.
    pub(super) numbers: Vec<(PathBuf, Revision)>,
}

/// Reads the lists in the authority's folder and those that were given; the latter must be ours, or nothing is done.
pub(super) fn lists(folder: &Path, given: &[PathBuf], authorities: &[AuthorityRow]) -> Result<Lists, AppError> {
    let mut lists = Lists::default();
    for (path, number) in published(folder)? {
        lists.numbers.push((path.clone(), number));
        match read(&path, authorities) {
            Ok(list) => lists.add(list),
            Err(error) => tracing::warn!(%error, "a list is no witness"),
        }
    }
    for path in given {
        let list = read(path, authorities)?;
        lists.numbers.push((path.clone(), list.number));
        lists.add(list);
    }
    Ok(lists)
}

impl Lists {
    fn add(&mut self, list: List) {
        match self.newest.get(&list.issuer) {
            Some(known) if known.number >= list.number => {}
            _ => drop(self.newest.insert(list.issuer.clone(), list)),
        }
    }

    /// Up to where they tell what was revoked: a cut-off renews the list of every issuing authority, so one that is
    /// missing, or much older than the others, is a gap; its issuer is the error.
    pub(super) fn reach(&self, authorities: &[AuthorityRow]) -> Result<Option<Revision>, IssuerName> {
        let Some(newest) = self.newest.values().map(|list| list.crl.this_update).max() else { return Ok(None) };
        for authority in authorities.iter().filter(|row| row.name != IssuerName::root()) {
            match self.newest.get(&authority.name) {
                Some(list) if list.crl.this_update.after(AT_MOST_APART) >= newest => {}
                _ => return Err(authority.name.clone()),
            }
        }
        Ok(self.newest.values().map(|list| list.number).max())
    }
}

/// Reads a list, in DER or PEM, and checks who signed it.
fn read(path: &Path, authorities: &[AuthorityRow]) -> Result<List, AppError> {
    let doing = || format!("reading the list {}", path.display());
    let bytes = std::fs::read(path).doing(doing())?;
    let der = pem::read(Label::Crl, &bytes).unwrap_or(bytes);
    let crl = Crl::from_der(&der).doing(doing())?;
    let number = crl.number.as_deref().and_then(Revision::from_crl_number);
    let number = number.ok_or_else(|| AppError::new(doing(), "its number is none of ours"))?;
    for authority in authorities {
        let certificate = Certificate::from_der(&authority.der).doing(doing())?;
        if certificate.subject_der == crl.issuer && crl.verify(&certificate.public_key).is_ok() {
            return Ok(List { file: path.to_owned(), issuer: authority.name.clone(), number, crl });
        }
    }
    Err(AppError::new(doing(), "it is not signed by an authority that the backup knows"))
}

/// The authorities in a backup; read with its journal.
#[derive(Default)]
pub(super) struct Authorities(BTreeMap<IssuerName, AuthorityRow>);

impl Authorities {
    pub(super) fn take(&mut self, seen: &Seen) {
        for write in &seen.writes {
            if let Write::Put { key, value } = write
                && key.first() == Some(&(AuthorityRow::TABLE as u8))
                && let Ok(row) = decode::<AuthorityRow>(value)
            {
                self.0.insert(row.name.clone(), row);
            }
        }
    }

    pub(super) fn into_rows(self) -> Vec<AuthorityRow> {
        self.0.into_values().collect()
    }
}

/// When something was, for people.
pub(super) fn shown(at: Timestamp) -> String {
    at.whole_seconds().to_string()
}

/// The longest that a certificate of an issuing authority can live: a year, for users.
const LONGEST_LIFETIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Lists of one round are made within seconds; each is made anew every hour.
const AT_MOST_APART: Duration = crate::publish::crl::INTERVAL;
