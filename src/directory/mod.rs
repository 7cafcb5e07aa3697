//! Users, agencies and groups, and who has which role.
//!
//! Users and agencies share one namespace. A membership is a row of its own, and counts only while its group or agency
//! is the one that stood when the row was written: what is deleted and added again starts without members. Moving and
//! deleting cut what was held before, in the same commit.
//!
//! `rows` has the shapes on disk, `identities` the wishes about users and agencies, `membership` who is where,
//! `groups` the wishes about groups, `admins` the rule of the last admin, `look` the questions.

pub mod admins;
pub mod groups;
pub mod identities;
pub mod look;
pub mod membership;
pub mod rows;
