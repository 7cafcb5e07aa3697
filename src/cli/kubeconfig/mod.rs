//! Kubeconfigs as files of other people: read, added to and changed without touching what is not ours.
//!
//! [`node`] is a YAML value that keeps the order of its keys; [`document`] a file as text and as value, edited in both.
//! Writing a new one is [`crate::kube::kubeconfig`]'s work.

pub(super) mod command;
pub mod document;
mod lines;
mod node;

#[cfg(test)]
mod tests;
