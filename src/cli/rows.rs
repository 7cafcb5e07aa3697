//! How each of the API's bodies looks as a table and as names.

use super::output::{List, Sheet, Shown};
use crate::api::wire;

impl Shown for List<wire::Certificate> {
    fn names(&self) -> Vec<String> {
        self.items.iter().map(|certificate| certificate.serial.clone()).collect()
    }

    fn table(&self) -> Sheet {
        certificates(&self.items)
    }
}

/// A list of certificates; the serial number stays in one piece.
pub(super) fn certificates(certificates: &[wire::Certificate]) -> Sheet {
    let rows = certificates.iter().map(|found| {
        vec![found.serial.clone(), found.id.clone(), place(found), found.status.state.clone(), day(&found.not_after)]
    });
    let header = ["SERIAL", "ID", "CLUSTER", "STATE", "UNTIL"];
    Sheet::list(&header, "no certificates", rows.collect()).keeping_whole(0)
}

impl Shown for wire::Certificate {
    fn names(&self) -> Vec<String> {
        vec![self.serial.clone()]
    }

    fn table(&self) -> Sheet {
        let status = &self.status;
        Sheet::pairs(vec![
            ("State", status.state.clone()),
            ("Since", status.since.clone().unwrap_or_default()),
            ("Reason", status.reason.clone().unwrap_or_default()),
            ("ID", self.id.clone()),
            ("Cluster", self.cluster.clone().unwrap_or_default()),
            ("Role", self.role.clone()),
            ("Groups", self.groups.join(", ")),
            ("Agency", self.agency.clone().unwrap_or_default()),
            ("Serial", self.serial.clone()),
            ("Credential", self.credential_id.clone()),
            ("Issuer", self.issuer.clone()),
            ("Valid from", self.not_before.clone()),
            ("Valid until", self.not_after.clone()),
            ("Recorded in", self.revision.clone()),
            ("Status as of", status.revision.clone()),
        ])
    }
}

impl Shown for wire::IssueAnswer {
    fn names(&self) -> Vec<String> {
        self.certificate.names()
    }

    fn table(&self) -> Sheet {
        self.certificate.table()
    }
}

impl Shown for List<wire::Identity> {
    fn names(&self) -> Vec<String> {
        self.items.iter().map(|identity| identity.id.clone()).collect()
    }

    fn table(&self) -> Sheet {
        let rows = self.items.iter().map(|found| {
            let agency = found.agency.clone().unwrap_or_default();
            let locked = found.locked.join(", ") + since(found);
            vec![found.id.clone(), found.groups.join(", "), agency, found.roles.join(", "), locked]
        });
        Sheet::list(&["ID", "GROUPS", "AGENCY", "ROLES", "LOCKED"], "none", rows.collect())
    }
}

/// What is added to a lock that nobody has asked for.
const fn since(identity: &wire::Identity) -> &'static str {
    if identity.locked_by_restore { ", since the restore" } else { "" }
}

impl Shown for wire::Identity {
    fn names(&self) -> Vec<String> {
        vec![self.id.clone()]
    }

    fn table(&self) -> Sheet {
        let everywhere = self.locked.iter().any(|cluster| cluster == "*");
        let locked = if everywhere { "on all clusters".to_owned() } else { self.locked.join(", ") } + since(self);
        Sheet::pairs(vec![
            ("ID", self.id.clone()),
            ("Kind", self.kind.clone()),
            ("Groups", self.groups.join(", ")),
            ("Agency", self.agency.clone().unwrap_or_default()),
            ("Roles", self.roles.join(", ")),
            ("Locked", locked),
            ("Members", self.members.join(", ")),
            ("Added", self.added.clone()),
        ])
    }
}

impl Shown for wire::Changed {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn table(&self) -> Sheet {
        let done = if self.meaning.is_empty() { "done".to_owned() } else { self.meaning.clone() };
        Sheet::pairs(vec![("Done", done), ("Revision", self.revision.clone())])
    }
}

impl Shown for List<wire::Group> {
    fn names(&self) -> Vec<String> {
        self.items.iter().map(|group| group.name.clone()).collect()
    }

    fn table(&self) -> Sheet {
        let rows = self.items.iter().map(|found| vec![found.name.clone(), found.members.len().to_string()]);
        Sheet::list(&["GROUP", "MEMBERS"], "no groups", rows.collect())
    }
}

impl Shown for wire::Group {
    fn names(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    fn table(&self) -> Sheet {
        let members = if self.members.is_empty() { "none".to_owned() } else { self.members.join(", ") };
        Sheet::pairs(vec![("Group", self.name.clone()), ("Members", members)])
    }
}

impl Shown for List<wire::Cluster> {
    fn names(&self) -> Vec<String> {
        self.items.iter().map(|cluster| cluster.name.clone()).collect()
    }

    fn table(&self) -> Sheet {
        let rows = self.items.iter().map(|found| vec![found.name.clone(), found.server.clone(), enforcement(found)]);
        Sheet::list(&["CLUSTER", "PROXY", "REVOCATIONS"], "no clusters", rows.collect())
    }
}

impl Shown for wire::Cluster {
    fn names(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    fn table(&self) -> Sheet {
        let issuers = self.issuers.iter().map(|found| {
            let crl = found.crl.as_deref().unwrap_or("no CRL: OCSP only");
            let brought = if found.brought { ", brought" } else { "" };
            format!("{} {}{brought}, until {}\n  {crl}", found.name, found.state, day(&found.not_after))
        });
        Sheet::pairs(vec![
            ("Cluster", self.name.clone()),
            ("Proxy", self.server.clone()),
            ("Names", self.names.join(", ")),
            ("Issuing CAs", issuers.collect::<Vec<_>>().join("\n")),
            ("Revocations", enforcement(self)),
        ])
    }
}

/// What shared CAs cost, in words wherever a cluster is shown.
fn enforcement(cluster: &wire::Cluster) -> String {
    let by = match cluster.proxies.as_slice() {
        [] => "no proxy: CRL and OCSP only".to_owned(),
        proxies => format!("enforced by {}", proxies.join(", ")),
    };
    if cluster.shared_ca { format!("{by}; not at the API server itself") } else { by }
}

fn place(certificate: &wire::Certificate) -> String {
    certificate.cluster.clone().unwrap_or_else(|| certificate.role.clone())
}

/// The date of an RFC 3339 moment.
pub(super) fn day(moment: &str) -> String {
    moment.split('T').next().unwrap_or_default().to_owned()
}
