//! The store on the authority's host: backing it up, looking whether it is whole, putting it back.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::args;
use super::confirm::Asking;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::format::Format;
use super::output::{self, Sheet, Shown};
use super::settings;
use crate::app;
use crate::app::backup::{self, Manifest};
use crate::app::restore::{self, Ended, Preview, Wish};
use crate::app::verify::{self, Found, Rebuilt};
use crate::world::World;

pub(super) fn run(context: &Context, command: args::Store) -> Result<Exit, Failure> {
    match command {
        args::Store::Backup(args) => take(context, &args),
        args::Store::Verify(args) => look(context, &args),
        args::Store::Restore(args) => put_back(context, args),
        args::Store::Rebuild(place) => rebuild(context, &place),
    }
}

fn take(context: &Context, args: &args::Backup) -> Result<Exit, Failure> {
    let places = settings::places(&args.place)?;
    let now = World::system().clock.now();
    let mut progress = Progress::new("copying");
    let manifest = backup::take(&places, &args.out, now, &mut |done| progress.tell(done)).map_err(Failure::failed)?;
    progress.end();
    output::print(context.format(), &manifest)?;
    output::words(&format!(
        "{} is a backup up to revision {}; the passphrase of its keys is not in it: keep that elsewhere",
        args.out.display(),
        manifest.revision
    ));
    Ok(Exit::Done)
}

fn look(context: &Context, args: &args::Verify) -> Result<Exit, Failure> {
    let found = match &args.backup {
        Some(folder) => verify::backup(folder),
        None => verify::store(&settings::places(&args.place)?),
    };
    let found = found.map_err(Failure::failed)?;
    output::print(context.format(), &found)?;
    found.notes.iter().for_each(|note| output::words(note));
    if found.damage.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::failed(format!("this is not whole: {}", found.damage.join("; "))))
}

fn rebuild(context: &Context, place: &args::Where) -> Result<Exit, Failure> {
    let places = settings::places(place)?;
    let progress = Arc::new(Mutex::new(Progress::new("reading the journal")));
    let theirs = Arc::clone(&progress);
    let tell = move |done| theirs.lock().unwrap_or_else(PoisonError::into_inner).tell(done);
    let rebuilt = verify::rebuild_index(&places, &World::system(), tell).map_err(Failure::failed)?;
    progress.lock().unwrap_or_else(PoisonError::into_inner).end();
    output::print(context.format(), &rebuilt)?;
    output::words(if rebuilt.is_same {
        "the index is made anew, and is what it was"
    } else {
        "the index is made anew; what was there before was not the same"
    });
    Ok(Exit::Done)
}

fn put_back(context: &Context, args: args::Restore) -> Result<Exit, Failure> {
    let asking = Asking::new(args.sure)?;
    let places = settings::places(&args.place)?;
    let wish = Wish::new(places, args.from, args.lists, args.accept_rollback);
    let (mut progress, mut refused) = (Progress::new("copying"), None);
    let ended = restore::restore(&wish, &World::system(), &mut |done| progress.tell(done), &mut |preview| match agree(
        context, asking, preview,
    ) {
        Ok(is_agreed) => is_agreed,
        Err(failure) => {
            refused = Some(failure);
            false
        }
    });
    progress.end();
    let ended = ended.map_err(Failure::failed)?;
    match (ended, refused) {
        (_, Some(failure)) => return Err(failure),
        (Ended::Declined, None) => output::words("nothing was changed"),
        (Ended::Restored(end), None) => output::words(&format!(
            "restored; the new era is at revision {end}. Start the authority; unlock whoever has been looked at: \
             `portcullis user unlock ID`, and `portcullis recover admin` if nobody can get in"
        )),
        (Ended::GoneOn, None) => output::words(
            "a restore that was interrupted is done now: the store that was made then is in place. To restore another \
             backup, run this again",
        ),
    }
    Ok(Exit::Done)
}

/// Shows what will be, and asks.
fn agree(context: &Context, asking: Asking, preview: &Preview) -> Result<bool, Failure> {
    match context.format() {
        Format::Table { .. } => output::aside(&preview.table()),
        _ => output::print(context.format(), preview)?,
    }
    if asking == Asking::OnlyShow {
        return Ok(false);
    }
    let locked = preview.taken_over.locked.len();
    asking.typed_word(
        &format!(
            "This puts the store back to revision {}; {locked} identities are locked until somebody has looked.",
            preview.backup
        ),
        "RESTORE",
    )?;
    Ok(true)
}

impl Shown for Manifest {
    fn names(&self) -> Vec<String> {
        vec![self.revision.clone()]
    }

    fn table(&self) -> Sheet {
        let count = |folder: &str| self.files.iter().filter(|file| file.name.starts_with(folder)).count().to_string();
        let octets: u64 = self.files.iter().map(|file| file.octets).sum();
        Sheet::pairs(vec![
            ("Revision", self.revision.clone()),
            ("Taken", self.taken.clone()),
            ("Segments", count("journal/")),
            ("Keys", count("ca/")),
            ("Lists", count("crl/")),
            ("Octets", octets.to_string()),
        ])
    }
}

impl Shown for Found {
    fn names(&self) -> Vec<String> {
        vec![self.revision.clone()]
    }

    fn table(&self) -> Sheet {
        let segments: Vec<String> = self
            .segments
            .iter()
            .map(|found| format!("{}: {} commits to {}", found.file, found.commits, found.end))
            .collect();
        Sheet::pairs(vec![
            ("Folder", self.folder.clone()),
            ("Journal", segments.join("\n")),
            ("Commits", self.commits.to_string()),
            ("Facts", self.facts.to_string()),
            ("Revision", self.revision.clone()),
            ("Must reach", self.must_reach.clone()),
            ("Checkpoint", self.checkpoint.clone().unwrap_or_default()),
            ("Damage", self.damage.join("\n")),
        ])
    }
}

impl Shown for Rebuilt {
    fn names(&self) -> Vec<String> {
        vec![self.after.clone()]
    }

    fn table(&self) -> Sheet {
        let before = match (&self.before, &self.before_revision) {
            (Some(hash), Some(revision)) => format!("{hash} at {revision}"),
            _ => "not whole".to_owned(),
        };
        Sheet::pairs(vec![
            ("Before", before),
            ("Now", format!("{} at {}", self.after, self.revision)),
            ("Records", self.records.to_string()),
        ])
    }
}

impl Shown for Preview {
    fn names(&self) -> Vec<String> {
        self.taken_over.locked.clone()
    }

    fn table(&self) -> Sheet {
        let taken = &self.taken_over;
        let taken_over = format!(
            "{} cut-offs, {} revoked certificates, {} that are not on the record, {} locks, {} deletions, {} roles",
            taken.cut_offs, taken.revocations, taken.serials, taken.locks, taken.deletions, taken.roles
        );
        Sheet::pairs(vec![
            ("Backup", format!("{}, taken {}", self.backup, self.taken)),
            ("Newest", self.newest.clone()),
            ("Told by", self.witnesses.join("\n")),
            ("Known to", self.known_to.clone().unwrap_or_default()),
            ("New era", self.era.to_string()),
            ("Taken over", taken_over),
            ("Locked", taken.locked.join(", ")),
            ("Lost", self.lost.join("\n")),
            ("Keys put back", self.keys.join(", ")),
            ("Moved to", self.replaced.as_ref().map(|path| path.display().to_string()).unwrap_or_default()),
        ])
    }
}

/// Says how far something is, once a second, after the first, to whoever sits at a terminal.
struct Progress {
    what: &'static str,
    began: Instant,
    said: Option<Instant>,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self { what, began: Instant::now(), said: None }
    }

    fn tell(&mut self, progress: app::Progress) {
        let app::Progress { done, of } = progress;
        let now = Instant::now();
        if now.duration_since(self.said.unwrap_or(self.began)) < SECOND || !std::io::stderr().is_terminal() {
            return;
        }
        self.said = Some(now);
        let percent = done.saturating_mul(100).checked_div(of).unwrap_or(100).min(100);
        let spent = now.duration_since(self.began).as_secs();
        let left = spent.saturating_mul(100 - percent).checked_div(percent.max(1)).unwrap_or_default();
        let line = format!("\r{}: {done} of {of} octets, {percent} %, {left} s left ", self.what);
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn end(&self) {
        if self.said.is_some() {
            output::words("");
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
