//! Two connections that no longer speak HTTP: octets from one to the other until either ends or the client is cut.

use std::time::Duration;

use tokio::io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::net::http1::Switched;

use super::connections::{Leash, Register};
use super::lane::FarEnd;
use super::last_words::LastWords;

/// How one direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing more comes from its source.
    Read,
    /// Its destination takes nothing more.
    Write,
    /// The credential no longer stands.
    Cut,
}

/// Carries octets both ways; returns when both connections are closed.
///
/// A cut closes the one to the API server first and without a word, so that it never looks like an end that was meant.
/// The client's is closed within `cut_time` whatever it reads.
pub(super) async fn carry(near: Switched, far: FarEnd, register: &Register, leash: &Leash, cut_time: Duration) {
    let (mut words, mut no_words) = (far.last_words, None);
    let (mut from_client, mut to_client) = io::split(near.stream);
    let (mut from_server, mut to_server) = io::split(far.stream);
    let may_pass = || register.may_pass(leash);
    let end = {
        let mut up = Box::pin(pump(&near.early, &mut from_client, &mut to_server, &may_pass, &mut no_words));
        let mut down = Box::pin(pump(&far.early, &mut from_server, &mut to_client, &may_pass, &mut words));
        tokio::select! {
            biased;
            () = leash.until_cut() => End::Cut,
            end = down.as_mut() => end,
            end = up.as_mut() => match end {
                End::Read | End::Cut => end,
                // The API server has left, and what it said at last may still be on its way.
                End::Write => tokio::select! {
                    biased;
                    () = leash.until_cut() => End::Cut,
                    end = down.as_mut() => end,
                    () = tokio::time::sleep(LAST_WORDS_TIME) => end,
                },
            },
        }
    };
    if end != End::Cut {
        let closing = async {
            // Whoever takes no more is not waited for.
            let _ = tokio::time::timeout(cut_time, to_server.shutdown()).await;
            drop((from_server, to_server));
            let _ = tokio::time::timeout(cut_time, part(&mut from_client, &mut to_client)).await;
        };
        tokio::select! {
            () = leash.until_cut() => {}
            () = closing => {}
        }
        return;
    }
    drop((from_server, to_server));
    if let (Some(words), Some(refusal)) = (words, leash.refusal())
        && let Some(words) = words.goodbye(&refusal.failure(leash.user()))
    {
        let telling = async {
            to_client.write_all(&words).await?;
            to_client.shutdown().await
        };
        let _ = tokio::time::timeout(cut_time, telling).await;
    }
}

/// Passes on what came `early` and then what is read, piece by piece, each only while it may.
///
/// `words` follows what was written whole; it is gone while a piece is half written.
async fn pump(
    early: &[u8],
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    may_pass: &impl Fn() -> bool,
    words: &mut Option<LastWords>,
) -> End {
    let mut room = vec![0; PIECE];
    let mut piece = early;
    loop {
        if !may_pass() {
            return End::Cut;
        }
        let followed = words.take();
        if to.write_all(piece).await.is_err() || to.flush().await.is_err() {
            return End::Write;
        }
        *words = followed;
        if let Some(words) = words {
            words.follow(piece);
        }
        piece = match from.read(&mut room).await {
            Ok(0) | Err(_) => return End::Read,
            Ok(length) => room.get(..length).unwrap_or_default(),
        };
    }
}

/// Ends a connection and reads on until the peer does so too: closing a socket with unread octets resets it, and the
/// peer could lose what it has not read yet.
async fn part(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) {
    let mut room = vec![0; PIECE];
    if to.shutdown().await.is_ok() {
        while matches!(from.read(&mut room).await, Ok(length) if length > 0) {}
    }
}

/// The size of a TLS record.
const PIECE: usize = 16 * 1024;
/// A sentence and an exit code, over a slow line.
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);
