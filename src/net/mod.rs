//! What every listener and every client of the product shares: TLS, dialling, listening, limits.
//!
//! It knows bytes, sockets and certificates as DER, and nothing about who may do what: the certificates that a client
//! presented are handed to the handler, which judges them.
//!
//! # A server with mutual TLS
//! ```ignore
//! let serving = Serving::new(chain, key)?;                  // swappable: serving.replace(chain, key)
//! let anchors = ClientAnchors::new(&issuing_cas)?;          // swappable: anchors.replace(&issuing_cas)
//! let config = tls::server_config(&serving, Some(&anchors), Versions::Tls13, clock)?;
//! let (stopper, stop) = stop::channel();
//! let listener = listen::bind(address).await?;
//! tokio::spawn(listen::serve(listener, config, Arc::new(handler), Limits::default(), stop));
//! // … later
//! stopper.stop();
//! ```
//! A [`Handler`](listen::Handler) gets each connection once its handshake is done, with the [`Peer`](listen::Peer): its
//! address and the certificates it sent (leaf first; none is possible, and is answered with words by the handler).
//! For HTTP it hands the stream to [`http1::serve`] together with a hyper service:
//! ```ignore
//! impl Handler for Api {
//!     fn handle(self: Arc<Self>, stream: Stream, peer: Peer, stop: Stop) -> BoxFuture {
//!         Box::pin(async move {
//!             let service = hyper::service::service_fn(move |request| Arc::clone(&self).answer(peer.clone(), request));
//!             http1::serve(stream, service, http1::Limits::default(), stop).await;
//!         })
//!     }
//! }
//! ```
//! Where the service answers 101, [`http1::serve`] hands the connection back for the other protocol. A listener whose
//! configuration went through [`tls::offering_http2`] hands its streams to [`http::serve`] instead, which speaks whichever
//! HTTP was agreed on.
//! [`listen::serve_plain`] is the same without TLS. Both return once `stop` was called and every connection has ended,
//! after [`Limits::grace`](listen::Limits) at the latest.
//!
//! # A client
//! ```ignore
//! let config = tls::client_config(&anchors, Some((chain, key)))?;
//! let stream = dial::connect("localhost", 7443, config, "localhost", Duration::from_secs(5)).await?;
//! ```
//!
//! Deliberately absent: session resumption in both directions, because a resumed session skips the check of the
//! client's certificate; early data; HTTP/2 where it was not agreed on in the handshake (h2c).

pub mod stop;
pub mod tls;
pub mod dial;
pub mod listen;
pub mod channel;
pub mod within;
pub mod http1;
pub mod http2;
pub mod http;

#[cfg(test)]
pub(crate) mod fixtures;
