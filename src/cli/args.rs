//! What can be typed. Nothing here decides; what needs a clock, a file or the authority is checked where it is used.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::format::{Format, FormatParser};
use crate::config::duration;
use crate::config::url::ServiceUrl;
use crate::ident::{ClusterName, IdentityId};
use crate::x509::reason::Reason;
pub(super) use clusters::{BroughtCa, Cluster, RevokeCa, RotateCluster};
pub(super) use identities::{Agency, Delete, EditAgency, EditUser, Group, Lock, User};
pub(super) use kubernetes::{FrontProxyCa, Kubernetes, Rbac};
pub(super) use proxies::{Deny, Proxy, ProxyToken, RemoveProxy};
pub(super) use root::{Root, SignByRoot};
pub(super) use store::{Backup, Restore, Store, Verify, Where};

/// Issues Kubernetes user certificates, and stops them the moment they are revoked.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = false,
    max_term_width = 80
)]
#[command(after_help = "\
Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 durable but not yet enforced everywhere.

Try it out:  portcullis quickstart --dir try
Then:        export PORTCULLIS_PROFILE=$PWD/try/profile.toml
             portcullis user add ana --group developers
             portcullis kubeconfig ana --out ana.kubeconfig
             portcullis revoke user ana")]
pub(super) struct Cli {
    /// table, json, yaml, name or template='{{id}}'.
    #[arg(short, long, global = true, value_parser = FormatParser, hide_possible_values = true, value_name = "FORMAT")]
    pub(super) output: Option<Format>,
    /// Tables without their first line, and nothing at all for an empty list.
    #[arg(long, global = true)]
    pub(super) no_headers: bool,
    /// The profile to use: a name in ~/.config/portcullis/profiles, or a path [env: PORTCULLIS_PROFILE].
    #[arg(long, global = true, env = "PORTCULLIS_PROFILE", hide_env = true, value_name = "NAME|FILE")]
    pub(super) profile: Option<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run authority, proxy and a demo upstream in one process, in one folder.
    Quickstart(Quickstart),
    /// Make the authority's keys and its first admin.
    Init(Init),
    /// Run the authority.
    Serve(Serve),
    /// Get back in after being locked out.
    #[command(subcommand)]
    Recover(Recover),
    /// Issue a certificate.
    Issue(Issue),
    /// Issue a certificate as a kubeconfig.
    Kubeconfig(Kubeconfig),
    /// Renew the certificate in a file.
    Renew(Renew),
    /// Revoke all credentials of a user or an agency, or certificates, for good.
    #[command(subcommand)]
    Revoke(Revoke),
    /// Show whether a certificate stands.
    Status(Status),
    /// Users.
    #[command(subcommand)]
    User(User),
    /// Agencies: accounts with members, such as a contractor's or a CI system's.
    #[command(subcommand)]
    Agency(Agency),
    /// Groups.
    #[command(subcommand)]
    Group(Group),
    /// Clusters.
    #[command(subcommand)]
    Cluster(Cluster),
    /// Certificates on record.
    #[command(subcommand)]
    Cert(Cert),
    /// Proxies: letting them join, running one, whom it denies.
    #[command(subcommand)]
    Proxy(Proxy),
    /// What the API server behind a proxy has to be told.
    #[command(subcommand)]
    Kubernetes(Kubernetes),
    /// The authority's store on its host: backing it up, checking it, putting it back.
    #[command(subcommand)]
    Store(Store),
    /// The root's key: taking it off the authority's host, and signing with it where it is.
    #[command(subcommand)]
    Root(Root),
    /// Print completions for a shell.
    Completions(Completions),
    /// Write manual pages, one for each command.
    Man(Man),
}

#[derive(Debug, Args)]
#[command(after_help = "\
It is ready when DIR/addresses.json is there; stop it with Ctrl-C and start it again with the same command.
Port 0 takes any free port and keeps it in DIR.

Example:  portcullis quickstart --dir ./try")]
pub(super) struct Quickstart {
    /// The folder for everything; made if it is not there.
    #[arg(long, default_value = "portcullis-quickstart")]
    pub(super) dir: PathBuf,
    /// Where the management API listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7443")]
    pub(super) api_listen: SocketAddr,
    /// Where CRL, OCSP and CA certificates are served.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7080")]
    pub(super) public_listen: SocketAddr,
    /// Where the proxy listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7444")]
    pub(super) proxy_listen: SocketAddr,
    /// Where the demo upstream listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7445")]
    pub(super) upstream_listen: SocketAddr,
    /// Where the proxy's health is served.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7081")]
    pub(super) health_listen: SocketAddr,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The root signs itself unless a CA of your own signs it: --root-request first, then --root-cert. It must be allowed to sign
certificates and CRLs, and to have one CA below it.

Examples:  portcullis init --config authority.toml --admin ana --out ana.toml
           portcullis init --config authority.toml --root-request root.csr
           portcullis init --config authority.toml --root-cert root.pem")]
pub(super) struct Init {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
    /// Only write a request to have the root signed by a CA of your own, and end.
    #[arg(long, value_name = "FILE", conflicts_with = "root_cert")]
    pub(super) root_request: Option<PathBuf>,
    /// The root's certificate that was signed for that request, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) root_cert: Option<PathBuf>,
    /// The first admin.
    #[arg(long, value_name = "ID", default_value = "admin")]
    pub(super) admin: IdentityId,
    /// Where the first admin's profile is written; never over an existing file.
    #[arg(long, value_name = "FILE", default_value = "profile.toml")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:  portcullis serve --config /etc/portcullis/authority.toml")]
pub(super) struct Serve {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
    /// Accept the clock as it is, once and on the record, though the record has entries of a later time.
    #[arg(long)]
    pub(super) accept_clock: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Recover {
    /// Make a management certificate for one hour, on the authority's host, with the CA passphrase.
    Admin(RecoverAdmin),
}

#[derive(Debug, Args)]
pub(super) struct RecoverAdmin {
    /// The admin; made if it is not there.
    #[arg(value_name = "ID", default_value = "admin")]
    pub(super) id: IdentityId,
    /// The authority's configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
    /// The folder of a quickstart instead.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(super) dir: Option<PathBuf>,
    /// Where the profile is written; never over an existing file.
    #[arg(long, value_name = "FILE", default_value = "recovered.toml")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The key is made here unless --csr or --server-key is given; only its public half is sent.
Prints the key, the certificate and its issuer in PEM; with --management a profile.

Examples:  portcullis issue ana --out ana.pem
           portcullis issue ana --csr ana.csr
           portcullis issue ana --bundle --out ana.zip
           portcullis issue ana --management --out ana.toml")]
pub(super) struct Issue {
    /// To whom.
    pub(super) id: String,
    /// A certificate signing request; only its public key is used. - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "server_key")]
    pub(super) csr: Option<PathBuf>,
    /// For which cluster; may be left out where there is only one.
    #[arg(long, value_name = "NAME", conflicts_with = "management")]
    pub(super) cluster: Option<ClusterName>,
    /// How long it is valid, such as 12h or 30d; at most a year.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) lifetime: Option<Duration>,
    /// A zip file with the CA, the certificate, the key and a README.
    #[arg(long, conflicts_with = "management")]
    pub(super) bundle: bool,
    /// A management certificate: it speaks to the authority with its holder's roles.
    #[arg(long)]
    pub(super) management: bool,
    /// Let the authority make the key; it keeps no copy.
    #[arg(long)]
    pub(super) server_key: bool,
    /// Write here, readable by you alone, never over an existing file.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:  portcullis kubeconfig ana --out ana.kubeconfig
           portcullis kubeconfig ana --merge ~/.kube/config
           kubectl --kubeconfig ana.kubeconfig auth whoami")]
pub(super) struct Kubeconfig {
    /// To whom.
    pub(super) id: String,
    /// For which cluster; may be left out where there is only one.
    #[arg(long, value_name = "NAME")]
    pub(super) cluster: Option<ClusterName>,
    /// How long it is valid, such as 12h or 30d; at most a year.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) lifetime: Option<Duration>,
    /// Write here, readable by you alone, never over an existing file.
    #[arg(long, value_name = "FILE", conflicts_with = "merge")]
    pub(super) out: Option<PathBuf>,
    /// Put it into this kubeconfig, after a backup; everything else in it stays.
    #[arg(long, value_name = "FILE")]
    pub(super) merge: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
FILE is a kubeconfig, a profile, or PEM with a certificate and its key. It authenticates itself.
Its key is made anew, FILE is replaced at once, and what it was stays in FILE.backup-1, -2, …

Examples:  portcullis renew ana.kubeconfig --server https://ca.example.com:7443
           portcullis renew ~/.kube/config --context ana@prod
           portcullis renew ~/.config/portcullis/profiles/default.toml")]
pub(super) struct Renew {
    /// A kubeconfig, a profile, or PEM with a certificate and its key.
    pub(super) file: PathBuf,
    /// The context in the kubeconfig whose user is renewed; by default the current one.
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The address of the management API; by default the profile's.
    #[arg(long, value_name = "URL", value_parser = ServiceUrl::https)]
    pub(super) server: Option<ServiceUrl>,
    /// The CA of the management API in PEM; by default what FILE or the profile says.
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// How long it is valid, such as 12h or 30d; at most a year.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) lifetime: Option<Duration>,
}

#[derive(Debug, Subcommand)]
#[command(after_help = REVOKE_HELP)]
pub(super) enum Revoke {
    /// Everything that these users hold; IDs that were deleted or never seen are fine.
    #[command(after_help = REVOKE_HELP)]
    User(RevokeTargets),
    /// Everything that is held under these agencies, and what they hold themselves.
    #[command(after_help = REVOKE_HELP)]
    Agency(RevokeTargets),
    /// Certificates, by serial number, X509SHA256=…, or file.
    #[command(after_help = REVOKE_HELP)]
    Cert(RevokeTargets),
}

const REVOKE_HELP: &str = "\
It is final: what was revoked never gets in again. A new credential can be issued afterwards unless --lock is given.

Examples:  portcullis revoke user ana
           portcullis revoke user ana --yes --reason keyCompromise -o json
           portcullis revoke cert 0a1b…  --yes
           portcullis revoke agency contractor --dry-run";

#[derive(Debug, Args)]
pub(super) struct RevokeTargets {
    /// What to revoke.
    #[arg(required = true, value_name = "ID")]
    pub(super) ids: Vec<String>,
    #[command(flatten)]
    pub(super) how: RevokeHow,
    #[command(flatten)]
    pub(super) sure: Sure,
}

#[derive(Debug, Default, Args)]
pub(super) struct RevokeHow {
    /// On this cluster only.
    #[arg(long, value_name = "NAME")]
    pub(super) cluster: Option<ClusterName>,
    /// Also lock the identity, so that nothing new is issued.
    #[arg(long)]
    pub(super) lock: bool,
    /// Why, as RFC 5280 spells it, such as keyCompromise.
    #[arg(long)]
    pub(super) reason: Option<Reason>,
    /// Why, in your words.
    #[arg(long, value_name = "TEXT")]
    pub(super) comment: Option<String>,
    /// Even the last admin.
    #[arg(long)]
    pub(super) force: bool,
    /// Do not wait for the proxies.
    #[arg(long, conflicts_with = "wait")]
    pub(super) no_wait: bool,
    /// Wait at most this long for the proxies.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) wait: Option<Duration>,
}

/// What every destructive command takes.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Sure {
    /// Do not ask; for scripts.
    #[arg(long)]
    pub(super) yes: bool,
    /// Show what it would hit and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:  portcullis status 0a1b…
           portcullis status ana.kubeconfig")]
pub(super) struct Status {
    /// A serial number, X509SHA256=…, or a file with the certificate (PEM, kubeconfig or profile).
    #[arg(value_name = "SERIAL|X509SHA256=…|FILE")]
    pub(super) credential: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Cert {
    /// List certificates.
    #[command(after_help = "Example:  portcullis cert list --expiring 7d -o name")]
    List(CertList),
    /// Show a certificate.
    Show(Status),
    /// Put certificates on the record that a brought CA had issued before.
    #[command(after_help = "\
Each counts as issued before everything on the record: any cut-off of its holder kills it, an earlier one too. Its holder must
be there, and in every group that it carries. It gets in through the proxy, and cannot renew itself.

Example:  portcullis cert import --cluster old ana.crt bob.kubeconfig")]
    Import(CertImport),
}

#[derive(Debug, Args)]
pub(super) struct CertImport {
    /// Files in PEM or kubeconfigs; the first certificate in each is taken.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// The cluster; may be left out where there is only one.
    #[arg(long, value_name = "NAME")]
    pub(super) cluster: Option<ClusterName>,
}

#[derive(Debug, Args)]
pub(super) struct CertList {
    /// Of this identity only.
    #[arg(long)]
    pub(super) id: Option<String>,
    /// For this cluster only.
    #[arg(long, value_name = "NAME")]
    pub(super) cluster: Option<ClusterName>,
    /// Only what expires within this time.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) expiring: Option<Duration>,
    /// Also those of authorities, servers and OCSP responders.
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:  source <(portcullis completions bash)
           portcullis completions zsh > ~/.zfunc/_portcullis")]
pub(super) struct Completions {
    /// The shell.
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Pages that are there are written anew.

Examples:  portcullis man --out-dir ~/.local/share/man/man1
           man portcullis-revoke-user")]
pub(super) struct Man {
    /// The folder for the pages; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(super) out_dir: PathBuf,
}

const DEFAULT_CONFIG: &str = "/etc/portcullis/authority.toml";

mod clusters;
mod identities;
mod proxies;
mod kubernetes;
mod root;
mod store;
#[cfg(test)]
mod tests;
