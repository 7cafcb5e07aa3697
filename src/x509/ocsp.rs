//! Online certificate status (RFC 6960, nonce as RFC 9654 has it): requests read, responses written.
//!
//! Deliberately absent: signed requests are read but their signature is not looked at; responderID by name; CRL
//! references; archive cutoff.

pub mod issuer;
pub mod request;
pub mod response;

#[cfg(test)]
mod tests;
