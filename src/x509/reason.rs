//! Why a certificate was revoked (RFC 5280 §5.3.1), spelled as the standard spells it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A reason for a revocation.
///
/// `certificateHold` and `removeFromCRL` do not exist here: a revocation is final.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No reason given; never written into a CRL or OCSP response (RFC 5280 §5.3.1).
    #[default]
    Unspecified,
    /// Somebody else has, or may have, the key.
    KeyCompromise,
    /// A CA's key is in other hands.
    CaCompromise,
    /// The name or another part of the certificate has changed.
    AffiliationChanged,
    /// A newer certificate replaces it.
    Superseded,
    /// It is no longer needed.
    CessationOfOperation,
    /// A right that the certificate stated was withdrawn.
    PrivilegeWithdrawn,
    /// An attribute authority's key is in other hands.
    AaCompromise,
}

impl Reason {
    /// Every reason, in the order of the codes.
    pub const ALL: [Self; 8] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// The standard's number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }

    /// The reason with the standard's number, if it is one of ours.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The standard's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }
}

/// A text that is not one of the reasons; lists those that are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownReason {
    /// One of the two reasons that would make a revocation reversible.
    #[error("{0} is refused, because a revocation is final (a lock is not); wanted one of {list}", list = allowed())]
    Reversible(&'static str),
    /// Anything else.
    #[error("wanted one of {list}", list = allowed())]
    Unknown,
}

fn allowed() -> String {
    Reason::ALL.map(Reason::as_str).join(", ")
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;
    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        match text {
            "certificateHold" => Err(UnknownReason::Reversible("certificateHold")),
            "removeFromCRL" => Err(UnknownReason::Reversible("removeFromCRL")),
            _ => Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownReason::Unknown),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_back_by_name_and_by_code() {
        for reason in Reason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
            assert_eq!(serde_json::from_str::<Reason>(&format!("\"{reason}\"")).unwrap(), reason);
        }
    }

    #[test]
    fn a_reason_that_could_be_taken_back_is_refused_with_the_list() {
        for text in ["certificateHold", "removeFromCRL", "keycompromise", ""] {
            let refusal = text.parse::<Reason>().unwrap_err().to_string();
            assert!(refusal.contains("unspecified, keyCompromise, cACompromise"), "{refusal}");
        }
        assert_eq!(Reason::from_code(6), None);
        assert_eq!(Reason::from_code(8), None);
    }
}
