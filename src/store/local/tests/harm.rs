//! What can happen to the files of a store that lies there: one file, one kind of harm.

use std::path::{Path, PathBuf};

use super::dice::Dice;
use super::model::copy;

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Harm {
    Flipped,
    Zeroed,
    Truncated,
    Swapped,
    Missing,
    Foreign,
    Older,
}

impl Harm {
    pub(super) const ALL: [Self; 7] =
        [Self::Flipped, Self::Zeroed, Self::Truncated, Self::Swapped, Self::Missing, Self::Foreign, Self::Older];
}

/// Which file it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Journal,
    Mark,
    Checkpoint,
    Index,
}

impl Part {
    pub(super) const ALL: [Self; 4] = [Self::Journal, Self::Mark, Self::Checkpoint, Self::Index];

    /// The files of this part, in a store's folder.
    fn files(self, store: &Path) -> Vec<PathBuf> {
        match self {
            Self::Journal => within(&store.join("journal")),
            Self::Mark => vec![store.join("mark")],
            Self::Checkpoint => vec![store.join("checkpoint")],
            Self::Index => within(&store.join("index")),
        }
    }
}

/// Other stores that files are taken from.
pub(super) struct Others {
    /// Another store, with a history like this one's.
    pub(super) foreign: PathBuf,
    /// This one, earlier.
    pub(super) older: Vec<PathBuf>,
}

/// Does it to a store, somewhere; answers what was done. Whatever it is, something in the store is another afterwards.
pub(super) fn inflict(harm: Harm, part: Part, store: &Path, others: &Others, dice: &mut Dice) -> String {
    for _ in 0..1000 {
        let file = dice.pick(&part.files(store)).clone();
        let name = file.strip_prefix(store).unwrap().to_string_lossy().into_owned();
        let whole_index = part == Part::Index && dice.one_in(4);
        let source = match harm {
            Harm::Foreign => Some(&others.foreign),
            Harm::Older => Some(dice.pick(&others.older)),
            _ => None,
        };
        if whole_index && let (Some(source), folder) = (source, store.join("index")) {
            std::fs::remove_dir_all(&folder).unwrap();
            copy(&source.join("index"), &folder);
            return format!("index/ from {}", source.display());
        }
        if whole_index && harm == Harm::Missing {
            std::fs::remove_dir_all(store.join("index")).unwrap();
            return "index/ gone".to_owned();
        }
        if harm == Harm::Missing {
            std::fs::remove_file(&file).unwrap();
            return format!("{name} gone");
        }
        let before = std::fs::read(&file).unwrap();
        let (after, how) = match source {
            Some(source) => match counterpart(source, &name) {
                Some(other) => (std::fs::read(&other).unwrap(), format!("from {}", other.display())),
                None => continue,
            },
            None if harm == Harm::Swapped && part == Part::Journal && dice.one_in(2) => {
                let other = dice.pick(&part.files(store)).clone();
                let bytes = std::fs::read(&other).unwrap();
                if bytes == before {
                    continue;
                }
                std::fs::write(&other, &before).unwrap();
                (bytes, format!("exchanged for {}", other.display()))
            }
            None => changed(harm, before.clone(), dice),
        };
        if after != before {
            std::fs::write(&file, after).unwrap();
            return format!("{name}: {how}");
        }
    }
    panic!("{harm:?} of {part:?} changes nothing in {}", store.display());
}

/// The bytes of a file after harm that needs no other file.
fn changed(harm: Harm, mut bytes: Vec<u8>, dice: &mut Dice) -> (Vec<u8>, String) {
    let page = if dice.one_in(2) { 512 } else { 4096.min(bytes.len() / 2).max(1) };
    let at = place(&bytes, dice);
    match harm {
        Harm::Flipped => {
            let bits = 1 + dice.below(8);
            for _ in 0..bits {
                let at = place(&bytes, dice);
                bytes[at] ^= 1 << dice.below(8);
            }
            (bytes, format!("{bits} bits flipped"))
        }
        Harm::Zeroed => {
            let start = at - at % page;
            let end = (start + page).min(bytes.len());
            bytes[start..end].fill(0);
            (bytes, format!("{start}..{end} zeroed"))
        }
        Harm::Truncated => {
            bytes.truncate(at);
            (bytes, format!("cut at {at}"))
        }
        _ => {
            let (one, two) = (at - at % page, place(&bytes, dice));
            let two = two - two % page;
            for offset in 0..page {
                if one.max(two) + offset < bytes.len() {
                    bytes.swap(one + offset, two + offset);
                }
            }
            (bytes, format!("{page} octets at {one} and {two} exchanged"))
        }
    }
}

/// A place in a file: mostly in what is not zeros, sometimes anywhere.
fn place(bytes: &[u8], dice: &mut Dice) -> usize {
    let used = bytes.rchunks(4096).position(|page| page.iter().any(|octet| *octet != 0));
    let used = bytes.len() - used.unwrap_or(0) * 4096;
    let limit = if dice.one_in(5) { bytes.len() } else { used };
    usize::try_from(dice.below(limit.max(1) as u64)).unwrap()
}

/// The file that has this name there; sled's snapshots have numbers in theirs.
fn counterpart(source: &Path, name: &str) -> Option<PathBuf> {
    let exact = source.join(name);
    let stem = name.rsplit_once("snap.").map(|_| "snap.");
    let like =
        || stem.and_then(|stem| within(&source.join("index")).into_iter().find(|it| named(it).starts_with(stem)));
    if exact.exists() { Some(exact) } else { like() }
}

fn named(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The files in a folder and below it, in order.
fn within(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(within(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
