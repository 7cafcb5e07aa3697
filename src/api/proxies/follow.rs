//! The feed of one proxy: frames up and down one HTTP/2 stream.
//!
//! Whoever follows is on the record before it is told anything, so that every revocation waits for it. A history that
//! is not ours, or one from our own future, ends the conversation and is shouted about: one of the two sides was
//! restored, cloned or replaced.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::timeout;

use super::hand_in;
use crate::access::{Actor, ProxyHolder};
use crate::api::Api;
use crate::api::management::revocations::blocking;
use crate::ca::proxies::instances::{Follow, Report};
use crate::ca::proxies::look::ClusterAuthorities;
use crate::command::{Code, Rejected};
use crate::net::channel::{ChannelBody, Writer, channel};
use crate::publish::feed::SnapshotPlace;
use crate::standing::Revision;
use crate::status::frames::{self, AuthorityHello, Changes, Cursor, Decoder, Down, ProxyHello, SPOKEN, Up, negotiate};
use crate::status::{Status, concerns};

/// `POST /v1/feed`: the answer's body goes on until either side leaves. Where it is refused, `unread` has the rest of the
/// request's body, which must be read before the refusal is sent.
pub async fn follow(
    api: Arc<Api>,
    actor: Actor,
    unread: &mut Option<Incoming>,
) -> Result<Response<ChannelBody>, Rejected> {
    let Actor::Proxy(holder) = actor else {
        return Err(Rejected::new(Code::Forbidden, "only a proxy follows the feed, with its own certificate"));
    };
    let body = unread.take().ok_or_else(|| Rejected::new(Code::Internal, "the body of a request was read before"))?;
    let mut up = Upstream { body, decoder: Decoder::default() };
    let (hello, version) = match greet(&api, &holder, &mut up).await {
        Ok(greeted) => greeted,
        Err(rejected) => {
            *unread = Some(up.body);
            return Err(rejected);
        }
    };
    let row = {
        let (api, holder, hello) = (Arc::clone(&api), holder.clone(), hello.clone());
        blocking(move || Ok(api.engine.run(&Actor::Proxy(holder), &Follow(hello))?.outcome)).await?
    };
    let (sender, receiver) = channel(FRAMES_WAITING);
    let connection = api.feed.connect(row);
    let instance = hello.instance;
    tracing::info!(proxy = %holder.name, instance = hex::encode(instance), "a proxy follows");
    let mut session = Session {
        api: Arc::clone(&api),
        down: Downstream(sender),
        holder: holder.clone(),
        instance,
        connection,
        version,
        sent: Revision::default(),
        owed: Revision::default(),
        authorities: Vec::new(),
        authorities_at: Revision::default(),
    };
    tokio::spawn(async move {
        let ended = session.run(up, hello.cursor).await;
        api.feed.disconnect(instance, connection);
        let why = ended.err().unwrap_or_else(|| "it left".to_owned());
        tracing::info!(proxy = %holder.name, instance = hex::encode(instance), why, "a proxy follows no more");
    });
    let mut response = Response::new(receiver);
    *response.status_mut() = StatusCode::OK;
    let kind = header::HeaderValue::from_static("application/vnd.portcullis.feed");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Who follows, if that is in order, and the version to speak.
async fn greet(api: &Api, holder: &ProxyHolder, up: &mut Upstream) -> Result<(ProxyHello, u16), Rejected> {
    let hello = match timeout(HELLO_TIME, up.next()).await {
        Ok(Ok(Some(Up::Hello(hello)))) => hello,
        Ok(Err(error)) => return Err(Rejected::invalid(error)),
        _ => return Err(Rejected::invalid("wanted a hello as the first frame of the feed")),
    };
    let version = version(hello.version)?;
    check(api, holder, &hello)?;
    Ok((hello, version))
}

/// The version to speak.
fn version(theirs: u16) -> Result<u16, Rejected> {
    negotiate(theirs, &SPOKEN).ok_or_else(|| {
        Rejected::invalid(format!(
            "wanted version {} to {} of the feed, found {theirs}: upgrade the proxy",
            SPOKEN.start(),
            SPOKEN.end()
        ))
    })
}

/// Whether the proxy's history can be gone on with.
fn check(api: &Api, holder: &ProxyHolder, hello: &ProxyHello) -> Result<(), Rejected> {
    if hello.cluster != holder.cluster {
        return Err(Rejected::invalid(format!(
            "{} is a proxy of {}, and its configuration says {}: change cluster.name, or join again",
            holder.name, holder.cluster, hello.cluster
        )));
    }
    let Some(Cursor { timeline, revision }) = hello.cursor else { return Ok(()) };
    let store = api.engine.store();
    let (end, ours) = (store.end(), store.timeline().0);
    let is_foreign = revision.era == end.era && timeline != ours;
    if is_foreign || revision > end {
        let proxy = &holder.name;
        tracing::error!(%proxy, %revision, %end, is_foreign, "a proxy knows of a history that is not ours");
        let what = if is_foreign { "another history of the same era" } else { "revisions that are not here" };
        return Err(Rejected::new(
            Code::Conflict,
            format!(
                "{proxy} has followed {what} (it is at {revision}, this authority at {end}): one of two clones, or a \
                 store that was put back without `portcullis store restore`"
            ),
        ));
    }
    Ok(())
}

/// A proxy that is being told.
struct Session {
    api: Arc<Api>,
    down: Downstream,
    holder: ProxyHolder,
    instance: [u8; 16],
    connection: u64,
    /// Which version of the frames is spoken; there is one so far.
    version: u16,
    /// Everything up to it was said.
    sent: Revision,
    /// A pong has said it, so that changes through it must follow.
    owed: Revision,
    authorities: Vec<Vec<u8>>,
    /// They are those of the record as it was then, or later.
    authorities_at: Revision,
}

impl Session {
    async fn run(&mut self, mut up: Upstream, cursor: Option<Cursor>) -> Result<(), String> {
        let api = Arc::clone(&self.api);
        let (mut progress, mut recalled) = (api.statuses.subscribe(), api.feed.recalled());
        let timeline = api.engine.store().timeline().0;
        let restored = hand_in::restored_to(&api, &self.holder).await?;
        let hello = AuthorityHello { version: self.version, timeline, revision: api.engine.store().end(), restored };
        self.down.send(&Down::Hello(hello)).await?;
        if restored.is_some() && cursor.is_some_and(|cursor| cursor.revision.era < hello.revision.era) {
            // Before it is told anything: what it knows and we had lost is then in what it is told.
            hand_in::receive(&api, &self.holder, &mut up).await?;
        }
        self.authorities_at = api.feed.tail.authority();
        self.authorities = self.read_authorities().await?;
        match cursor.filter(|cursor| cursor.timeline == timeline && api.feed.tail.after(cursor.revision).is_some()) {
            Some(cursor) => {
                self.sent = cursor.revision;
                let authorities = Some(self.authorities.clone());
                let changes = Changes { revision: self.sent, authorities, changes: Vec::new() };
                self.down.send(&Down::Changes(changes)).await?;
            }
            None => self.send_snapshot().await?,
        }
        loop {
            self.send_changes().await?;
            tokio::select! {
                frame = up.next() => match frame? {
                    Some(frame) => self.take(frame).await?,
                    None => return Ok(()),
                },
                changed = progress.changed() => changed.map_err(|_| "the authority is stopping")?,
                _ = recalled.changed() => {
                    if api.feed.is_closed() {
                        return Err("the authority is stopping".to_owned());
                    }
                    self.look_again().await?;
                }
            }
        }
    }

    async fn take(&mut self, frame: Up) -> Result<(), String> {
        match frame {
            Up::Hello(_) => return Err("it said hello twice".to_owned()),
            Up::Known(_) => return Err("it handed something in that nobody had asked for".to_owned()),
            Up::Ping { nonce } => {
                self.must_stand()?;
                let store = self.api.engine.store();
                let durable = self.api.feed.ping(self.instance, self.connection, || store.end());
                let revision = durable.ok_or("another connection of the same process took its place")?;
                self.owed = self.owed.max(revision);
                self.down.send(&Down::Pong { nonce, revision }).await?;
            }
            Up::Confirm(confirm) => self.api.feed.confirm(self.instance, &confirm),
            Up::Report(incidents) => {
                let (api, holder) = (Arc::clone(&self.api), self.holder.clone());
                let report = Report { cluster: holder.cluster.clone(), incidents };
                let reported = blocking(move || api.engine.run(&Actor::Proxy(holder), &report).map(drop)).await;
                reported.map_err(|rejected| rejected.detail)?;
            }
        }
        Ok(())
    }

    /// Whether the certificate that it came with still stands; one that has a newer one comes back with that.
    fn must_stand(&self) -> Result<(), String> {
        let now = self.api.engine.world().clock.now();
        match self.api.statuses.status(&self.holder.fingerprint, now) {
            Ok(Status::Good) => Ok(()),
            Ok(_) => Err("its certificate does not stand any more".to_owned()),
            Err(stale) => Err(stale.to_string()),
        }
    }

    /// Says what has happened; nothing where nothing concerns the proxy and nothing is owed.
    async fn send_changes(&mut self) -> Result<(), String> {
        let Ok(reached) = self.api.statuses.reached_revision() else { return Ok(()) };
        if reached <= self.sent {
            return Ok(());
        }
        let Some(batches) = self.api.feed.tail.after(self.sent) else {
            // So far behind that a snapshot is shorter.
            return self.send_snapshot().await;
        };
        let revision = batches.last().map_or(self.sent, |batch| batch.revision);
        let authorities = self.changed_authorities().await?;
        let changes = batches.iter().flat_map(|batch| batch.changes.iter());
        let changes: Vec<_> = changes.filter(|change| concerns(change, &self.holder.cluster)).cloned().collect();
        if changes.is_empty() && authorities.is_none() && self.owed <= self.sent {
            return Ok(());
        }
        for part in split(changes) {
            let is_last = part.is_last;
            let revision = if is_last { revision } else { self.sent };
            let authorities = authorities.clone().filter(|_| is_last);
            let changes = Changes { revision, authorities, changes: part.changes };
            self.down.send(&Down::Changes(changes)).await?;
        }
        self.sent = revision;
        Ok(())
    }

    /// The authorities, where one was put on the record since they were sent: with the changes up to then, so that a proxy
    /// that confirms these lets that one's certificates in.
    async fn changed_authorities(&mut self) -> Result<Option<Vec<Vec<u8>>>, String> {
        let newest = self.api.feed.tail.authority();
        if newest <= self.authorities_at {
            return Ok(None);
        }
        let authorities = self.read_authorities().await?;
        self.authorities_at = newest;
        if authorities == self.authorities {
            return Ok(None);
        }
        self.authorities.clone_from(&authorities);
        Ok(Some(authorities))
    }

    async fn send_snapshot(&mut self) -> Result<(), String> {
        self.changed_authorities().await?;
        let revision = self.api.statuses.reached_revision().map_err(|stale| stale.to_string())?;
        let mut place = SnapshotPlace::beginning(revision, self.authorities.clone());
        loop {
            let now = self.api.engine.world().clock.now();
            let Some(page) = self.api.feed.snapshot(&self.holder.cluster, now, &mut place) else { break };
            self.down.send(&Down::Snapshot(page)).await?;
        }
        self.sent = revision;
        Ok(())
    }

    /// Whether it may go on, and under which authorities.
    async fn look_again(&mut self) -> Result<(), String> {
        let authorities = match self.read_authorities().await {
            Ok(authorities) => authorities,
            Err(why) => {
                self.down.send(&Down::Refused(why.clone())).await?;
                return Err(why);
            }
        };
        if authorities != self.authorities {
            self.authorities = authorities.clone();
            let changes = Changes { revision: self.sent, authorities: Some(authorities), changes: Vec::new() };
            self.down.send(&Down::Changes(changes)).await?;
        }
        Ok(())
    }

    async fn read_authorities(&self) -> Result<Vec<Vec<u8>>, String> {
        let (api, holder) = (Arc::clone(&self.api), self.holder.clone());
        let query = ClusterAuthorities(holder.cluster.clone());
        let found = blocking(move || Ok(api.engine.ask(&Actor::Proxy(holder), &query)?.outcome)).await;
        found.map_err(|rejected| rejected.detail)
    }
}

struct Part {
    changes: Vec<crate::status::Change>,
    is_last: bool,
}

/// Parts that each fit a frame; at least one.
fn split(mut changes: Vec<crate::status::Change>) -> Vec<Part> {
    let mut parts = Vec::new();
    while changes.len() > CHANGES_IN_A_FRAME {
        let rest = changes.split_off(CHANGES_IN_A_FRAME);
        parts.push(Part { changes: std::mem::replace(&mut changes, rest), is_last: false });
    }
    parts.push(Part { changes, is_last: true });
    parts
}

pub(super) struct Upstream {
    body: Incoming,
    decoder: Decoder,
}

impl Upstream {
    /// The next frame; none when the proxy has left.
    pub(super) async fn next(&mut self) -> Result<Option<Up>, String> {
        loop {
            if let Some(frame) = self.decoder.frame().map_err(|error| error.to_string())? {
                return Ok(Some(frame));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => {
                    if let Ok(octets) = frame.into_data() {
                        self.decoder.push(&octets);
                    }
                }
            }
        }
    }
}

struct Downstream(Writer);

impl Downstream {
    async fn send<T: Serialize + Sync>(&self, frame: &T) -> Result<(), String> {
        let octets = frames::encode(frame).map_err(|error| error.to_string())?;
        self.0.send(octets).await.map_err(|error| error.to_string())
    }
}

const HELLO_TIME: Duration = Duration::from_secs(10);
/// Frames that wait for the network.
const FRAMES_WAITING: usize = 8;
/// Some 200 octets each.
const CHANGES_IN_A_FRAME: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_a_newer_version_is_answered_in_ours_and_one_that_is_too_old_is_told_what_to_do() {
        assert_eq!((version(1), version(2)), (Ok(1), Ok(1)));
        let refused = version(0).unwrap_err();
        assert_eq!(refused.code, Code::Invalid);
        assert!(refused.detail.contains("found 0: upgrade the proxy"), "{}", refused.detail);
    }
}
