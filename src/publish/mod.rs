//! Followers that tell the world: the authority's own statuses, CRLs and OCSP answers.
//!
//! All of them derive from the journal, by way of one follower ([`statuses`]) that keeps two things in memory: the
//! [`Statuses`](crate::status::Statuses) that decide, and the [`Roll`](roll::Roll) of serials by issuer that formats
//! with serial numbers need. [`crl`] and [`ocsp`] read both and never the store. [`kept`] has both on disk, for the next
//! start.

pub mod feed;
pub mod crl;
pub mod kept;
pub mod ocsp;
pub mod roll;
pub mod statuses;
