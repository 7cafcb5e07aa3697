//! The pages are true: their commands are typed into a shell, in their order, and end as the pages say.
//!
//! `page` reads what a page tells its reader to type, `place` types it. What stands for what (hosts, ports, folders) is
//! in one table for each story. Besides, every command of ours that any page mentions is one that there is.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "docs/page.rs"]
mod page;
#[path = "docs/place.rs"]
mod place;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use page::Page;
use place::{Place, Walk, edit};
use support::remote::free_port;
use support::run::{program, run};
use support::{Demo, PORTCULLIS};

#[test]
fn what_there_is_to_try_and_to_do_about_a_leaver_is_as_the_pages_say() {
    let demo = Demo::start();
    symlink(demo.dir(), demo.file("portcullis-demo")).expect("a link");
    let mut place = Place::new(demo.file(""))
        .swap("http://127.0.0.1:7081", format!("http://{}", demo.address("health")))
        // Nobody is there to type the word.
        .swap("'left on Friday'", "'left on Friday' --yes");
    place.set("PORTCULLIS_PROFILE", demo.dir().join("profile.toml").display().to_string());
    let mut readme = Walk::of("README");
    readme.up_to(&mut place, "kubectl");
    readme.ending(&mut place, "kubectl", 0);
    readme.ending(&mut place, "kubectl", 1);
    demo.user("bob", &[]);
    place.follow("try");
    place.follow("revoke-a-leaver");
    place.leave();
}

#[test]
fn what_other_verifiers_are_told_is_as_the_page_says() {
    let demo = Demo::start();
    let public = demo.address("public").to_owned();
    let mut place = Place::new(demo.file(""));
    place.set("PORTCULLIS_PROFILE", demo.dir().join("profile.toml").display().to_string());
    place.quietly("portcullis user add gus --group dev");
    place.quietly("portcullis issue gus --out ana.pem");
    let mut page = Walk::of("relying-parties");
    let script = page.shown("cat refresh.sh");
    assert!(script.contains("127.0.0.1:7080"), "{script}");
    demo.write("refresh.sh", script.replace("127.0.0.1:7080", &public));
    page.ending(&mut place, "openssl verify", 0);
    place.quietly("portcullis revoke user gus --yes --reason keyCompromise");
    place.quietly("sh refresh.sh");
    page.ending(&mut place, "openssl verify", 2);
    page.rest(&mut place);
}

#[test]
fn rolling_out_beside_direct_access_is_as_the_page_says() {
    let demo = Demo::start();
    direct_access(&demo);
    let mut place = Place::new(demo.file("")).swap("ana@prod", "ana@demo").swap("--cluster prod", "--cluster demo");
    place.set("PORTCULLIS_PROFILE", demo.dir().join("profile.toml").display().to_string());
    let mut page = Walk::of("roll-out");
    page.ending(&mut place, "kubectl --context old auth whoami", 0);
    page.up_to(&mut place, "kubectl --context old auth whoami");
    let closed = format!("127.0.0.1:{}", free_port());
    edit(&place.file(".kube/config"), &[(demo.address("upstream"), &closed)]);
    page.ending(&mut place, "kubectl --context old auth whoami", 1);
    page.rest(&mut place);
    place.leave();
}

#[test]
fn an_authority_from_its_installation_to_its_end_is_as_the_pages_say() {
    let site = Site::new();
    let mut place = site.place();
    let mut install = Walk::of("install");
    install.up_to(&mut place, "portcullis init");
    site.edit_authority();
    install.up_to(&mut place, "portcullis serve --config bad.toml");
    install.ending(&mut place, "portcullis serve --config bad.toml", 1);
    install.rest(&mut place);

    let mut proxy = Walk::of("proxy");
    // It is there since the page before.
    proxy.ending(&mut place, "portcullis cluster add prod", 1);
    proxy.up_to(&mut place, "portcullis proxy join");
    site.write_proxy();
    proxy.rest(&mut place);

    place.quietly("portcullis user add bob --group developers");
    let mut backup = Walk::of("backup-and-restore");
    backup.up_to(&mut place, "portcullis store restore");
    place.quietly("portcullis revoke user bob --lock --yes");
    place.stop("portcullis serve");
    backup.up_to(&mut place, "portcullis user show");
    place.quietly("portcullis serve");
    backup.rest(&mut place);

    fs::remove_file(place.file("ana.toml")).expect("the profile that is lost");
    place.follow("back-in");

    let mut lost = Walk::of("lost-passphrase");
    lost.up_to(&mut place, "portcullis serve");
    place.stop("portcullis serve");
    fs::remove_file(site.etc.join("passphrase")).expect("the passphrase");
    lost.ending(&mut place, "portcullis serve", 1);
    lost.up_to(&mut place, "portcullis init");
    fs::remove_file(place.file("ana.toml")).expect("the old profile");
    lost.rest(&mut place);
    place.stop("portcullis serve");
    place.leave();
}

#[test]
fn taking_it_away_is_as_the_page_says() {
    let site = Site::new();
    direct_access_to_nothing(&site);
    let mut place = site.place();
    place.quietly("install -d -m 700 /etc/portcullis");
    place.quietly("(umask 077; openssl rand -base64 32 > /etc/portcullis/passphrase)");
    place.quietly("cp config/authority.toml /etc/portcullis/authority.toml");
    site.edit_authority();
    site.write_proxy();
    for line in [
        "portcullis init --admin admin --out ana.toml",
        "portcullis serve",
        "portcullis cluster add prod --server https://prod.example.com:7444",
        "portcullis proxy token --cluster prod --name prod-a",
        "portcullis proxy join - < token",
        "portcullis user add ana",
    ] {
        place.quietly(line);
    }
    let mut page = Walk::of("uninstall");
    page.up_to(&mut place, "rm -r /var/lib/portcullis");
    // The mirror went first.
    page.ending(&mut place, "rm -r /var/lib/portcullis/mirror", 0);
    page.up_to(&mut place, "rm -r /var/lib/portcullis");
    place.stop("portcullis serve");
    page.rest(&mut place);
    assert!(!site.etc.exists() && !site.var.exists());
}

#[test]
fn cas_of_others_and_stolen_ones_are_as_the_pages_say() {
    let mut demo = Demo::start();
    let text = |path: PathBuf| path.display().to_string();
    let (dir, stick, own) = (text(demo.dir()), text(demo.file("stick")), demo.file("own"));
    fs::create_dir(&own).expect("a folder");
    let mut place = Place::new(demo.file(""))
        .swap("root detach", format!("root detach --dir {dir}"))
        .swap("/media/stick/portcullis-root", &stick)
        .swap("--passphrase-file passphrase", format!("--passphrase-file {dir}/passphrase --yes"))
        .swap("--reason keyCompromise", "--reason keyCompromise --yes")
        .swap("--config authority.toml", format!("--config {}", text(own.join("authority.toml"))));
    place.set("PORTCULLIS_PROFILE", demo.dir().join("profile.toml").display().to_string());
    place.quietly("portcullis cluster add prod --server https://127.0.0.1:1");
    let ca = "basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign";
    place.quietly(&format!(
        "openssl req -x509 -nodes -config /dev/null -newkey rsa:2048 -subj /CN=kubernetes -addext {ca} -addext \
         subjectKeyIdentifier=hash -keyout ca.key -out ca.crt"
    ));
    let leaf = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n";
    let below = "basicConstraints=critical,CA:TRUE,pathlen:1\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
    fs::write(demo.file("leaf.ext"), leaf).expect("a file");
    fs::write(demo.file("below.ext"), below).expect("a file");
    place.quietly(
        "openssl req -new -nodes -config /dev/null -newkey rsa:2048 -subj /O=developers/CN=ana -keyout a.key -out a.csr",
    );
    let sign = |csr: &str, extensions: &str, out: &str| {
        format!("openssl x509 -req -days 90 -in {csr} -CA ca.crt -CAkey ca.key -extfile {extensions} -out {out}")
    };
    place.quietly(&sign("a.csr", "leaf.ext", "ana.crt"));
    let port = free_port();
    let settings = format!(
        "[listen]\napi = \"127.0.0.1:{port}\"\n[api]\nurl = \"https://127.0.0.1:{port}\"\n[public]\n\
         url = \"http://127.0.0.1:1\"\ncrl_dir = \"crl\"\n[store]\ndir = \"store\"\n[ca]\ndir = \"ca\"\n\
         passphrase_file = \"{dir}/passphrase\"\n"
    );
    fs::write(own.join("authority.toml"), settings).expect("a file");

    let mut page = Walk::of("own-ca");
    page.up_to(&mut place, "portcullis init --config authority.toml --root-cert");
    place.quietly(&sign("root.csr", "below.ext", "root.pem"));
    page.up_to(&mut place, "portcullis cluster add east");
    place.quietly(&sign("east-1.csr", "below.ext", "east-1.pem"));
    page.up_to(&mut place, "portcullis root detach");
    demo.stop();
    page.ending(&mut place, "portcullis root detach", 0);
    demo.start_again();
    page.ending(&mut place, "portcullis root publish", 0);
    demo.stop();
    place.quietly(&format!("portcullis root attach --dir {dir} --from {stick}"));
    demo.start_again();
    page.rest(&mut place);
    place.follow("stolen-ca-key");
    place.leave();
}

/// Folders and ports of an authority and a proxy; the API server is a demo's, of which nothing else is used.
struct Site {
    demo: Demo,
    home: PathBuf,
    etc: PathBuf,
    var: PathBuf,
    ports: [u16; 4],
}

impl Site {
    fn new() -> Self {
        let demo = Demo::start();
        let home = demo.file("site");
        fs::create_dir(&home).expect("a folder");
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("config"), home.join("config")).expect("a link");
        fs::write(home.join("bad.toml"), BAD).expect("a file");
        let (etc, var) = (home.join("etc"), home.join("var"));
        Self { demo, home, etc, var, ports: [(); 4].map(|()| free_port()) }
    }

    fn place(&self) -> Place {
        let text = |path: &Path| path.display().to_string();
        let mut place = Place::new(self.home.clone())
            .swap("/etc/portcullis", text(&self.etc))
            .swap("/var/lib/portcullis", text(&self.var))
            .swap("/backup/", text(&self.home.join("backup-")))
            // Nobody is there to type the word; and who is locked by the restore is bob.
            .swap("store restore --from", "store restore --yes --from")
            .swap("user show ana", "user show bob")
            .swap("user unlock ana", "user unlock bob");
        place.set("PORTCULLIS_PROFILE", text(&self.home.join("ana.toml")));
        place.configure(
            &self.etc.join("authority.toml"),
            &["init", "serve", "store backup", "store verify", "store restore"],
        );
        place.configure(&self.etc.join("proxy.toml"), &["proxy join -", "proxy run", "proxy deny"]);
        place
    }

    /// "And edit it", as the page says.
    fn edit_authority(&self) {
        let [api, public, ..] = self.ports;
        let (etc, var) = (self.etc.display().to_string(), self.var.display().to_string());
        edit(
            &self.etc.join("authority.toml"),
            &[
                ("/etc/portcullis/passphrase\"\n", &format!("{etc}/passphrase\"\n")),
                ("#dir = \"/var/lib/portcullis", &format!("dir = \"{var}")),
                ("#crl_dir = \"/var/lib/portcullis", &format!("crl_dir = \"{var}")),
                ("#api = \"127.0.0.1:7443\"", &format!("api = \"127.0.0.1:{api}\"")),
                ("#public = \"127.0.0.1:7080\"", &format!("public = \"127.0.0.1:{public}\"")),
                ("https://authority.example.com:7443", &format!("https://127.0.0.1:{api}")),
                ("http://crl.example.com:7080", &format!("http://127.0.0.1:{public}")),
            ],
        );
        fs::create_dir_all(&self.var).expect("a folder");
    }

    fn write_proxy(&self) {
        let [.., proxy, health] = self.ports;
        let profile = profile_of(&self.demo);
        let ca = self.home.join("apiserver-ca.crt");
        fs::write(&ca, profile["ca"].as_str().expect("a CA")).expect("a file");
        let text = format!(
            "[listen]\nproxy = \"127.0.0.1:{proxy}\"\nhealth = \"127.0.0.1:{health}\"\n[cluster]\nname = \"prod\"\n\
             [upstream]\nurl = \"https://{}\"\nca = \"{}\"\ntoken_file = \"{}\"\n[mirror]\ndir = \"{}\"\n",
            self.demo.address("upstream"),
            ca.display(),
            self.demo.dir().join("upstream.token").display(),
            self.var.join("mirror").display(),
        );
        fs::write(self.etc.join("proxy.toml"), text).expect("a file");
    }
}

fn profile_of(demo: &Demo) -> toml::Table {
    fs::read_to_string(demo.dir().join("profile.toml")).expect("a profile").parse().expect("TOML")
}

/// What somebody has in a kubeconfig whose cluster is of no matter.
fn direct_access_to_nothing(site: &Site) {
    fs::create_dir(site.home.join(".kube")).expect("a folder");
    let text = "apiVersion: v1\nkind: Config\ncontexts:\n- name: ana@prod\n  context: {cluster: prod, user: ana}\n";
    fs::write(site.home.join(".kube/config"), text).expect("a file");
}

/// A kubeconfig as people have it before: straight to the API server, in a context `old`.
fn direct_access(demo: &Demo) {
    let profile = profile_of(demo);
    let ca = demo.write("old-ca.pem", profile["ca"].as_str().expect("a CA"));
    let token = fs::read_to_string(demo.dir().join("upstream.token")).expect("a token");
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: old\n  cluster:\n    server: https://{}\n    certificate-authority: {}\n\
         users:\n- name: old\n  user:\n    token: {}\ncontexts:\n- name: old\n  context:\n    cluster: old\n    user: old\ncurrent-context: old\n",
        demo.address("upstream"),
        ca.display(),
        token.trim(),
    );
    fs::create_dir(demo.file(".kube")).expect("a folder");
    demo.write(".kube/config", text);
}

/// The configuration that `install.md` shows the mistakes of.
const BAD: &str = "[listen]\napi = \"0.0.0.0:7443\"\napii = \"x\"\n[public]\nurl = \"https://x\"\n\
                   [ca]\ndir = \"/var/lib/portcullis/store\"\n";

#[test]
fn every_command_that_a_page_mentions_is_one_that_there_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut seen = 0;
    for page in Page::all() {
        for mention in &page.mentions {
            let line = PLACEHOLDERS.iter().fold(mention.clone(), |line, (from, to)| line.replace(from, to));
            // These would stay: they are asked for their help, behind everything else that is typed.
            let stays = ["quickstart", "serve", "proxy run", "init"].iter().any(|name| line.starts_with(name));
            let line = if stays { format!("{line} --help") } else { line };
            let said = run(program("bash")
                .args(["--norc", "-c", &format!("exec {PORTCULLIS} {line}")])
                .current_dir(&folder)
                .env("HOME", folder.path()));
            // A command without what it needs is a mention; one that is not there, or an option, is a mistake.
            let unknown = ["unexpected argument", "unrecognized subcommand", "invalid value", "unexpected value"];
            let wrong = unknown.iter().any(|words| said.err.contains(words));
            assert!(!wrong, "{}: `portcullis {mention}`\n{}", page.name, said.err);
            seen += 1;
        }
    }
    assert!(seen > 80, "{seen} mentions");
}

/// What pages leave out or leave to their reader.
const PLACEHOLDERS: [(&str, &str); 5] = [
    ("COMMAND", "user list"),
    ("X509SHA256=…", "X509SHA256=0000000000000000000000000000000000000000000000000000000000000000"),
    ("[--crl FILE]…", "--crl FILE"),
    ("[--dry-run]", "--dry-run"),
    ("…", "x"),
];
