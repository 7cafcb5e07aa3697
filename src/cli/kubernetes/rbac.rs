//! `portcullis kubernetes rbac`: the rights of the proxy's account, for `kubectl apply`.

use serde_json::{Value, json};

use crate::api::wire;
use crate::cli::args::Rbac;
use crate::cli::client::Query;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::format::Format;
use crate::cli::output;
use crate::ident::GroupName;
use crate::kube::rbac::{Account, ProxyAccess};

pub(super) async fn print(context: &Context, args: Rbac) -> Result<Exit, Failure> {
    let groups = if args.groups.is_empty() { of_authority(context).await? } else { args.groups };
    let namespace = args.user.is_none().then(|| args.service_account.namespace().to_owned());
    let account = args.user.map_or(Account::Service(args.service_account), Account::User);
    let access = ProxyAccess::new(args.cluster_role_name, account, groups);
    let text = match context.format() {
        Format::Table { .. } | Format::Yaml => commented(&access, namespace.as_deref())?,
        Format::Json => output::json(&json!({"apiVersion": "v1", "kind": "List", "items": access.objects()}))?,
        Format::Name => access.objects().iter().map(|object| format!("{}\n", name(object))).collect(),
        Format::Template(template) => template.fill(&json!({"items": access.objects()}))?,
    };
    output::write_out(text.as_bytes())?;
    Ok(Exit::Done)
}

/// The groups that the authority knows.
async fn of_authority(context: &Context) -> Result<Vec<GroupName>, Failure> {
    let way_out = "to ask no authority, name the groups: --group developers --group ops";
    let mut client = context.client().map_err(|failure| failure.adding(way_out))?;
    let found: Vec<wire::Group> = client.all("/v1/groups", &Query::default()).await?;
    let checked = found.into_iter().map(|group| group.name.parse::<GroupName>());
    checked.collect::<Result<_, _>>().map_err(|error| Failure::failed(format!("the authority sent a group: {error}")))
}

/// YAML documents, each with what its reader has to know before applying it.
fn commented(access: &ProxyAccess, namespace: Option<&str>) -> Result<String, Failure> {
    let mut text = String::new();
    for object in access.objects() {
        let comment = match object.get("kind").and_then(Value::as_str) {
            Some("ServiceAccount") => account_comment(namespace.unwrap_or_default()),
            Some("ClusterRole") => role_comment(access.groups().len()),
            _ => String::new(),
        };
        text.push_str("---\n");
        text.extend(comment.lines().map(|line| format!("# {line}\n")));
        text.push_str(&output::yaml(&object)?);
    }
    Ok(text)
}

fn account_comment(namespace: &str) -> String {
    format!("The proxy's account. Its namespace must be there: kubectl create namespace {namespace}")
}

fn role_comment(groups: usize) -> String {
    let carried = match groups {
        0 => "No group may be carried, as none was named: whoever is in one is refused by the API server.".to_owned(),
        _ => "The groups below may be carried and no others, never system:masters. When there is a new group, apply\n\
              this again: until then the API server refuses (403) whoever is in it."
            .to_owned(),
    };
    format!(
        "All that the account may do: say for whom a request is. Give it nothing else, so that a request that lacks\n\
         those words may do nothing.\n\
         {carried}\n\
         Any user may be named, because RBAC knows no prefixes and no exceptions; Kubernetes' own users are among them,\n\
         such as system:kube-controller-manager, which is bound to much by its name alone. So guard the account's\n\
         credential like an admin's. Or add resourceNames with your users' IDs to the first rule.\n\
         Service accounts cannot be named: they are a resource of their own."
    )
}

/// `kind/name`, as kubectl prints it.
fn name(object: &Value) -> String {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", text("/kind").to_lowercase(), text("/metadata/name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(groups: &[&str]) -> ProxyAccess {
        let account = Account::Service("portcullis/proxy".parse().unwrap());
        ProxyAccess::new("proxy".parse().unwrap(), account, groups.iter().map(|group| group.parse().unwrap()))
    }

    #[test]
    fn the_yaml_reads_back_whatever_a_group_is_called() {
        let access = access(&["no", "1e5", "größe #1", "a: b", "- c", "*d", "&e", "'f'"]);
        let text = commented(&access, Some("portcullis")).unwrap();
        let documents: Vec<Value> = text
            .split("---\n")
            .filter(|document| !document.is_empty())
            .map(|document| serde_saphyr::from_str(document).unwrap())
            .collect();
        assert_eq!(documents, access.objects(), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        assert!(text.contains("kubectl create namespace portcullis"), "{text}");
    }

    #[test]
    fn a_role_without_groups_says_so() {
        let text = commented(&access(&[]), Some("portcullis")).unwrap();
        assert!(text.contains("No group may be carried") && !text.contains("resourceNames:"), "{text}");
    }

    #[test]
    fn names_are_as_kubectl_prints_them() {
        let names: Vec<String> = access(&[]).objects().iter().map(name).collect();
        assert_eq!(names, ["serviceaccount/proxy", "clusterrole/proxy", "clusterrolebinding/proxy"]);
    }
}
