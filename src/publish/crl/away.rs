//! The lists of an issuer whose key is not on this host: signed where it is, and brought back as a file.

use std::collections::BTreeSet;
use std::fs;
use std::sync::PoisonError;

use super::{Lists, Published};
use crate::command::{Code, Rejected};
use crate::ident::IssuerName;
use crate::standing::Revision;
use crate::x509::certificate::Certificate;
use crate::x509::crl::{self, Crl};
use crate::x509::signature::Algorithm;

impl Lists {
    /// Serves the list that an issuer whose key is elsewhere has signed before, from the folder; blocking.
    pub fn take_up(&self, name: &IssuerName) -> Result<Published, Rejected> {
        let path = self.folder.join(format!("{name}.crl"));
        let wrong = |error: &dyn std::fmt::Display| {
            Rejected::new(Code::Unavailable, format!("{} is not served: {error}", path.display()))
        };
        let der = fs::read(&path).map_err(|error| wrong(&error))?;
        let published = self.checked(name, der).map_err(|error| wrong(&error.detail))?;
        self.serve(name, &published);
        Ok(published)
    }

    /// A list for an issuer whose key is elsewhere, announced and ready to be signed there; blocking.
    pub fn prepare(&self, name: &IssuerName) -> Result<Vec<u8>, Rejected> {
        let certificate = self.certificate(name)?;
        let kind = certificate.public_key.kind().map_err(|error| Rejected::new(Code::Internal, error.to_string()))?;
        let (_, list, entries) = self.compose(name, &certificate)?;
        Ok(list.unsigned(&entries, Algorithm::of_kind(kind)))
    }

    /// Publishes a list that was signed elsewhere, unless a newer one is there or something was revoked since; blocking.
    pub fn publish_signed(&self, name: &IssuerName, der: Vec<u8>) -> Result<Published, Rejected> {
        let published = self.checked(name, der.clone())?;
        let conflict =
            |why: &str| Rejected::new(Code::Conflict, format!("this list of {name} is not published: {why}"));
        let listed: BTreeSet<_> = Crl::from_der(&der)
            .map_err(|error| Rejected::invalid(error.to_string()))?
            .entries
            .iter()
            .map(|entry| entry.serial)
            .collect();
        let now = self.engine.world().clock.now();
        let entries = self.entries(name, now)?;
        let entries = entries.iter().map(|chunk| crl::read_entries(chunk)).collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|error| Rejected::new(Code::Internal, error.to_string()))?;
        if entries.iter().flatten().any(|entry| !listed.contains(&entry.serial)) {
            return Err(conflict("something was revoked since it was asked for; ask for it anew"));
        }
        if published.next_update < now {
            return Err(conflict("it has ended; ask for it anew"));
        }
        let _publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.published(name).is_some_and(|present| present.number >= published.number) {
            return Err(conflict("there is one with this number, or a greater"));
        }
        if published.number > self.engine.store().end() {
            return Err(conflict("its number is none that was announced here"));
        }
        self.serve(name, &published);
        self.put_into_folder(name, &published);
        Ok(published)
    }

    /// A list that this issuer has signed, and whose number is one of ours.
    fn checked(&self, name: &IssuerName, der: Vec<u8>) -> Result<Published, Rejected> {
        let certificate = self.certificate(name)?;
        let list = Crl::from_der(&der).map_err(|error| Rejected::invalid(error.to_string()))?;
        let is_its = list.issuer == certificate.subject_der && list.verify(&certificate.public_key).is_ok();
        let number = list.number.as_deref().and_then(Revision::from_crl_number);
        match (is_its, number, list.next_update) {
            (true, Some(number), Some(next_update)) => {
                Ok(Published { number, this_update: list.this_update, next_update, der: der.into() })
            }
            (false, ..) => Err(Rejected::invalid(format!("wanted a list that {name} has signed, found another's"))),
            _ => Err(Rejected::invalid("wanted a list with a number of ours and an end")),
        }
    }

    fn certificate(&self, name: &IssuerName) -> Result<Certificate, Rejected> {
        let found = self.keyring.certificate(name);
        found.ok_or_else(|| Rejected::not_found(format_args!("authority {name}")))
    }
}
