//! Standing, read and written inside a transaction.
//!
//! What dies and what lives is decided by `standing`; this is where its facts are kept and asserted. `rows` has the
//! shapes on disk, `cuts` writes cut-offs, revocations and locks, `credentials` records certificates and reads whether
//! one stands,
//! `import` takes over what a restore had lost.

pub mod credentials;
pub mod cuts;
pub mod import;
pub mod rows;
