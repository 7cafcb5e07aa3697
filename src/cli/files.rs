//! Files with secrets: made for their owner alone, never over something else, replaced all at once.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::exit::Failure;
use crate::secret::Secret;
use crate::world::{self, SystemEntropy};

/// A file that is being made, or made anew.
///
/// Dropped without [`finish`](Pending::finish) or [`leave`](Pending::leave), nothing of it stays.
#[derive(Debug)]
pub(super) struct Pending {
    /// The file in the end.
    target: PathBuf,
    /// The file that exists meanwhile: the target itself when it is new.
    draft: PathBuf,
    file: File,
    old: Option<Old>,
    settled: bool,
}

/// What is replaced.
#[derive(Debug)]
struct Old {
    content: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl Pending {
    /// Makes a new, empty file of mode 0600; refuses where anything exists already.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        check_folder(path)?;
        let file = create_new(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::failed(format!(
                "{} exists already and is not overwritten; choose another name",
                path.display()
            )),
            _ => Failure::failed(format!("cannot make {}: {error}", path.display())),
        })?;
        Ok(Self { target: path.into(), draft: path.into(), file, old: None, settled: false })
    }

    /// Prepares to replace an existing file, whose content is [`Pending::old`]; a symbolic link's target is replaced.
    pub(super) fn replace(path: &Path) -> Result<Self, Failure> {
        let target = fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
        check_folder(&target)?;
        let (content, mode) = read_with_mode(&target)?;
        let draft = sibling(&target)?;
        let file =
            create_new(&draft).map_err(|error| Failure::failed(format!("cannot make {}: {error}", draft.display())))?;
        Ok(Self { target, draft, file, old: Some(Old { content, mode }), settled: false })
    }

    /// [`Pending::replace`] where there is a file, [`Pending::create`] where there is none.
    pub(super) fn replace_or_create(path: &Path) -> Result<Self, Failure> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    use std::os::unix::fs::DirBuilderExt;
                    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
                    made.map_err(|error| Failure::failed(format!("cannot make {}: {error}", folder.display())))?;
                }
                Self::create(path)
            }
            _ => Self::replace(path),
        }
    }

    /// What the file held before; nothing for a new one.
    pub(super) fn old(&self) -> Option<&[u8]> {
        self.old.as_ref().map(|old| old.content.as_slice())
    }

    /// Puts a new key where it survives us, before a certificate for it is asked for.
    pub(super) fn keep_key(&mut self, key: &Secret<String>) -> Result<(), Failure> {
        let kept = self.file.write_all(key.expose().as_bytes()).and_then(|()| self.file.sync_all());
        kept.map_err(|error| Failure::failed(format!("cannot write {}: {error}", self.draft.display())))
    }

    /// Leaves the key where it is, as it may be needed; gives the place.
    pub(super) fn leave(mut self) -> PathBuf {
        self.settled = true;
        self.draft.clone()
    }

    /// Writes the content and puts it in its place at once; gives the backup of what was there.
    pub(super) fn finish(mut self, content: &[u8]) -> Result<Option<PathBuf>, Failure> {
        // From here on the draft may hold the only copy of a key whose certificate exists.
        self.settled = true;
        self.finished(content).map_err(|error| {
            let kept = if self.old.is_some() {
                format!("; the new key is in {}", self.draft.display())
            } else {
                String::new()
            };
            Failure::failed(format!("cannot write {}: {error}{kept}", self.target.display()))
        })
    }

    fn finished(&mut self, content: &[u8]) -> io::Result<Option<PathBuf>> {
        let Some(old) = &self.old else {
            let draft = sibling(&self.target).map_err(|error| io::Error::other(error.to_string()))?;
            let written = create_new(&draft).and_then(|mut file| write_synced(&mut file, content));
            if let Err(error) = written.and_then(|()| fs::rename(&draft, &self.target)) {
                let _ = fs::remove_file(&draft);
                return Err(error);
            }
            sync_folder(&self.target)?;
            return Ok(None);
        };
        // As kubectl locks a kubeconfig while it writes one.
        let _lock = Lock::take(&self.target)?;
        let (now, _) = read_with_mode(&self.target).map_err(|error| io::Error::other(error.to_string()))?;
        if now != old.content {
            return Err(io::Error::other("it was changed by somebody else meanwhile; repeat the command"));
        }
        let backup = write_backup(&self.target, &old.content)?;
        let draft = sibling(&self.target).map_err(|error| io::Error::other(error.to_string()))?;
        let mut file = create_new(&draft)?;
        let written = write_synced(&mut file, content)
            // The owner's bits as they were; others never get to read a new key.
            .and_then(|()| file.set_permissions(fs::Permissions::from_mode(old.mode & 0o700 | 0o600)))
            .and_then(|()| fs::rename(&draft, &self.target));
        if let Err(error) = written {
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        sync_folder(&self.target)?;
        let _ = fs::remove_file(&self.draft);
        Ok(Some(backup))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.settled {
            let _ = fs::remove_file(&self.draft);
        }
    }
}

/// Reads a file that is small by nature; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if path == Path::new("-") {
        return bounded(io::stdin().lock(), path);
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    bounded(file, path)
}

/// The same as text, such as PEM.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::failed(format!("{}: wanted PEM", path.display())))?;
    Ok(text.to_owned())
}

fn read_with_mode(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), Failure> {
    // Without blocking, so that a named pipe cannot hold us.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| unreadable(path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(Failure::failed(format!("wanted a file, found something else at {}", path.display())));
    }
    Ok((bounded(file, path)?, metadata.mode()))
}

fn bounded(from: impl Read, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut content = Zeroizing::new(Vec::new());
    from.take(MOST_BYTES + 1).read_to_end(&mut content).map_err(|error| unreadable(path, &error))?;
    if u64::try_from(content.len()).is_ok_and(|length| length <= MOST_BYTES) {
        return Ok(content);
    }
    Err(Failure::failed(format!("wanted at most {MOST_BYTES} bytes, found more in {}", path.display())))
}

/// `O_EXCL` and `O_NOFOLLOW`: neither an existing file nor a link somebody planted is ever written to.
fn create_new(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)
}

fn write_synced(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn write_backup(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    for number in 1..=MOST_BACKUPS {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".backup-{number}"));
        let backup = PathBuf::from(name);
        match create_new(&backup) {
            Ok(mut file) => return write_synced(&mut file, content).map(|()| backup),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("there are {MOST_BACKUPS} backups of it already; remove some")))
}

/// Anyone who may write to the folder could put another file in this one's place.
pub(super) fn check_folder(path: &Path) -> Result<(), Failure> {
    let folder = folder_of(path);
    let metadata = fs::metadata(folder).map_err(|error| unreadable(folder, &error))?;
    // Sticky folders such as /tmp keep others' hands off.
    if metadata.mode() & 0o002 != 0 && metadata.mode() & 0o1000 == 0 {
        return Err(Failure::failed(format!(
            "everybody may write to the folder {}, so a key is not safe in it; choose another",
            folder.display()
        )));
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An unused hidden name in the same folder, so that renaming is one step.
fn sibling(path: &Path) -> Result<PathBuf, Failure> {
    let chance = hex::encode(world::random::<8>(&SystemEntropy).map_err(Failure::failed)?);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(folder_of(path).join(format!(".{name}.new-{chance}")))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot read {}: {error}", path.display()))
}

/// `FILE.lock`, removed when dropped.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        match create_new(&lock) {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(io::Error::other(format!("somebody else is writing it; if nobody is, remove {}", lock.display())))
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A kubeconfig of a thousand clusters is below it.
const MOST_BYTES: u64 = 4 * 1024 * 1024;
/// Somebody who renews daily for three years has not looked.
const MOST_BACKUPS: u32 = 1000;

#[cfg(test)]
mod tests;
