//! What can be typed about proxies.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Sure;
use crate::ident::{AnyId, ClusterName, ProxyName};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Proxy {
    /// Run a proxy in front of an API server.
    #[command(after_help = "Example:  portcullis proxy run --config /etc/portcullis/proxy.toml")]
    Run(ProxyConfig),
    /// Print a string with which one proxy can join, once and within the hour.
    #[command(after_help = "Example:  portcullis proxy token --cluster prod --name prod-a")]
    Token(ProxyToken),
    /// Join the authority that made the string, on the proxy's host.
    #[command(after_help = "\
The keys are made here and stay here. From then on the proxy renews its certificates by itself.

Examples:  portcullis proxy join portcullis-join-1.eyJ…
           portcullis proxy join - < token")]
    Join(Join),
    /// List proxies and how far they are.
    List,
    /// Revoke a proxy's certificates, so that it follows no more.
    Remove(RemoveProxy),
    /// Refuse an ID at this proxy, on its host, also while the authority is away; without an ID, list whom.
    #[command(after_help = "\
A running proxy obeys within a second. It ends with --remove, and with nothing else.

Examples:  portcullis proxy deny ana
           portcullis proxy deny ana --remove
           portcullis proxy deny")]
    Deny(Deny),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ProxyConfig {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(in crate::cli) config: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ProxyToken {
    /// The cluster it will stand in front of.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) cluster: ClusterName,
    /// What it will be called; by default the cluster's name and six hex digits.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Option<ProxyName>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Join {
    /// What `portcullis proxy token` printed; - for standard input, so that it is in no list of processes.
    #[arg(value_name = "STRING")]
    pub(in crate::cli) string: String,
    /// The proxy's configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(in crate::cli) config: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveProxy {
    /// Its name.
    pub(in crate::cli) name: ProxyName,
    #[command(flatten)]
    pub(in crate::cli) sure: Sure,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Deny {
    /// A user or an agency.
    pub(in crate::cli) id: Option<AnyId>,
    /// Refuse it no more.
    #[arg(long, requires = "id")]
    pub(in crate::cli) remove: bool,
    /// The proxy's configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(in crate::cli) config: PathBuf,
}

const DEFAULT_CONFIG: &str = "/etc/portcullis/proxy.toml";
