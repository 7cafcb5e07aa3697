//! A store that was put back by hand is not served: lists that this authority has published say more than it knows.

use std::path::{Path, PathBuf};

use super::authority::Places;
use super::backup::list_number;
use super::{AppError, Doing};
use crate::standing::Revision;

/// Refuses where a published list reflects a revision that the store does not have.
///
/// Numbers are read, signatures are not checked: a file that is in the way of a start can be removed, and one that was
/// made up only refuses.
pub(super) fn must_not_be(end: Revision, lists: &Path) -> Result<(), AppError> {
    for (path, number) in published(lists)? {
        if number > end {
            return Err(AppError::new(
                "starting",
                format!(
                    "the CRL {} reflects revision {number}, the store ends at {end}: an older store was put back. \
                     Use `portcullis store restore`, which takes over what was revoked since and begins a new era",
                    path.display()
                ),
            ));
        }
    }
    Ok(())
}

/// Refuses where a restore was interrupted between taking the old store away and putting the new one in its place.
pub(super) fn must_not_be_between(places: &Places) -> Result<(), AppError> {
    if !is_between(&places.store) {
        return Ok(());
    }
    Err(AppError::new(
        "starting",
        "a restore was interrupted before its last step: run `portcullis store restore` again, it goes on from there",
    ))
}

/// The lists in a folder whose numbers are ours.
pub(super) fn published(folder: &Path) -> Result<Vec<(PathBuf, Revision)>, AppError> {
    let doing = || format!("reading the lists in {}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(doing())?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.doing(doing())?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.extension().is_some_and(|extension| extension == "crl") && !is_hidden {
            let bytes = std::fs::read(&path).doing(format_args!("reading {}", path.display()))?;
            match list_number(&bytes) {
                Some(number) => found.push((path, number)),
                None => tracing::warn!(file = %path.display(), "this is no list of ours"),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Where a restore makes the new store, beside the old one.
pub(super) fn staging(store: &Path) -> PathBuf {
    beside(store, "restoring")
}

/// Whether a restore was interrupted right before its last step: no store is in place, the new one is whole and was
/// agreed to, and the old one is where it was to be moved. If it is not there, it was in use again since, and the new one
/// knows nothing of that.
pub(super) fn is_between(store: &Path) -> bool {
    let Ok(replaced) = std::fs::read_to_string(staging(store).join(READY)) else { return false };
    !store.exists() && (replaced.is_empty() || store.with_file_name(replaced).exists())
}

/// The store's name with something behind it.
pub(super) fn beside(store: &Path, what: &str) -> PathBuf {
    let name = store.file_name().unwrap_or_default().to_string_lossy();
    store.with_file_name(format!("{name}.{what}"))
}

/// The folder that something lies in, also where its path is a name alone.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// In a store that is being restored: it is whole, and only has to be put in its place; the name that the old one is given
/// before, if there is one.
pub(super) const READY: &str = "restored";
