//! Users, agencies and groups, as they are typed.

use clap::{Args, Subcommand};

use super::Sure;
use crate::ident::{ClusterName, GroupName, IdentityId};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum User {
    /// Add a user.
    #[command(after_help = "Example:  portcullis user add ana --group developers --agency contractor")]
    Add(AddUser),
    /// List users.
    List,
    /// Show a user.
    Show(Id),
    /// Change a user's groups, agency or roles.
    #[command(after_help = "\
Leaving a group ends what carries it; joining, leaving or changing an agency ends all that the user holds.

Example:  portcullis user edit ana --add-group admins --remove-group developers")]
    Edit(EditUser),
    /// Delete a user and end everything they hold.
    Delete(Delete),
    /// Stop everything the user holds until it is unlocked.
    Lock(Lock),
    /// Undo a lock.
    Unlock(Lock),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Agency {
    /// Add an agency.
    Add(AddAgency),
    /// List agencies.
    List,
    /// Show an agency and its members.
    Show(Id),
    /// Change an agency's groups.
    Edit(EditAgency),
    /// Delete an agency and end everything held under it.
    Delete(Delete),
    /// Stop the agency and its members until it is unlocked.
    Lock(Lock),
    /// Undo a lock.
    Unlock(Lock),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Id {
    /// The ID.
    pub(in crate::cli) id: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AddUser {
    /// The ID.
    pub(in crate::cli) id: IdentityId,
    /// A group to be in; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    pub(in crate::cli) groups: Vec<GroupName>,
    /// The agency to be in.
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) agency: Option<IdentityId>,
    /// A role at the authority: admin.
    #[arg(long)]
    pub(in crate::cli) role: Option<String>,
    /// Use an ID that was deleted before.
    #[arg(long)]
    pub(in crate::cli) reuse: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AddAgency {
    /// The ID.
    pub(in crate::cli) id: IdentityId,
    /// A group that its own credentials carry; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    pub(in crate::cli) groups: Vec<GroupName>,
    /// Use an ID that was deleted before.
    #[arg(long)]
    pub(in crate::cli) reuse: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EditUser {
    #[command(flatten)]
    pub(in crate::cli) groups: EditAgency,
    /// The agency to move to.
    #[arg(long, value_name = "ID", conflicts_with = "no_agency")]
    pub(in crate::cli) agency: Option<IdentityId>,
    /// Leave the agency.
    #[arg(long)]
    pub(in crate::cli) no_agency: bool,
    /// A role to grant: admin.
    #[arg(long, value_name = "ROLE")]
    pub(in crate::cli) add_role: Option<String>,
    /// A role to withdraw.
    #[arg(long, value_name = "ROLE")]
    pub(in crate::cli) remove_role: Option<String>,
    /// Even the last admin.
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EditAgency {
    /// The ID.
    pub(in crate::cli) id: String,
    /// A group to join; may be repeated.
    #[arg(long = "add-group", value_name = "GROUP")]
    pub(in crate::cli) add_groups: Vec<GroupName>,
    /// A group to leave; may be repeated.
    #[arg(long = "remove-group", value_name = "GROUP")]
    pub(in crate::cli) remove_groups: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) sure: Sure,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Delete {
    /// The ID.
    pub(in crate::cli) id: String,
    /// Even the last admin.
    #[arg(long)]
    pub(in crate::cli) force: bool,
    #[command(flatten)]
    pub(in crate::cli) sure: Sure,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Lock {
    /// The ID.
    pub(in crate::cli) id: String,
    /// On this cluster only.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) cluster: Option<ClusterName>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Group {
    /// List groups.
    List,
    /// Show a group and who is in it.
    Show(GroupArg),
    /// Delete a group and end what carries it.
    Delete(DeleteGroup),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GroupArg {
    /// The group.
    pub(in crate::cli) name: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeleteGroup {
    /// The group.
    pub(in crate::cli) name: String,
    #[command(flatten)]
    pub(in crate::cli) sure: Sure,
}
