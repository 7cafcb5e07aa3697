//! Shapes that Kubernetes speaks: text in, values out; no I/O and no policy.
//!
//! `status` is how an API server words a refusal; `identity` the headers that say on whose behalf a request is made,
//! and what becomes of such headers when a client sends them; `kubeconfig` the file that kubectl reads; `rbac` the rights
//! that the proxy's own account needs; `front_proxy` the certificates for an API server that believes the proxy itself.
//! Deliberately absent: every resource type beside those. A proxy that understood resources would have to follow their versions.

pub mod status;
pub mod identity;
pub mod kubeconfig;
pub mod rbac;
pub mod front_proxy;
