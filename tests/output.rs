//! What the command line prints: every list and every view, for people and for programs.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use serde_json::Value;
use support::Demo;

#[test]
fn every_list_and_view_is_json_yaml_names_or_a_table_of_eighty_columns() {
    let demo = Demo::start();
    let long = "a-group-with-quite-a-long-name-that-somebody-thought-necessary";
    demo.admin(["agency", "add", "a-contractor-with-a-long-name.example.com", "--group", "contractors"]).ok();
    let id = "a.user.with.a.really.long.name@department.contractor.example.com";
    demo.user(
        id,
        &[
            "--group",
            long,
            "--group",
            "größe",
            "--group",
            "日本語",
            "--agency",
            "a-contractor-with-a-long-name.example.com",
        ],
    );
    let alice = demo.user("alice", &["--group", "dev", "--group", "no"]);
    let cases: &[(&[&str], &str)] = &[
        (&["user", "list"], "alice"),
        (&["user", "show", "alice"], "alice"),
        (&["user", "show", id], id),
        (&["agency", "list"], "a-contractor-with-a-long-name.example.com"),
        (&["agency", "show", "a-contractor-with-a-long-name.example.com"], "a-contractor-with-a-long-name.example.com"),
        (&["group", "list"], long),
        (&["group", "show", long], long),
        (&["group", "show", "日本語"], "日本語"),
        (&["cluster", "list"], "demo"),
        (&["cluster", "show", "demo"], "demo"),
        (&["proxy", "list"], "demo"),
        (&["cert", "list"], &alice.serial()),
        (&["cert", "list", "--id", id, "--cluster", "demo", "--expiring", "60d"], ""),
        (&["cert", "show", &alice.serial()], &alice.serial()),
        (&["status", "alice.yaml"], &alice.serial()),
        (&["revoke", "user", "alice", "--dry-run"], &alice.serial()),
        (&["revoke", "user", "alice", id, "--dry-run"], &alice.serial()),
        (&["revoke", "user", "nobody", "--yes"], "nobody"),
    ];
    for (command, name) in cases {
        let print = |format: &str| demo.admin(["-o", format].iter().chain(*command)).ok();
        let json = print("json").json();
        let yaml: Value =
            serde_saphyr::from_str(&print("yaml").out).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        if command.contains(&"--yes") {
            assert_eq!(json["target"], yaml["target"], "{command:?}");
        } else {
            assert_eq!(json, yaml, "{command:?}: one answer in two notations");
        }
        assert_eq!(json.get("items").is_some(), command.contains(&"list") || command.len() == 5, "{command:?}: {json}");
        let names = print("name").out;
        assert!(names.ends_with('\n') && names.lines().all(|line| !line.is_empty() && line == line.trim()), "{names}");
        assert!(name.is_empty() || names.lines().any(|line| line == *name), "{command:?}: wanted {name} in {names}");
        let table = print("table");
        assert_eq!(table.err, "", "{command:?}: results are on standard output");
        for line in table.out.lines() {
            assert!(columns(line) <= 80, "{command:?}: {} columns: {line}", columns(line));
            assert_eq!(line, line.trim_end(), "{command:?}");
        }
        if command.starts_with(&["cert", "list"]) {
            for found in json["items"].as_array().expect("a list") {
                let day = found["not_after"].as_str().and_then(|moment| moment.split('T').next()).expect("a date");
                let serial = found["serial"].as_str().expect("a serial");
                let line = table.out.lines().find(|line| line.starts_with(serial));
                assert!(
                    line.is_some_and(|line| line.ends_with(day)),
                    "{serial} until {day} in one line:\n{}",
                    table.out
                );
            }
        }
        assert!(!table.out.contains('\u{1b}'), "{command:?}: colours without a terminal");
        let bare = demo.admin(["--no-headers"].iter().chain(*command)).ok().out;
        if json.get("items").is_some() {
            let (header, rows) = table.out.split_once('\n').expect("a header");
            // Columns may be wider where no header is, and so break elsewhere.
            assert_eq!(letters(&bare), letters(rows), "{command:?}");
            assert!(!header.is_empty() && header.to_uppercase() == header, "{header}");
        }
        // The same names through a template, by the field that has them.
        let field = ["serial", "id", "name", "target.id"].into_iter().find(|field| {
            let one = json["items"].get(0).unwrap_or(&json);
            field.split('.').try_fold(one, |value, name| value.get(name)).is_some()
        });
        let template = format!("template={{{{{}}}}}", field.expect("a name"));
        let filled = demo.admin(["-o", &template].iter().chain(*command)).ok().out;
        let lines: Vec<&str> = filled.lines().collect();
        assert!(!lines.is_empty() || names.is_empty(), "{command:?}: {filled}");
        assert!(lines.iter().all(|line| filled == names || filled.contains(line)), "{command:?}");
        let unknown = demo.admin(["-o", "template={{nothing.like.it}}"].iter().chain(*command)).ended(1);
        let told = field.and_then(|field| field.split('.').next()).unwrap_or_default();
        unknown.saying(&["no field nothing", "there are: ", told]);
    }
    assert!(demo.admin(["user", "list", "-o", "xml"]).ended(2).err.contains("json"));
}

#[test]
fn colours_are_for_terminals_whose_owner_wants_them_and_words_fit_them() {
    let demo = Demo::start();
    let profile = demo.dir().join("profile.toml");
    // `script` gives a program a terminal.
    let at_terminal = |line: &str, no_color: Option<&str>| {
        let mut command = demo.program("script");
        command.args(["-qec", &format!("{} --profile {} {line}", support::PORTCULLIS, profile.display()), "/dev/null"]);
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        support::run::run(command.env("TERM", "xterm"))
    };
    assert!(at_terminal("cert list", None).ok().out.contains('\u{1b}'));
    assert!(at_terminal("cert list", Some("")).ok().out.contains('\u{1b}'), "an empty NO_COLOR is none");
    assert!(!at_terminal("cert list", Some("1")).ok().out.contains('\u{1b}'));
    assert!(!at_terminal("cert list -o json", None).ok().out.contains('\u{1b}'));
    demo.user("alice", &[]);
    for line in [
        "user add alice",
        "user show nobody",
        "user edit admin --remove-role admin",
        "user delete admin --yes",
        "agency show nobody",
        "group show nothing",
        "cluster show nothing",
        "cluster add demo --server https://a",
        "kubeconfig nobody",
        "kubeconfig nobody --out x.yaml",
        "kubeconfig alice --merge alice.key",
        "issue alice --out alice.yaml",
        "issue alice --csr alice.key",
        "issue alice --lifetime 900d",
        "renew alice.key",
        "renew alice.yaml --context nothing",
        "status alice.key",
        "status 00",
        "cert show 00",
        "revoke user admin --yes",
        "revoke cert alice.key --yes",
        "user lock nobody",
        "user unlock nobody",
        "proxy token --cluster nothing",
        "proxy remove nothing --yes",
        "proxy deny ana",
        "proxy run",
        "serve",
        "store verify",
        "store rebuild",
        "store restore --from .",
        "store backup --out .",
        "recover admin",
        "-o template={{x}} user list",
        "-o template=x user list",
        "user list -o xml",
        "user add Ana",
        "--profile none.toml user list",
        "--profile none user list",
        "user add ana --group system:masters",
    ] {
        let said = at_terminal(line, Some("1"));
        assert_ne!(said.status, Some(0), "{line}: {}", said.out);
        for text in said.out.lines() {
            // A path or an address that is longer stays in one piece.
            let text = text.trim_end();
            let is_long_word = text.split(' ').any(|word| word.chars().count() > 60);
            assert!(columns(text) <= 80 || is_long_word, "{line}: {} columns: {text}", columns(text));
        }
        assert!(said.out.contains("error: "), "{line}: {}", said.out);
    }
}

#[test]
fn files_with_keys_are_their_owners_alone_and_never_take_the_place_of_another() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let demo = Demo::start();
    demo.admin(["user", "add", "alice"]).ok();
    fs::create_dir(demo.file("sub")).expect("a folder");
    let written: &[(&str, &[&str])] = &[
        ("a.yaml", &["kubeconfig", "alice", "--out", "a.yaml"]),
        ("sub/a.pem", &["issue", "alice", "--out", "sub/a.pem"]),
        ("a.zip", &["issue", "alice", "--bundle", "--out", "a.zip"]),
        ("b.pem", &["issue", "alice", "--server-key", "--out", "b.pem"]),
        ("admin.toml", &["issue", "admin", "--management", "--out", "admin.toml"]),
    ];
    for (name, command) in written {
        let said = demo.admin(*command).ok();
        assert_eq!(said.out, "", "a file or standard output, not both");
        let mode = fs::metadata(demo.file(name)).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let content = fs::read(demo.file(name)).expect("the file");
        demo.admin(*command).ended(1).saying(&["exists already"]);
        assert_eq!(fs::read(demo.file(name)).expect("the file"), content, "{name}");
    }
    // Neither through a link, nor into a folder that is not there; and nothing is issued for it.
    let before = demo.json(["cert", "list", "--id", "alice"])["items"].as_array().map(Vec::len);
    symlink(demo.file("elsewhere"), demo.file("link.yaml")).expect("a link");
    demo.admin(["kubeconfig", "alice", "--out", "link.yaml"]).ended(1);
    assert!(!demo.file("elsewhere").exists());
    demo.admin(["kubeconfig", "alice", "--out", "none/a.yaml"]).ended(1);
    assert_eq!(demo.json(["cert", "list", "--id", "alice"])["items"].as_array().map(Vec::len), before);
    for hostile in ["../../etc/passwd", "a/b", "-rf", "x\n    exec:", "Alice", "system:admin", "", "a b"] {
        demo.admin(["user", "add", "--", hostile]).ended(2);
    }
    demo.admin(["user", "add", "eve", "--group", "system:masters"]).ended(2).saying(&["system:"]);
    // Somebody else's request: only its public key counts, and the rest is said to be dropped.
    let request =
        ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "csr.key"];
    demo.openssl(request.iter().chain(&["-subj", "/O=system:masters/CN=root", "-out", "alice.csr"])).ok();
    let said = demo.admin(["issue", "alice", "--csr", "alice.csr", "--out", "csr.pem"]).ok();
    assert!(said.err.contains("subject"), "{}", said.err);
    let subject = demo.openssl(["x509", "-in", "csr.pem", "-noout", "-subject", "-nameopt", "RFC2253"]).ok();
    assert_eq!(subject.out.trim(), "subject=CN=alice");
    demo.admin(["issue", "alice", "--csr", "alice.csr", "--out", "again.pem"]).ended(1);
}

#[test]
fn nothing_that_is_said_or_logged_holds_a_key_or_a_passphrase() {
    let mut demo = Demo::start();
    let mut heard = String::new();
    let alice = demo.user("alice", &[]);
    let mut keys = vec![alice.key_pem.clone()];
    for command in [
        &["issue", "alice", "--server-key", "--out", "server-key.pem"][..],
        &["issue", "alice", "--bundle", "--out", "alice.zip"],
        &["issue", "admin", "--management", "--out", "admin.toml"],
        &["cert", "list", "-o", "yaml"],
        &["status", "alice.yaml"],
        &["kubeconfig", "nobody", "--out", "nobody.yaml"],
        &["revoke", "user", "alice", "--yes"],
    ] {
        let said = demo.admin(command);
        heard.push_str(&said.out);
        heard.push_str(&said.err);
    }
    heard.push_str(&demo.kubectl(&alice, ["auth", "whoami"]).ended(1).err);
    heard.push_str(&demo.with_profile(&alice.as_profile(&demo), ["cert", "list"]).ended(1).err);
    for file in ["server-key.pem", "admin.toml", "demo/profile.toml"] {
        let text = fs::read_to_string(demo.file(file)).expect("a file with a key");
        let (_, key) = text.split_once("-----BEGIN PRIVATE KEY-----").expect("a key");
        keys.push(key.split_once("-----END").expect("the key's end").0.to_owned());
    }
    demo.kill();
    demo.start_again();
    heard.push_str(demo.stop_and_hear());
    assert!(heard.contains("ready;"), "{heard}");

    let mut secrets = vec![fs::read_to_string(demo.dir().join("passphrase")).expect("a passphrase")];
    secrets.push(fs::read_to_string(demo.dir().join("upstream.token")).expect("a token"));
    let lines = keys.iter().flat_map(|key| key.lines()).filter(|line| line.len() > 20 && !line.starts_with('-'));
    secrets.extend(lines.map(str::to_owned));
    assert!(secrets.len() >= 10, "{}", secrets.len());
    for secret in &secrets {
        assert!(!heard.contains(secret.trim()), "a secret was said");
    }
    assert!(!heard.contains("PRIVATE KEY"), "{heard}");

    // Neither do the files of the authority: a key that it made is kept by nobody but its holder, and those it keeps
    // are encrypted.
    let mut kept = 0;
    for path in files(&demo.dir()).into_iter().filter(|path| !path.ends_with("profile.toml")) {
        let content = fs::read(&path).unwrap_or_default();
        let holds = |wanted: &[u8]| content.windows(wanted.len()).any(|found| found == wanted);
        kept += usize::from(content.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        assert!(!content.starts_with(b"-----BEGIN PRIVATE KEY-----"), "{}", path.display());
        for key in &keys {
            assert!(!holds(&scalar(key)), "{} holds somebody's key", path.display());
        }
    }
    assert_eq!(kept, 3, "the keys of three authorities");
}

/// The secret number in a PKCS #8 key of P-256: 32 octets at a fixed place.
fn scalar(pem: &str) -> Vec<u8> {
    use base64::Engine as _;
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text).expect("a key");
    let at = der.windows(7).position(|found| found == [0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20]).expect("an EC key");
    der[at + 7..at + 39].to_vec()
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What is written, wherever the lines break.
fn letters(text: &str) -> Vec<char> {
    let mut letters: Vec<char> = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    letters.sort_unstable();
    letters
}

/// Columns of a terminal: the characters here that are wide are those of East Asia.
fn columns(line: &str) -> usize {
    line.chars().map(|c| if ('\u{2e80}'..='\u{ffdc}').contains(&c) { 2 } else { 1 }).sum()
}
