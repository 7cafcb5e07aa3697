//! Who is refused at this proxy by whoever runs it, whatever the authority says.
//!
//! A file beside the mirror, one JSON object a line, so that it works while the authority is away and outlives
//! restarts. The proxy looks at it four times a second. It refuses an ID as a lock does: an agency with what is held
//! under it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::ident::AnyId;
use crate::world::Timestamp;

/// Someone who is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The ID.
    pub id: AnyId,
    /// Since when.
    pub since: Timestamp,
}

/// The list in its file.
#[derive(Debug)]
pub struct DenyList(PathBuf);

impl DenyList {
    /// The list of the proxy with this mirror.
    pub fn new(mirror_dir: &Path) -> Self {
        Self(mirror_dir.join("denied"))
    }

    /// Who is on it; a line that cannot be read is an error, because it may have been meant for somebody.
    pub fn read(&self) -> io::Result<Vec<Denial>> {
        let text = match std::fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
    }

    /// Puts an ID on the list or takes it off; whether that changed anything.
    pub fn change(&self, id: &AnyId, is_denied: bool, now: Timestamp) -> io::Result<bool> {
        let mut denials = self.read()?;
        let was_denied = denials.iter().any(|denial| denial.id == *id);
        if was_denied == is_denied {
            return Ok(false);
        }
        if is_denied {
            denials.push(Denial { id: id.clone(), since: now });
        } else {
            denials.retain(|denial| denial.id != *id);
        }
        let mut text = String::new();
        for denial in &denials {
            text.push_str(&serde_json::to_string(denial)?);
            text.push('\n');
        }
        let unfinished = self.0.with_extension("new");
        let file = std::fs::File::create(&unfinished)?;
        io::Write::write_all(&mut &file, text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &self.0)?;
        std::fs::File::open(self.0.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()?;
        Ok(true)
    }

    fn modified(&self) -> Option<(SystemTime, u64)> {
        let metadata = std::fs::metadata(&self.0).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }
}

/// The list as a running proxy keeps it.
#[derive(Debug, Default)]
pub(super) struct Denied {
    list: Option<DenyList>,
    current: RwLock<Vec<Denial>>,
    seen: Mutex<Option<Option<(SystemTime, u64)>>>,
}

impl Denied {
    pub(super) fn new(list: Option<DenyList>) -> Self {
        let denied = Self { list, ..Self::default() };
        denied.look();
        denied
    }

    /// Reads the list anew if it has changed; whether it had. One that cannot be read leaves everybody on it who was.
    pub(super) fn look(&self) -> bool {
        let Some(list) = &self.list else { return false };
        let found = Some(list.modified());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == found {
            return false;
        }
        *seen = found;
        match list.read() {
            Ok(denials) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = denials;
                true
            }
            Err(error) => {
                tracing::error!(%error, file = %list.0.display(), "the list of whom to deny cannot be read");
                false
            }
        }
    }

    /// The denial that covers a user or their agency.
    pub(super) fn covering(&self, user: &str, agency: Option<&str>) -> Option<Denial> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.iter().find(|denial| denial.id.as_str() == user || Some(denial.id.as_str()) == agency).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn an_id_is_denied_until_it_is_taken_off_and_an_agency_covers_its_members() {
        let dir = tempfile::tempdir().unwrap();
        let list = DenyList::new(dir.path());
        let denied = Denied::new(Some(DenyList::new(dir.path())));
        assert_eq!(denied.covering("ana", Some("acme")), None);
        assert!(list.change(&"acme".parse().unwrap(), true, NOW).unwrap());
        assert!(!list.change(&"acme".parse().unwrap(), true, NOW).unwrap());
        assert!(denied.look());
        assert!(denied.covering("ana", Some("acme")).is_some() && denied.covering("acme", None).is_some());
        assert_eq!(denied.covering("ana", Some("other")), None);
        // As a restart finds it.
        assert!(Denied::new(Some(DenyList::new(dir.path()))).covering("acme", None).is_some());
        assert!(list.change(&"acme".parse().unwrap(), false, NOW).unwrap());
        assert!(denied.look());
        assert_eq!(denied.covering("acme", None), None);
    }

    #[test]
    fn a_list_that_cannot_be_read_lets_nobody_off() {
        let dir = tempfile::tempdir().unwrap();
        let list = DenyList::new(dir.path());
        list.change(&"ana".parse().unwrap(), true, NOW).unwrap();
        let denied = Denied::new(Some(DenyList::new(dir.path())));
        std::fs::write(dir.path().join("denied"), "ana\n").unwrap();
        assert!(!denied.look());
        assert!(denied.covering("ana", None).is_some());
        assert!(list.change(&"bob".parse().unwrap(), true, NOW).is_err());
    }
}
