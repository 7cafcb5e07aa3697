//! Clusters and their issuing CAs, as they are typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Sure;
use crate::config::duration;
use crate::config::url::ServiceUrl;
use crate::ident::ClusterName;
use crate::x509::reason::Reason;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Cluster {
    /// Add a cluster.
    #[command(after_help = "\
The issuing CA is made here unless one is brought. No API server may trust it: whoever holds one of its certificates would
get in there without the proxy. kubeadm's CA is trusted by its API servers, and needs --shared-ca to say that this is
understood.

Examples:  portcullis cluster add prod --server https://prod.example.com:7444
           portcullis cluster add old --server https://old.example.com:7444 \\
             --ca-cert ca.crt --ca-key ca.key --shared-ca")]
    Add(AddCluster),
    /// List clusters.
    List,
    /// Show a cluster and its issuing CAs.
    Show(ClusterArg),
    /// Let a new issuing CA sign; what the earlier ones signed stands.
    #[command(after_help = "\
Every proxy is told of the new CA first, and it signs once each has confirmed that it knows it. Exit status 3: one has not,
and the present CA signs on; repeat the command.

Examples:  portcullis cluster rotate prod
           portcullis cluster rotate prod --ca-cert signed.pem")]
    Rotate(RotateCluster),
    /// Write a request for the next issuing CA, to be signed elsewhere; its key stays with the authority.
    #[command(after_help = "\
Have it signed as a CA, then hand the certificate in: cluster add --ca-cert for a new cluster, cluster rotate --ca-cert for
one that is there.

Example:  portcullis cluster request prod --out prod-2.csr")]
    Request(RequestCa),
    /// Revoke an issuing CA and everything that it signed, for good.
    #[command(
        name = "revoke-ca",
        after_help = "\
GENERATION is the number at the end of the CA's name: 2 for prod-2. It is final. If that CA signs for the cluster, rotate
afterwards: until then nothing can be issued there.

Example:  portcullis cluster revoke-ca prod 2 --reason keyCompromise"
    )]
    RevokeCa(RevokeCa),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AddCluster {
    /// The name: a DNS label of at most 40 characters.
    pub(in crate::cli) name: ClusterName,
    /// The address of its proxy.
    #[arg(long, value_name = "URL", value_parser = ServiceUrl::https)]
    pub(in crate::cli) server: ServiceUrl,
    /// A further name of its proxy; may be repeated.
    #[arg(long = "name", value_name = "DNS", id = "names")]
    pub(in crate::cli) names: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) ca: BroughtCa,
}

/// A CA of one's own.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct BroughtCa {
    /// The certificate, in PEM, of a CA of your own; or of one that was signed for `cluster request`.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca_cert: Option<PathBuf>,
    /// Its key in PEM, unencrypted; - for standard input. It is kept by the authority, under its passphrase.
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    pub(in crate::cli) ca_key: Option<PathBuf>,
    /// An API server trusts this CA too: revocations are not enforced at that API server itself.
    #[arg(long, requires = "ca_cert")]
    pub(in crate::cli) shared_ca: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ClusterArg {
    /// The name.
    pub(in crate::cli) name: ClusterName,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateCluster {
    /// The name.
    pub(in crate::cli) name: ClusterName,
    #[command(flatten)]
    pub(in crate::cli) ca: BroughtCa,
    /// Wait at most this long for the proxies.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(in crate::cli) wait: Option<Duration>,
    /// Let it sign at once, even where a proxy does not know it yet.
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RequestCa {
    /// The name of a cluster, or of one that is to be added.
    pub(in crate::cli) name: ClusterName,
    /// Write here, never over an existing file.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RevokeCa {
    /// The name of the cluster.
    pub(in crate::cli) name: ClusterName,
    /// The number at the end of the CA's name.
    pub(in crate::cli) generation: u32,
    /// Why, as RFC 5280 spells it, such as keyCompromise.
    #[arg(long)]
    pub(in crate::cli) reason: Option<Reason>,
    /// Why, in your words.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) comment: Option<String>,
    /// Do not wait for the proxies.
    #[arg(long, conflicts_with = "wait")]
    pub(in crate::cli) no_wait: bool,
    /// Wait at most this long for the proxies.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(in crate::cli) wait: Option<Duration>,
    #[command(flatten)]
    pub(in crate::cli) sure: Sure,
}
