//! A real API server behind the proxy: it takes our users for who they are, in both ways of telling it, and nobody else.
//!
//! `site` is the authority, kube-apiserver with its etcd, and two proxies; `front` is how a proxy is run. The lines that
//! docs/kubernetes.md shows are the ones that are run here.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "apiserver/front.rs"]
mod front;
#[path = "apiserver/site.rs"]
mod site;
mod support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use front::Front;
use serde_json::{Value, json};
use site::{ACCOUNT, GROUPS, Site, documented};
use support::run::{Live, Said, run};
use support::{Kubeconfig, PATIENCE};

#[test]
fn whoever_the_certificate_names_is_who_the_api_server_serves_by_impersonation() {
    let site = Site::shared();
    let front = &site.impersonation;
    let alice = must_work_as_themselves(&site, front);

    // Nobody acts as somebody else; the API server is not even asked.
    site.kubectl(&alice, &["--as", "bob", "get", "configmaps"]).ended(1).saying(&["Forbidden", "everyone acts as"]);
    let (status, body) = site.curl(&alice, front, &["-H", "Impersonate-Group: system:masters"]);
    assert_eq!((status, &body["kind"], &body["reason"]), (403, &json!("Status"), &json!("Forbidden")), "{body}");

    // What a client says of its road is not believed.
    let lies =
        ["-A", "liar", "-H", "X-Forwarded-For: 203.0.113.9", "-H", "X-Real-IP: 203.0.113.9", "-H", "Audit-ID: mine"];
    assert_eq!(site.curl(&alice, front, &lies).0, 200);
    let event = site.api.audited(|event| event["userAgent"] == "liar");
    assert_eq!(event["sourceIPs"], json!(["127.0.0.1"]), "{event}");
    assert_ne!(event["auditID"], "mine", "{event}");

    // The audit log names both, and the certificate.
    site.kubectl(&alice, &["create", "configmap", "by-impersonation"]).ok();
    let event = site.api.audited(|event| is_creation(event, "by-impersonation"));
    assert_eq!(event["user"]["username"], ACCOUNT, "{event}");
    assert_eq!(event["impersonatedUser"]["username"], "alice", "{event}");
    assert_eq!(event["impersonatedUser"]["groups"], json!(["dev", "system:authenticated"]), "{event}");
    assert_eq!(event["impersonatedUser"]["extra"][CREDENTIAL], json!([alice.credential_id()]), "{event}");
}

#[test]
fn whoever_the_certificate_names_is_who_the_api_server_serves_by_request_header() {
    let site = Site::shared();
    let front = &site.request_header;
    let alice = must_work_as_themselves(&site, front);

    // The API server decides who may act as whom, as it does without a proxy.
    // Its words changed with 1.36 (KEP-5284): which of the rights that would do is missing.
    let refused = site.kubectl(&alice, &["--as", "bob", "get", "configmaps"]).ended(1);
    refused.saying(&["Error from server (Forbidden)", "\"alice\" cannot impersonate"]);
    site.api.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: as-bob}\n\
         rules: [{apiGroups: [''], resources: [users], resourceNames: [bob], verbs: [impersonate]}]\n",
    );
    site.api.admin(["create", "clusterrolebinding", "as-bob", "--clusterrole=as-bob", "--user=alice"]).ok();
    site.until(&alice, &["--as", "bob", "auth", "whoami"]);
    assert_eq!(site.whoami(&alice, &["--as", "bob"])["username"], "bob");
    let more = ["--as", "bob", "--as-group", "system:masters", "get", "configmaps"];
    let refused = site.kubectl(&alice, &more).ended(1);
    refused.saying(&["Error from server (Forbidden)", "\"alice\" cannot impersonate"]);
    // Who is alice is for the proxy alone to say.
    for header in ["X-Remote-User: bob", "X-Remote-Group: system:masters", "X_Remote_Extra_a: b", "X-Remote-Uid: 1"] {
        let (status, body) = site.curl(&alice, front, &["-H", header]);
        assert_eq!((status, &body["kind"], &body["reason"]), (400, &json!("Status"), &json!("BadRequest")), "{body}");
    }

    // The audit log names the user, and the certificate.
    site.kubectl(&alice, &["create", "configmap", "by-request-header"]).ok();
    let event = site.api.audited(|event| is_creation(event, "by-request-header"));
    assert_eq!((&event["user"]["username"], &event["impersonatedUser"]), (&json!("alice"), &Value::Null), "{event}");
    assert_eq!(event["user"]["groups"], json!(["dev", "system:authenticated"]), "{event}");
    assert_eq!(event["user"]["extra"][CREDENTIAL], json!([alice.credential_id()]), "{event}");
}

/// Lists, applies, and is known by name, groups and certificate; gives alice's kubeconfig.
fn must_work_as_themselves(site: &Site, front: &Front) -> Kubeconfig {
    let alice = site.kubeconfig("alice", front);
    let user = site.whoami(&alice, &[]);
    assert_eq!((&user["username"], &user["groups"]), (&json!("alice"), &json!(["dev", "system:authenticated"])));
    assert_eq!(user["extra"], json!({CREDENTIAL: [alice.credential_id()]}), "{user}");
    assert_eq!(user["uid"], Value::Null, "{user}");
    // A group with letters, marks and spaces of all kinds arrives as it is.
    let dora = site.kubeconfig("dora", front);
    assert_eq!(site.whoami(&dora, &[])["groups"], json!([GROUPS[1], "system:authenticated"]));

    let objects = site.file(&format!("{}-objects.yaml", front.cluster()));
    for value in ["first", "second"] {
        let name = format!("applied-{}", front.cluster());
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value}});
        std::fs::write(&objects, object.to_string()).expect("a file of the test");
        site.kubectl(&alice, &["apply", "-f", objects.to_str().expect("a path")]).ok();
        let found = site.kubectl(&alice, &["get", "configmaps", "-o", "json"]).ok().json();
        let items = found["items"].as_array().expect("a list");
        let applied = items.iter().find(|item| item["metadata"]["name"] == name.as_str());
        assert_eq!(applied.map(|item| &item["data"]["v"]), Some(&json!(value)), "{found}");
    }
    let shown = site.as_documented(&alice, "kubectl --kubeconfig alice.yaml auth whoami").ok();
    shown.saying(&["alice", "[dev system:authenticated]", &alice.credential_id()]);
    let shown = site.as_documented(&alice, "kubectl --kubeconfig alice.yaml get configmaps").ok();
    shown.saying(&[&format!("applied-{}", front.cluster())]);
    // What RBAC does not give is refused by the API server, by name.
    let refused = site.kubectl(&alice, &["get", "secrets"]).ended(1);
    refused.saying(&["Error from server (Forbidden)", "User \"alice\" cannot list resource \"secrets\""]);
    let refused = site.kubectl(&dora, &["get", "configmaps"]).ended(1);
    refused.saying(&["User \"dora\" cannot list resource \"configmaps\""]);

    // The same certificate is nobody's at the API server itself.
    let certificate = format!("--client-certificate={}", alice.certificate.display());
    let key = format!("--client-key={}", alice.key.display());
    let refused = run(site.api.kubectl([certificate, key]).args(["get", "configmaps"])).ended(1);
    refused.saying(&["error: You must be logged in to the server"]);
    alice
}

#[test]
fn the_proxys_account_may_say_for_whom_a_request_is_and_nothing_else() {
    let site = Site::shared();
    // A request that lost its headers on the way would run as the account.
    let account = |more: &[&str]| {
        let mut arguments = vec!["--token", ""];
        let token = site.token();
        arguments[1] = &token;
        run(site.api.kubectl(arguments).args(more))
    };
    for line in [["get", "pods"], ["get", "secrets"], ["get", "configmaps"], ["get", "namespaces"]] {
        account(&line).ended(1).saying(&["Error from server (Forbidden)", ACCOUNT]);
    }
    let direct = account(&["auth", "can-i", "--list"]).ok().out;
    let list = documented("kubectl auth can-i --list --as system:serviceaccount:portcullis:portcullis-proxy");
    assert_eq!(site.api.admin(list).ok().out, direct, "the page shows what the account sees");
    for line in direct.lines().skip(1) {
        let verbs = line.rsplit_once('[').expect("verbs").1.trim_end_matches(']');
        let harmless = match verbs {
            "impersonate" => true,
            "create" => line.starts_with("self"),
            // What everybody may ask, such as /version.
            "get" => line.starts_with(' '),
            _ => false,
        };
        assert!(harmless, "{direct}");
    }
    let named = |line: &str| line.split_whitespace().next().map(str::to_owned).expect("a resource");
    let impersonated =
        direct.lines().filter(|line| line.ends_with("[impersonate]")).map(named).collect::<BTreeSet<_>>();
    let wanted = ["groups", "userextras.authentication.k8s.io/authentication.kubernetes.io/credential-id", "users"];
    assert_eq!(impersonated, wanted.map(str::to_owned).into(), "{direct}");

    // Any user may be named, Kubernetes' own too: the comments in the role say so.
    account(&["--as", "system:kube-controller-manager", "get", "secrets", "--all-namespaces"]).ok();
    // It may name a user with the groups that the role lists, and neither other groups nor accounts.
    account(&["--as", "alice", "--as-group", "dev", "get", "configmaps"]).ok();
    for more in [
        ["--as", "alice", "--as-group", "system:masters"].as_slice(),
        &["--as", "alice", "--as-group", "dev", "--as-group", "later"],
        &["--as", "system:serviceaccount:kube-system:default"],
        &["--as", "alice", "--as-group", "dev", "--as-uid", "1"],
        &["--as", "alice", "--as-group", "dev", "--as-user-extra", "scopes=all"],
    ] {
        let refused = account(&[more, &["get", "configmaps"]].concat()).ended(1);
        refused.saying(&["Error from server (Forbidden)", ACCOUNT, "cannot impersonate"]);
    }
    // A group that came later is refused until the role is printed and applied again.
    site.portcullis(["user", "add", "carol", "--group", "later"]).ok();
    let carol = site.kubeconfig("carol", &site.impersonation);
    site.kubectl(&carol, &["get", "configmaps"]).ended(1).saying(&[ACCOUNT, "cannot impersonate"]);
    site.api.apply(&site.portcullis(documented("portcullis kubernetes rbac")).ok().out);
    site.until(&carol, &["auth", "whoami"]);
    assert_eq!(site.whoami(&carol, &[])["groups"], json!(["later", "system:authenticated"]));
}

#[test]
fn a_proxy_that_the_api_server_does_not_believe_serves_nobody_as_itself() {
    let site = Site::shared();
    let _alone = site.alone.lock();
    let front = &site.request_header;
    let bob = site.kubeconfig("bob", front);

    // A name that the API server was not told to allow: its refusal is not the user's fault.
    let stranger = ["kubernetes", "front-proxy-ca", "--out-dir", "front-proxy", "--name", "stranger"];
    let made = site.portcullis(stranger).ok().out;
    let stranger = site.another(front, made.split_once("# proxy.toml\n").expect("settings").1).run();
    let (status, body) = site.curl(&bob, &stranger, &[]);
    assert_eq!(
        (status, &body["kind"], &body["reason"]),
        (502, &json!("Status"), &json!("ServiceUnavailable")),
        "{body}"
    );
    assert!(body["message"].as_str().is_some_and(|words| words.contains("refused the proxy's own")), "{body}");
    site.portcullis(["proxy", "remove", stranger.name(), "--yes"]).ok();
    drop(stranger);

    // A certificate that it takes for somebody: everybody would be that.
    let folder = site.file("kubernetes");
    let admins = format!("certificate = \"{0}/admin.crt\"\nkey = \"{0}/admin.key\"\n", folder.display());
    let mighty = site.another(front, &format!("[upstream]\n{admins}[identity]\nmode = \"request-header\"\n"));
    mighty.run_to_its_end().ended(1).saying(&["for one of admin: it does not look at what the proxy says"]);
    site.portcullis(["proxy", "remove", mighty.name(), "--yes"]).ok();
}

#[test]
fn a_revocation_ends_a_watch_on_the_api_server_and_the_one_beside_it_goes_on() {
    let site = Site::shared();
    let _alone = site.alone.lock();
    for (front, id) in [(&site.impersonation, "eve"), (&site.request_header, "frank")] {
        site.portcullis(["user", "add", id, "--group", "dev"]).ok();
        let (theirs, bobs) = (site.kubeconfig(id, front), site.kubeconfig("bob", front));
        let start = |with: &Kubeconfig, line: &[&str]| Live::start(&mut site.kubectl_command(with, line));
        let watch = ["get", "configmaps", "--watch", "--no-headers"];
        let (leaves, stays) = (start(&theirs, &watch), start(&bobs, &watch));
        let raw = start(&theirs, &["get", "--raw", "/api/v1/namespaces/default/configmaps?watch=true"]);
        let first = format!("before-{}", front.cluster());
        site.api.admin(["create", "configmap", &first]).ok();
        for watching in [&leaves, &stays, &raw] {
            wait_for(watching, &first);
        }
        site.revoke(id, front);
        // kubectl shows the last event and takes any end of a watch for a good one; `--raw` tells a cut from an end.
        the_rest_of(leaves).saying(&["Failure", "Unauthorized", "certificate revoked", id]);
        the_rest_of(raw).ended(1).saying(&["\"type\":\"ERROR\"", "certificate revoked", id]);
        let refused = site.kubectl(&theirs, &["auth", "whoami"]).ended(1);
        refused.saying(&["You must be logged in to the server (certificate revoked", id]);
        let (status, body) = site.curl(&theirs, front, &[]);
        assert_eq!((status, &body["kind"]), (401, &json!("Status")), "{body}");

        let second = format!("after-{}", front.cluster());
        site.api.admin(["create", "configmap", &second]).ok();
        wait_for(&stays, &second);
    }
}

#[test]
fn a_revocation_ends_commands_logs_and_forwarded_ports_in_a_pod() {
    let site = Site::shared();
    let _alone = site.alone.lock();
    for (front, id) in [(&site.impersonation, "grace"), (&site.request_header, "heidi")] {
        site.portcullis(["user", "add", id, "--group", "dev"]).ok();
        let theirs = site.kubeconfig(id, front);
        let input = site.file("input");
        std::fs::write(&input, "what is typed\n").expect("a file of the test");
        let mut cat = site.kubectl_command(&theirs, &["exec", "-i", "pod", "--", "cat"]);
        cat.stdin(std::fs::File::open(&input).expect("a file of the test"));
        assert_eq!(run(&mut cat).ok().out, "ready\nwhat is typed\n");
        assert_eq!(site.kubectl(&theirs, &["logs", "pod"]).ok().out, "ready\n");

        // Over WebSocket, and over SPDY/3.1 as older clients speak it.
        let start = |line: &[&str]| Live::start(&mut site.kubectl_command(&theirs, line));
        let start_older = |line: &[&str]| {
            let older = ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"];
            Live::start(site.kubectl_command(&theirs, line).envs(older.map(|name| (name, "false"))))
        };
        let (wait, follow) = (["exec", "pod", "--", "wait"], ["logs", "--follow", "pod"]);
        let (command, older_command, log) = (start(&wait), start_older(&wait), start(&follow));
        for watching in [&command, &older_command, &log] {
            wait_for(watching, "ready");
        }
        let port = ["port-forward", "pod", ":80"];
        let (forward, older_forward) = (start(&port), start_older(&port));
        let open = [&forward, &older_forward].map(must_give_back);

        site.revoke(id, front);
        for cut in [command, older_command] {
            the_rest_of(cut).ended(1).saying(&["certificate revoked", id, "ask an administrator"]);
        }
        for cut in [log, forward, older_forward] {
            assert_ne!(the_rest_of(cut).ended(1).err, "", "a cut is no clean end");
        }
        for mut forwarded in open {
            assert_eq!(forwarded.read(&mut [0]).unwrap_or_default(), 0, "nothing comes after the cut");
        }
        site.kubectl(&theirs, &["exec", "pod", "--", "cat"]).ended(1).saying(&["You must be logged in to the server"]);
    }
}

/// Takes up a forwarded port, behind which everything is given back.
fn must_give_back(forward: &Live) -> TcpStream {
    let said = forward.next_line().expect("an address");
    let (_, address) = said.split_once("Forwarding from ").expect("an address");
    let mut forwarded = TcpStream::connect(address.split(' ').next().expect("an address")).expect("a connection");
    forwarded.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut back = [0; 4];
    forwarded.write_all(b"ping").expect("a connection");
    forwarded.read_exact(&mut back).expect("what was sent");
    assert_eq!(&back, b"ping");
    forwarded
}

#[test]
fn the_page_shows_no_line_that_is_not_run_here() {
    let run_here = [
        "kubectl create namespace portcullis",
        "portcullis kubernetes rbac",
        "kubectl apply -f rbac.yaml",
        "kubectl create token portcullis-proxy --namespace portcullis",
        "kubectl auth can-i --list --as system:serviceaccount:portcullis:portcullis-proxy",
        "portcullis kubernetes front-proxy-ca --out-dir front-proxy",
        "portcullis cluster add prod --server https://proxy.example.com:7444 --name proxy.example.com",
        "portcullis proxy token --cluster prod -o name",
        "portcullis proxy join - --config proxy.toml",
        "portcullis proxy run --config proxy.toml",
        "kubectl --kubeconfig alice.yaml auth whoami",
        "kubectl --kubeconfig alice.yaml get configmaps",
    ];
    assert_eq!(site::page(), run_here);
}

/// Waits until a watch tells of this configmap.
#[track_caller]
fn wait_for(watching: &Live, name: &str) {
    while !watching.next_line().expect("the watch goes on").contains(name) {}
}

fn the_rest_of(watching: Live) -> Said {
    while watching.next_line().is_some() {}
    watching.wait()
}

fn is_creation(event: &Value, name: &str) -> bool {
    event["verb"] == "create" && event["objectRef"]["name"] == name && event["stage"] == "ResponseComplete"
}

const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";
