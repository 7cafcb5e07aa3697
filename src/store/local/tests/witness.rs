//! The rules of order, held against every write and name while it is made: what it rests on is durable already.
//!
//! C1: a mark slot is written after the group that it names is synced and the other slot is. C2: the first mark comes
//! before the first segment. C3: frames start at 4 KiB boundaries, in a segment whose header and name are durable. C4: what
//! cannot be read goes into quarantine last.

use std::path::Path;

use super::super::frame::{BLOCK, HEAD, Head};
use super::super::mark::Mark;
use super::super::segment::Header;
use super::lossy::{PAGE, State, is_segment};

const FRAME: &[u8] = b"PCLSFRAM";

/// The rule that a write breaks, if it does.
pub(super) fn of_write(state: &mut State, id: usize, bytes: &[u8], offset: usize) -> Option<String> {
    let name = state.name(id)?.to_owned();
    if name.ends_with("mark") {
        state.witnessed.0 += 1;
        return of_mark(state, id, bytes, offset);
    }
    if is_segment(&name) && bytes.starts_with(FRAME) {
        state.witnessed.1 += 1;
        let apart = offset.is_multiple_of(BLOCK) && bytes.len().is_multiple_of(BLOCK);
        let named = state.durable_names.get(&name) == Some(&id) && !state.owed.contains(&name);
        let settled = state.files[id].dirty.is_empty();
        let well = apart && named && settled;
        return (!well).then(|| format!("{}: a frame at {offset}: {apart} {named} {settled}", name.display()));
    }
    None
}

/// C1: the group that the mark names is on the disk, and so is the other slot.
fn of_mark(state: &State, id: usize, bytes: &[u8], offset: usize) -> Option<String> {
    let mark = Mark::decode(bytes, Path::new("mark"))?.ok()?;
    let (slot, other) = (offset / PAGE, 1 - offset / PAGE);
    let apart = offset.is_multiple_of(PAGE) && slot as u64 == mark.count % 2;
    let settled = !state.files[id].dirty.contains_key(&other);
    let position = mark.position;
    let holds = |durable: &[u8]| {
        let Ok(header) = Header::decode(durable, Path::new("segment")) else { return false };
        durable.chunks(BLOCK).enumerate().skip(1).any(|(at, block)| {
            let head = Head::read(block, &header.nonce).filter(|head| head.end() == position);
            let payload = head.and_then(|head| durable[at * BLOCK + HEAD..].get(..head.length as usize));
            head.is_some_and(|head| payload.is_some_and(|payload| head.vouches_for(payload)))
        })
    };
    let named = position.revision.number == 0
        || state
            .durable_names
            .iter()
            .any(|(name, id)| name.extension().is_some_and(|end| end == "segment") && holds(&state.files[*id].durable));
    let well = apart && settled && named;
    (!well).then(|| format!("a mark {mark:?} at {offset}: {apart} {settled} {named}"))
}

/// C2: the mark gets its name after the journal's folder has its own. C4: nothing is put into quarantine before the segment
/// that takes its place is durable with its name.
pub(super) fn of_rename(state: &State, to: &Path) -> Option<String> {
    let beside = to.parent()?;
    if to.ends_with("mark") && !state.durable_names.contains_key(&beside.join("journal")) {
        return Some("the mark has its name before the journal's folder has".to_owned());
    }
    let is_open = state.pending.iter().filter_map(|it| it.come.as_ref()).any(|(name, _)| is_segment(name));
    let newest = state.names.iter().rfind(|(name, _)| is_segment(name));
    let is_dirty = newest.is_some_and(|(_, id)| !state.files[*id].dirty.is_empty());
    let early = beside.ends_with("quarantine") && (is_open || is_dirty);
    early.then(|| format!("{}: before its segment is durable", to.display()))
}
