//! The rows of proxies, of the tokens with which they join, and of their processes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ident::{ClusterName, Fingerprint, ProxyName};
use crate::status::freshness::Mode;
use crate::store::record::{Record, Table};
use crate::world::Timestamp;

/// A proxy that has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyRow {
    /// What it is called.
    pub name: ProxyName,
    /// The cluster it stands in front of.
    pub cluster: ClusterName,
    /// When it joined last.
    pub joined: Timestamp,
    /// Its newest certificate for following.
    pub certificate: Fingerprint,
    /// Whether it may follow no more.
    pub is_removed: bool,
}

impl Record for ProxyRow {
    const TABLE: Table = Table::Proxy;
    type Key = ProxyName;
}

/// A token with which one proxy may join once; found by the SHA-256 of its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenRow {
    /// What the proxy will be called.
    pub proxy: ProxyName,
    /// The cluster it is for.
    pub cluster: ClusterName,
    /// The last moment at which it can be used.
    pub expires: Timestamp,
}

impl Record for JoinTokenRow {
    const TABLE: Table = Table::JoinToken;
    type Key = [u8; 32];
}

/// A process of a proxy that may serve on what it knows. Its absence says that nobody need wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRow {
    /// The random name of the process.
    pub instance: [u8; 16],
    /// What the proxy is called.
    pub proxy: ProxyName,
    /// The cluster it stands in front of.
    pub cluster: ClusterName,
    /// How long its answers are fresh.
    pub bound: Duration,
    /// What it does after that.
    pub mode: Mode,
    /// How long a connection that it cuts may take to end.
    pub cut_time: Duration,
    /// When it came last; so a process that has come back is told apart from the one that was gone.
    pub since: Timestamp,
}

impl Record for InstanceRow {
    const TABLE: Table = Table::ProxyInstance;
    type Key = [u8; 16];
}
