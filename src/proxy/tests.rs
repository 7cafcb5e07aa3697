//! Stories over real sockets: a client with a certificate, the proxy, and an API server that writes down what it sees.

mod answers;
mod client2;
mod world;

mod bodies;
mod http2;
mod pooling;
mod remote;
mod replacing;
mod hygiene;
mod matrix;
mod standing;
mod upgrades;
