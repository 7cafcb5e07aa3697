//! temp
use serde::{Deserialize, Serialize};
/// r
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// u
    #[default]
    Unspecified,
    /// k
    KeyCompromise,
    /// a
    AffiliationChanged,
    /// s
    Superseded,
    /// c
    CessationOfOperation,
    /// p
    PrivilegeWithdrawn,
}
