//! The authorities: their keys, what they sign, and what is remembered of it.
//!
//! From a checked request to a certificate in four steps, none of which can be left out: a template says what the
//! certificate looks like, `lint` reads it back and refuses what breaks a rule, the issuer's key signs what was linted,
//! and the record is committed before the certificate leaves the process. A signature lost to a conflict is dropped
//! unseen.
//!
//! `rows` has the shapes on disk, `keys` the keys in memory, `vault` the key files, `template` the looks, `lint` the
//! rules, `sign` the last step; `source` says where a cluster's CA comes from, `brought` what one of somebody else's must
//! be, `authorities` puts it on the record; `issue`, `import`, `upkeep`, `retention`, `init`, `clusters`, `rotation`
//! and `detach` are the wishes, `look` the questions.

pub mod authorities;
mod brought;
pub mod clusters;
pub mod detach;
pub mod import;
pub mod init;
pub mod issue;
pub mod keys;
pub mod lint;
pub mod look;
pub mod proxies;
pub mod retention;
pub mod rotation;
pub mod rows;
pub mod sign;
pub mod source;
pub mod template;
pub mod upkeep;
pub mod vault;
