//! Shapes that Kubernetes speaks: text in, values out; no I/O and no policy.
//!
//! `status` is how an API server words a refusal; `identity` the headers that say on whose behalf a request is made,
//! and what becomes of such headers when a client sends them; `kubeconfig` the file that kubectl reads.
//! Deliberately absent: every resource type. A proxy that understood resources would have to follow their versions.

pub mod status;
pub mod identity;
pub mod kubeconfig;
