//! Following the authority: what it says is applied, enforced, confirmed, and kept on disk.
//!
//! Every second it is asked how far it is, and the moment of asking is noted. Once everything up to its answer is
//! enforced, the answers are fresh for the bound, counted from that moment. A history that is not the one known, or
//! that ends before it, is refused and shouted about: the authority was restored without a new era, or cloned. Whatever
//! goes wrong, the connection is made anew after a pause with jitter, and the answers age meanwhile.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::ident::ClusterName;
use crate::net::channel::{Writer, channel};
use crate::net::stop::Stop;
use crate::net::tls::ClientAnchors;
use crate::observe::Metrics;
use crate::standing::Revision;
use crate::status::frames::{
    Changes, Confirm, Cursor, Decoder, Down, Incident, ProxyHello, SnapshotPage, Up, VERSION, encode,
};
use crate::status::freshness::{Age, Freshness};
use crate::status::mirror::Mirror;
use crate::status::{Snapshot, Statuses};
use crate::world::{Clock, Entropy, Uptime, random};

use super::authority::{Authority, Connection, NoAnswer, Refused};
use super::connections::Register;
use super::hand_in;
use super::history::{Disbelief, check_changes, check_hello, check_snapshot};
use super::incidents::Incidents;

/// What following stands on.
#[derive(Debug)]
pub struct Link {
    /// The authority.
    pub authority: Arc<Authority>,
    /// The cluster.
    pub cluster: ClusterName,
    /// The answers that are kept up.
    pub statuses: Arc<Statuses>,
    /// Until when they may be used.
    pub freshness: Arc<Freshness>,
    /// Whose clients are let in.
    pub anchors: Arc<ClientAnchors>,
    /// What is kept on disk.
    pub mirror: Mirror,
    /// What was in the mirror.
    pub known: Option<Known>,
    /// Where what belongs on the record is put, and where it comes out.
    pub incidents: (Incidents, mpsc::Receiver<Incident>),
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for names and jitter.
    pub entropy: Arc<dyn Entropy>,
    /// How long a connection that is cut may take to end.
    pub cut_time: Duration,
}

/// How far a proxy has come, and under which authorities.
#[derive(Clone, Debug)]
pub struct Known {
    /// How far, in which history.
    pub cursor: Cursor,
    /// The cluster's issuing CAs in DER.
    pub authorities: Vec<Vec<u8>>,
}

/// How it is with the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// It is followed.
    Following,
    /// It cannot be reached, or left.
    Away(String),
    /// It tells a history that cannot be believed, or will not serve this proxy: somebody must look.
    Alarm(String),
}

/// Why a conversation ended.
#[derive(Debug)]
enum Ended {
    Away(String),
    Alarm(String),
}

impl From<NoAnswer> for Ended {
    fn from(error: NoAnswer) -> Self {
        Self::Away(error.0)
    }
}

impl From<Disbelief> for Ended {
    fn from(why: Disbelief) -> Self {
        Self::Alarm(why.to_string())
    }
}

fn away(why: impl fmt::Display) -> Ended {
    Ended::Away(why.to_string())
}

/// What is told of the feed.
#[derive(Debug)]
pub(super) struct FeedTally {
    conversations: Counter,
    alarms: Counter,
    is_following: Gauge,
}

impl FeedTally {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            conversations: metrics.counter("proxy_feed_connections", "Connections made to the authority's feed"),
            alarms: metrics.counter("proxy_feed_alarms", "Histories that were refused, and refusals by the authority"),
            is_following: metrics.gauge("proxy_feed_following", "1 while the authority's feed is followed"),
        }
    }
}

/// Follows until told to stop.
pub(super) async fn follow(
    link: Link,
    register: Arc<Register>,
    tally: FeedTally,
    state: watch::Sender<Conversation>,
    mut stop: Stop,
) {
    let Ok(instance) = random::<16>(&*link.entropy) else {
        state.send_replace(Conversation::Alarm("the random number generator failed".to_owned()));
        return;
    };
    let (enforced, watching) = watch::channel(None);
    let enforcing = tokio::spawn(keep_enforcing(Arc::clone(&link.statuses), Arc::clone(&register), enforced));
    let mut follower = Follower {
        link,
        register,
        instance,
        enforced: watching,
        pings: VecDeque::new(),
        answers: Vec::new(),
        page: None,
    };
    let mut pause = SHORTEST_PAUSE;
    loop {
        tally.conversations.inc();
        let ended = tokio::select! {
            () = stop.stopped() => break,
            ended = follower.converse(&state, &tally) => ended,
        };
        follower.link.authority.offer(None);
        tally.is_following.set(0);
        let was_following = *state.borrow() == Conversation::Following;
        match ended {
            Ended::Away(why) => {
                if was_following || !matches!(&*state.borrow(), Conversation::Away(_)) {
                    tracing::warn!(why, "the authority is not followed");
                }
                state.send_replace(Conversation::Away(why));
            }
            Ended::Alarm(why) => {
                tally.alarms.inc();
                tracing::error!(why, "what the authority says cannot be believed; look at it now");
                state.send_replace(Conversation::Alarm(why));
            }
        }
        pause = if was_following { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tokio::select! {
            () = stop.stopped() => break,
            () = sleep(jittered(pause, &*follower.link.entropy)) => {}
        }
    }
    enforcing.abort();
}

/// Between half of it and all of it: a thousand proxies do not come back at once.
fn jittered(pause: Duration, entropy: &dyn Entropy) -> Duration {
    let [octet] = random::<1>(entropy).unwrap_or([0]);
    pause / 2 + pause / 2 * u32::from(octet) / 255
}

/// Everything up to a revision is enforced; with the connections that each revision has ended since the last time.
type Enforced = Option<Revision>;

/// Waits, again and again, until what was applied is enforced.
async fn keep_enforcing(statuses: Arc<Statuses>, register: Arc<Register>, enforced: watch::Sender<Enforced>) {
    let mut progress = statuses.subscribe();
    loop {
        progress.mark_unchanged();
        if let Ok(reached) = statuses.reached_revision()
            && *enforced.borrow() != Some(reached)
        {
            match register.enforced(reached, A_LONG_TIME).await {
                Ok(_) => {
                    enforced.send_replace(Some(reached));
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, "a revision is not enforced");
                    continue;
                }
            }
        }
        if progress.changed().await.is_err() {
            return;
        }
    }
}

struct Follower {
    link: Link,
    register: Arc<Register>,
    instance: [u8; 16],
    enforced: watch::Receiver<Enforced>,
    /// Questions that are open, oldest first.
    pings: VecDeque<(u64, Uptime)>,
    /// Answers up to which not everything is enforced yet.
    answers: Vec<(Revision, Uptime)>,
    /// A snapshot that is not whole yet.
    page: Option<Snapshot>,
}

impl Follower {
    async fn converse(&mut self, state: &watch::Sender<Conversation>, tally: &FeedTally) -> Ended {
        match self.talk(state, tally).await {
            Ok(()) => away("the authority ended the feed"),
            Err(ended) => ended,
        }
    }

    async fn talk(&mut self, state: &watch::Sender<Conversation>, tally: &FeedTally) -> Result<(), Ended> {
        self.pings.clear();
        self.answers.clear();
        self.page = None;
        let connection = self.link.authority.connect().await?;
        let (up, body) = channel(FRAMES_WAITING);
        self.say(&up, &Up::Hello(self.hello())).await?;
        let mut down = self.open(&connection, body).await?;
        let hello = match down.next().await? {
            Some(Down::Hello(hello)) => hello,
            Some(Down::Refused(why)) => return Err(Ended::Alarm(why)),
            _ => return Err(away("wanted a hello as the first frame")),
        };
        check_hello(self.cursor(), &hello)?;
        for known in hand_in::pages(self.cursor(), &hello, &self.link.statuses) {
            self.say(&up, &Up::Known(known)).await?;
        }
        self.link.authority.offer(Some(&connection));
        tracing::info!(revision = %hello.revision, "following the authority");
        tally.is_following.set(1);
        state.send_replace(Conversation::Following);
        let mut ticks = interval(PING.min(self.link.freshness.bound() / 4));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut enforced = self.enforced.clone();
        enforced.mark_changed();
        let mut confirmed = None;
        loop {
            tokio::select! {
                frame = down.next() => match frame? {
                    Some(frame) => self.take(frame, hello.timeline).await?,
                    None => return Ok(()),
                },
                _ = ticks.tick() => self.ping(&up).await?,
                changed = enforced.changed() => {
                    changed.map_err(away)?;
                    let reached = *enforced.borrow_and_update();
                    // What is enforced was told by somebody; before this authority told anything it is no news to it.
                    if let Some(reached) = reached.filter(|reached| reached.era == hello.revision.era) {
                        self.confirm(&up, reached, &mut confirmed).await?;
                    }
                }
                Some(incident) = self.link.incidents.1.recv() => self.say(&up, &Up::Report(vec![incident])).await?,
            }
        }
    }

    fn hello(&self) -> ProxyHello {
        ProxyHello {
            version: VERSION,
            cluster: self.link.cluster.clone(),
            instance: self.instance,
            cursor: self.cursor(),
            bound: self.link.freshness.bound(),
            mode: self.link.freshness.mode(),
            cut_time: self.link.cut_time,
        }
    }

    async fn open(&self, connection: &Connection, body: crate::net::channel::ChannelBody) -> Result<Downward, Ended> {
        let opening = self.link.authority.open_feed(connection, body);
        let opened = tokio::time::timeout(SILENCE, opening).await.map_err(|_| away("no answer"))??;
        let body = opened.map_err(|Refused(why)| Ended::Alarm(why))?;
        Ok(Downward { body, decoder: Decoder::default() })
    }

    async fn say(&self, up: &Writer, frame: &Up) -> Result<(), Ended> {
        up.send(encode(frame).map_err(away)?).await.map_err(away)
    }

    fn cursor(&self) -> Option<Cursor> {
        self.link.known.as_ref().map(|known| known.cursor)
    }

    async fn take(&mut self, frame: Down, timeline: [u8; 16]) -> Result<(), Ended> {
        match frame {
            Down::Hello(_) => Err(away("the authority said hello twice")),
            Down::Refused(why) => Err(Ended::Alarm(why)),
            Down::Snapshot(page) => self.take_page(page, timeline).await,
            Down::Changes(changes) => self.take_changes(changes).await,
            Down::Pong { nonce, revision } => {
                let place = self.pings.iter().position(|(asked, _)| *asked == nonce);
                let (_, asked) =
                    place.and_then(|place| self.pings.remove(place)).ok_or_else(|| away("an answer to nothing"))?;
                self.answers.push((revision, asked));
                let enforced = *self.enforced.borrow();
                self.freshen(enforced);
                Ok(())
            }
        }
    }

    async fn take_page(&mut self, page: SnapshotPage, timeline: [u8; 16]) -> Result<(), Ended> {
        let (revision, is_last, authorities) = (page.revision, page.is_last, page.authorities.clone());
        check_snapshot(self.cursor(), revision)?;
        let snapshot = self.page.get_or_insert_default();
        snapshot.apply(page.into_changes().map_err(away)?);
        if !is_last {
            return Ok(());
        }
        let snapshot = self.page.take().unwrap_or_default();
        self.trust(&authorities)?;
        self.link.statuses.replace(snapshot, revision);
        self.link.known = Some(Known { cursor: Cursor { timeline, revision }, authorities });
        self.rewrite().await;
        Ok(())
    }

    async fn take_changes(&mut self, changes: Changes) -> Result<(), Ended> {
        let Some(known) = &mut self.link.known else { return Err(away("changes came before a snapshot")) };
        check_changes(known.cursor, changes.revision)?;
        known.cursor.revision = changes.revision;
        let authorities = changes.authorities.clone();
        if let Some(authorities) = &authorities {
            known.authorities.clone_from(authorities);
            self.trust(authorities)?;
        }
        self.link.statuses.apply(changes.changes.iter().cloned());
        // Kept before it counts, so that what is confirmed is in the mirror.
        let kept = self.link.mirror.append(&changes);
        self.link.statuses.reached(changes.revision);
        if let Err(error) = kept {
            tracing::error!(%error, "the mirror cannot be written");
            self.rewrite().await;
        } else if self.link.mirror.is_outgrown() {
            self.rewrite().await;
        }
        Ok(())
    }

    fn trust(&self, authorities: &[Vec<u8>]) -> Result<(), Ended> {
        let anchors: Vec<_> = authorities.iter().map(|der| CertificateDer::from(der.clone())).collect();
        self.link.anchors.replace(&anchors).map_err(away)
    }

    /// A mirror that cannot be written is as good as none: the next start waits for the authority.
    async fn rewrite(&mut self) {
        let Some(Known { cursor, authorities }) = self.link.known.clone() else { return };
        let (statuses, now) = (Arc::clone(&self.link.statuses), self.link.clock.now());
        let mut mirror = self.link.mirror.take();
        let written = spawn_blocking(move || {
            let written = mirror.rewrite(&statuses, cursor, &authorities, now);
            (mirror, written)
        });
        match written.await {
            Ok((mirror, written)) => {
                self.link.mirror = mirror;
                if let Err(error) = written {
                    tracing::error!(%error, "the mirror cannot be written: a restart would wait for the authority");
                }
            }
            Err(error) => tracing::error!(%error, "writing the mirror failed"),
        }
    }

    async fn ping(&mut self, up: &Writer) -> Result<(), Ended> {
        let now = self.link.freshness.uptime();
        let bound = self.link.freshness.bound();
        // An answer takes as long as it takes; one older than the bound would make nothing fresh.
        if self.pings.front().is_some_and(|(_, asked)| now.shortest_since(*asked) > bound) {
            return Err(away(format!("the authority was silent for {} s", bound.as_secs())));
        }
        let nonce = u64::from_be_bytes(random(&*self.link.entropy).map_err(away)?);
        self.pings.push_back((nonce, now));
        self.say(up, &Up::Ping { nonce }).await
    }

    async fn confirm(&mut self, up: &Writer, reached: Revision, confirmed: &mut Enforced) -> Result<(), Ended> {
        let closed = self.register.closed_between(*confirmed, reached);
        *confirmed = Some(reached);
        self.freshen(Some(reached));
        self.say(up, &Up::Confirm(Confirm { revision: reached, closed })).await
    }

    /// What was served on answers that were too old belongs on the record.
    fn report_staleness(&self) {
        if let Age::Tolerated(age) = self.link.freshness.age() {
            let until = self.link.clock.now();
            let since = until.before(age.saturating_sub(self.link.freshness.bound()));
            self.link.incidents.0.report(Incident::ServedStale { since, until });
        }
    }

    /// Counts every answer up to which everything is enforced.
    fn freshen(&mut self, enforced: Enforced) {
        let mut newest = None;
        self.answers.retain(|(revision, asked)| {
            let is_enforced = enforced.is_some_and(|enforced| *revision <= enforced);
            if is_enforced {
                newest = Some(*asked);
            }
            !is_enforced
        });
        let Some(asked) = newest else { return };
        self.report_staleness();
        self.link.freshness.confirm(asked);
        if let Some(known) = &self.link.known {
            let bound = self.link.freshness.bound();
            if let Err(error) = self.link.mirror.confirm(known.cursor.timeline, asked, bound) {
                tracing::warn!(%error, "the mirror cannot be confirmed");
            }
        }
    }
}

struct Downward {
    body: Incoming,
    decoder: Decoder,
}

impl Downward {
    async fn next(&mut self) -> Result<Option<Down>, Ended> {
        loop {
            if let Some(frame) = self.decoder.frame().map_err(away)? {
                return Ok(Some(frame));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(away(error)),
                Some(Ok(frame)) => {
                    if let Ok(octets) = frame.into_data() {
                        self.decoder.push(&octets);
                    }
                }
            }
        }
    }
}

const PING: Duration = Duration::from_secs(1);
/// How long the opening of the feed may take.
const SILENCE: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const A_LONG_TIME: Duration = Duration::from_secs(24 * 60 * 60);
const FRAMES_WAITING: usize = 16;
