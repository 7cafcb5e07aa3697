//! The few file operations we use, and the ways they fail.
//!
//! Whoever keeps something on disk receives a [`Disk`], so that a test can make any single write or sync fail.
//! A write is durable once [`DiskFile::sync_data`] returned; a file's name once [`Disk::sync_dir`] did.
//! After a failed sync nothing can be said about what was written before it: never sync again and believe it.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation};

/// A file system, or something that pretends to be one.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a folder that only its owner may enter (0700); one that is there already is left as it is.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file that only its owner may read and write (0600); fails if the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists, for reading alone: it may be somebody else's, or on a disk that takes no writes.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, sorted; names that are not UTF-8 are left out.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// What kind of network file system a folder that exists is on, if it is on one: there, a lock may be two processes',
    /// and a sync may be a promise.
    fn network_file_system(&self, path: &Path) -> io::Result<Option<&'static str>>;

    /// Takes the lock that this file stands for, making the file if there is none, and holds it until the answer is
    /// dropped; [`io::ErrorKind::WouldBlock`] when another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `buffer` from `offset`; a file that ends earlier is an error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// How long the file is, in octets.
    fn length(&self) -> io::Result<u64>;

    /// Makes what was written durable, with the length it needs to be read back.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the file this long, all zeros that were really written: overwriting them later needs no space and no
    /// change of metadata.
    fn preallocate(&self, length: u64) -> io::Result<()>;
}

/// Everything in a file, provided that it is no longer than `limit` octets.
pub fn read_whole(file: &dyn DiskFile, limit: u64) -> io::Result<Vec<u8>> {
    let length = file.length()?;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} octets, more than {limit}")));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Puts `bytes` under a name so that a crash leaves the old content or the new, never a part.
pub fn replace(disk: &dyn Disk, path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    match disk.remove(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create_new(temporary)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// What the kernel calls this boot of the machine; another one after each start.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        }
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(SystemFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SystemFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SystemFile(File::open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn network_file_system(&self, path: &Path) -> io::Result<Option<&'static str>> {
        let kind = rustix::fs::statfs(path)?.f_type;
        Ok(NETWORK_FILE_SYSTEMS.iter().find(|(magic, _)| i128::from(kind) == i128::from(*magic)).map(|(_, name)| *name))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(SystemFile(file)))
    }
}

#[derive(Debug)]
struct SystemFile(File);

impl Drop for SystemFile {
    /// Lets go of the lock, if this file has one. Closing it would not do: until a child process that is just being
    /// started runs its program it has a copy of every descriptor, and an flock lasts as long as any copy (flock(2)).
    fn drop(&mut self) {
        // On a file without a lock this does nothing, and there is nobody to tell of an error.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl DiskFile for SystemFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn preallocate(&self, length: u64) -> io::Result<()> {
        // Asked for in one piece first, so that a full disk says so before anything is written. Not every file system
        // can; the zeros below take the space in any case.
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            Err(error) if error != rustix::io::Errno::OPNOTSUPP => return Err(error.into()),
            _ => {}
        }
        let zeros = vec![0; ZEROS];
        let mut offset = 0;
        while offset < length {
            let rest = usize::try_from(length.saturating_sub(offset)).unwrap_or(ZEROS).min(ZEROS);
            self.0.write_all_at(zeros.get(..rest).unwrap_or(&zeros), offset)?;
            offset = offset.saturating_add(rest as u64);
        }
        Ok(())
    }
}

/// The numbers by which the kernel tells file systems apart (statfs(2)). FUSE may be local too, and keeps its promises
/// no better.
const NETWORK_FILE_SYSTEMS: [(u32, &str); 10] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x5346_414f, "AFS"),
    (0x6573_5546, "FUSE"),
];

/// How many zeros are written at once: large enough that the calls do not count.
const ZEROS: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = SystemDisk.lock(&path).unwrap();
        assert_eq!(SystemDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        SystemDisk.lock(&path).unwrap();
    }

    #[test]
    fn a_folder_of_this_machine_is_on_no_network() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(SystemDisk.network_file_system(folder.path()).unwrap(), None);
        assert!(SystemDisk.network_file_system(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_lock_that_was_dropped_is_free_even_if_a_child_process_has_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = File::create(&path).unwrap();
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        let (held, _copy) = (SystemFile(file.try_clone().unwrap()), file);
        assert_eq!(SystemDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        SystemDisk.lock(&path).unwrap();
    }

    #[test]
    fn what_is_made_belongs_to_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        SystemDisk.create_dir(&inner).unwrap();
        SystemDisk.create_dir(&inner).unwrap();
        SystemDisk.create_new(&inner.join("file")).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&inner.join("file"))), (0o700, 0o600));
    }

    #[test]
    fn a_preallocated_file_is_all_zeros_and_as_long_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = SystemDisk.create_new(&folder.path().join("file")).unwrap();
        file.preallocate(300_000).unwrap();
        assert_eq!(read_whole(&*file, 300_000).unwrap(), vec![0; 300_000]);
        assert!(read_whole(&*file, 299_999).is_err());
    }

    #[test]
    fn replacing_leaves_no_temporary_file_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (path, temporary) = (folder.path().join("file"), folder.path().join("file.new"));
        replace(&SystemDisk, &path, &temporary, b"one").unwrap();
        std::fs::write(&temporary, b"left over").unwrap();
        replace(&SystemDisk, &path, &temporary, b"two").unwrap();
        assert_eq!(SystemDisk.list(folder.path()).unwrap(), ["file"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    }
}
