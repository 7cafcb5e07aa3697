//! Stories over real sockets: a client with a certificate, the proxy, and an API server that writes down what it sees.

mod world;

mod bodies;
mod hygiene;
mod standing;
mod upgrades;
