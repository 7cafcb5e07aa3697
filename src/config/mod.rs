//! Reads what operators write: the files `authority.toml` and `proxy.toml`, the environment, and profiles.
//!
//! Layers, the later one wins: defaults, the file, the environment (`PORTCULLIS_<TABLE>_<KEY>`).
//! Every mistake is collected and told at once, with the key, what was wanted and what was found.
//! What comes out is checked; nothing outside this module sees a raw setting.
//! Read [`source`] for how, [`authority`] and [`proxy`] for what.

pub mod authority;
pub mod duration;
pub mod log;
pub mod manager;
pub mod passphrase;
pub mod profile;
pub mod proxy;
pub mod quickstart;
pub mod source;
pub mod url;
