//! What a cluster's owner sets up at the API server, as it is typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ident::{GroupName, IdentityId};
use crate::kube::rbac::{RoleName, ServiceAccount, UserName};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Kubernetes {
    /// Print what the proxy's account needs at the API server, for kubectl apply.
    Rbac(Rbac),
    /// Make a CA and a client certificate with which an API server believes the proxy about who users are.
    FrontProxyCa(FrontProxyCa),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Prints YAML with comments; with -o json a List. Without --group, the groups are those of the authority.
Apply it again when there are new groups.

Examples:  portcullis kubernetes rbac | kubectl apply -f -
           portcullis kubernetes rbac --group dev --service-account ops/proxy")]
pub(in crate::cli) struct Rbac {
    /// A group that users may carry; may be repeated. Asks no authority.
    #[arg(long = "group", value_name = "GROUP")]
    pub(in crate::cli) groups: Vec<GroupName>,
    /// The service account whose token the proxy has.
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "portcullis/portcullis-proxy")]
    pub(in crate::cli) service_account: ServiceAccount,
    /// The user of the proxy's client certificate, where it has one instead of a token.
    #[arg(long, value_name = "NAME", conflicts_with = "service_account")]
    pub(in crate::cli) user: Option<UserName>,
    /// The name of the ClusterRole and of its binding.
    #[arg(long, value_name = "NAME", default_value = "portcullis-proxy")]
    pub(in crate::cli) cluster_role_name: RoleName,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Makes DIR/front-proxy-ca.key and .crt, and DIR/NAME.key and .crt for the proxy, readable by you alone; prints the
settings of kube-apiserver and of the proxy. Nothing is overwritten. With a CA in DIR already, the proxy's certificate is
made with that one: this renews it, once the old NAME.key and NAME.crt are moved away.

Example:  portcullis kubernetes front-proxy-ca --out-dir front-proxy")]
pub(in crate::cli) struct FrontProxyCa {
    /// The folder; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out_dir: PathBuf,
    /// The proxy's name in its certificate, which the API server is told to allow.
    #[arg(long, value_name = "NAME", default_value = "portcullis-proxy")]
    pub(in crate::cli) name: IdentityId,
}
