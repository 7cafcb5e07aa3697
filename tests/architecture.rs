//! The rules of the house that a compiler does not know: who may name whom, and what no file may hold.
//!
//! `src/lib.rs` lists the modules in import order; a module names only modules above it. Further fences stand in
//! [`FENCES`]. Sources are read as tokens, so that a name inside a macro counts like any other; a name in a comment or
//! a string does not. `src/main.rs` is outside of the order. The second half plants one fault for each rule.
#![expect(clippy::expect_used, reason = "a checkout that cannot be read is a failed test")]

use std::{fs, path::Path};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// One thing that some modules must never name, and why.
struct Fence {
    holds: Holds,
    /// Modules of this crate that are out of reach …
    modules: &'static [&'static str],
    /// … but for these words directly inside them.
    but: &'static [&'static str],
    /// Crates that are out of reach.
    crates: &'static [&'static str],
    /// Whether code that only tests build is held to it too.
    in_tests: bool,
    why: &'static str,
}

enum Holds {
    In(&'static [&'static str]),
    OutsideOf(&'static [&'static str]),
}

/// Decides inside a transaction: sees the store through that only.
const DECIDING: [&str; 5] = ["command", "ledger", "directory", "ca", "revocation"];

const FENCES: [Fence; 6] = [
    Fence {
        holds: Holds::In(&["x509", "kube"]),
        modules: &["store"],
        but: &[],
        crates: &["tokio", "tracing", "hyper"],
        in_tests: true,
        why: "a format turns bytes into values and knows no store, async or log",
    },
    Fence {
        holds: Holds::In(&["command", "ledger", "directory", "engine", "ca", "revocation"]),
        modules: &["publish", "audit"],
        but: &[],
        crates: &[],
        in_tests: true,
        why: "what decides ends at the commit and never names a follower",
    },
    Fence {
        holds: Holds::In(&["proxy"]),
        modules: &["store", "engine", "ledger"],
        but: &[],
        crates: &[],
        in_tests: true,
        why: "a proxy runs without a store",
    },
    Fence {
        holds: Holds::OutsideOf(&[
            "store",
            "follow",
            "engine",
            "publish",
            "app",
            "command",
            "ledger",
            "directory",
            "ca",
            "revocation",
        ]),
        modules: &["store"],
        but: &[],
        crates: &[],
        in_tests: false,
        why: "there is one road to disk: engine, transaction, store",
    },
    Fence {
        holds: Holds::In(&DECIDING),
        modules: &["store"],
        but: &["Txn", "txn", "Record", "record", "StoreError", "CommitError"],
        crates: &[],
        in_tests: false,
        why: "what decides sees the store through its transaction only",
    },
    Fence {
        holds: Holds::OutsideOf(&["app", "cli", "config"]),
        modules: &["config"],
        but: &[],
        crates: &[],
        in_tests: true,
        why: "each module owns its checked settings; only app and cli know where they come from",
    },
];

/// Longer than this, a source file holds more than one idea.
const LONGEST_FILE: usize = 500;

#[test]
fn every_module_names_only_modules_above_it_and_every_fence_holds() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs is readable");
    let order = modules(&lib).expect("src/lib.rs lists the modules and nothing else");
    let faults: Vec<String> = rust_files("src")
        .iter()
        .filter(|(path, _)| path != "src/lib.rs" && path != "src/main.rs")
        .flat_map(|(path, source)| faults(&order, path, source))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_source_file_is_longer_than_one_idea() {
    let long: Vec<String> = rust_files("src")
        .iter()
        .map(|(path, source)| (path, source.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{path}: {lines} lines, {LONGEST_FILE} at most: split it"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn no_test_sleeps() {
    let asleep: Vec<String> = rust_files("tests").iter().flat_map(|(path, source)| sleeps(path, source)).collect();
    assert!(asleep.is_empty(), "wait on the thing itself:\n{}", asleep.join("\n"));
}

// What the rules mean.

/// The modules of a `lib.rs`, in order; or what else stands in it.
fn modules(lib: &str) -> Result<Vec<String>, String> {
    let file = syn::parse_file(lib).map_err(|error| error.to_string())?;
    let name = |item: syn::Item| match item {
        syn::Item::Mod(module) if module.content.is_none() => Ok(module.ident.to_string()),
        _ => Err("something other than `pub mod name;`".to_owned()),
    };
    file.items.into_iter().map(name).collect()
}

/// Everything that is wrong with one file, one line each: `path:line: what`.
fn faults(order: &[String], path: &str, source: &str) -> Vec<String> {
    let (module, depth) = place(path);
    let Some(own) = order.iter().position(|name| name == module) else {
        return vec![format!("{path}: belongs to no module of src/lib.rs")];
    };
    let mut found = Vec::new();
    for word in words(source, depth) {
        let mut fault = |what: String| found.push(format!("{path}:{}: {what}", word.line));
        match &word.kind {
            Kind::WholeCrate => fault(format!("`{module}` takes in the whole crate: name the modules it needs")),
            Kind::Module { name, .. } if order.iter().position(|other| other == name) > Some(own) => {
                fault(format!("`{module}` names `{name}`, which stands below it in src/lib.rs"));
            }
            Kind::Ident(name) if name == "unsafe" => fault("`unsafe`".to_owned()),
            _ => {}
        }
        for fence in FENCES.iter().filter(|fence| fence.is_crossed(module, &word)) {
            fault(format!("`{module}` names `{}`: {}", word.kind, fence.why));
        }
    }
    found
}

impl Fence {
    fn is_crossed(&self, module: &str, word: &Word) -> bool {
        let holds = match self.holds {
            Holds::In(modules) => modules.contains(&module),
            Holds::OutsideOf(modules) => !modules.contains(&module),
        };
        let named = match &word.kind {
            Kind::Module { name, inner } => {
                self.modules.contains(&name.as_str())
                    && !inner.as_ref().is_some_and(|inner| self.but.contains(&inner.as_str()))
            }
            Kind::Ident(name) => self.crates.contains(&name.as_str()),
            Kind::WholeCrate => false,
        };
        holds && named && (self.in_tests || !word.in_test)
    }
}

/// Every call of something named `sleep`, the clock of a runtime that stands still included: tests wait for events.
fn sleeps(path: &str, source: &str) -> Vec<String> {
    let is_sleep = |word: &Word| matches!(&word.kind, Kind::Ident(name) if name == "sleep" || name == "sleep_until");
    words(source, 1).iter().filter(|word| is_sleep(word)).map(|word| format!("{path}:{}", word.line)).collect()
}

// Reading sources.

/// Something a source says that a rule may be about.
struct Word {
    line: usize,
    in_test: bool,
    kind: Kind,
}

enum Kind {
    /// A module of this crate, and the word behind it in the path, if there is exactly one.
    Module { name: String, inner: Option<String> },
    /// The crate itself: `use crate::*`, `use crate as …`, `extern crate …`.
    WholeCrate,
    /// Any other word of the language or of the source.
    Ident(String),
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Module { name, inner: Some(inner) } => write!(out, "{name}::{inner}"),
            Self::Module { name, .. } | Self::Ident(name) => out.write_str(name),
            Self::WholeCrate => out.write_str("crate"),
        }
    }
}

/// The module a file under `src` belongs to, and how many modules deep it stands: `src/x509/csr.rs` is `x509`, 2.
fn place(path: &str) -> (&str, usize) {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    (inside.split('/').next().unwrap_or(inside), inside.split('/').count())
}

fn words(source: &str, depth: usize) -> Vec<Word> {
    let tokens: TokenStream = syn::parse_str(source).expect("a source file is made of tokens");
    let mut found = Vec::new();
    read(&tokens.into_iter().collect::<Vec<_>>(), depth, false, &mut found);
    found
}

/// Collects the words of `tokens`, which stand in a module `depth` below the crate.
fn read(tokens: &[TokenTree], depth: usize, in_test: bool, found: &mut Vec<Word>) {
    // `#[cfg(test)]` reaches to the end of the item below it: its braces or its semicolon.
    let mut test_item = false;
    // `mod name` goes one deeper at its braces.
    let mut module_ahead = false;
    for (at, token) in tokens.iter().enumerate() {
        let rest = tokens.get(at + 1..).unwrap_or_default();
        match token {
            TokenTree::Ident(ident) => {
                module_ahead |= ident == "mod";
                let mut say = |line, kind| found.push(Word { line, in_test: in_test || test_item, kind });
                if let Some(tail) = behind_crate(ident, rest, depth) {
                    leaves(tail, ident, &mut say);
                } else if whole_crate(ident, rest) {
                    say(line(ident), Kind::WholeCrate);
                }
                say(line(ident), Kind::Ident(ident.to_string()));
            }
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let block = group.delimiter() == Delimiter::Brace;
                let deeper = usize::from(block && module_ahead);
                read(&inner, depth + deeper, in_test || test_item, found);
                test_item |= group.delimiter() == Delimiter::Bracket
                    && group.stream().to_string().replace(' ', "") == "cfg(test)";
                test_item &= !block;
                module_ahead &= !block;
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => (test_item, module_ahead) = (false, false),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// What follows `crate::`, or as many `super::` as lead to the crate.
fn behind_crate<'a>(ident: &Ident, rest: &'a [TokenTree], depth: usize) -> Option<&'a [TokenTree]> {
    let mut rest = behind_colons(rest)?;
    if ident == "crate" {
        return Some(rest);
    }
    let mut climbed = usize::from(ident == "super");
    while let (true, Some((TokenTree::Ident(next), further))) = (climbed > 0, rest.split_first()) {
        let (true, Some(further)) = (next == "super", behind_colons(further)) else { break };
        (rest, climbed) = (further, climbed + 1);
    }
    (climbed > 0 && climbed == depth).then_some(rest)
}

/// `use crate as root`, `extern crate self as root`.
fn whole_crate(ident: &Ident, rest: &[TokenTree]) -> bool {
    let next = |word: &str| matches!(rest.first(), Some(TokenTree::Ident(next)) if next == word);
    (ident == "crate" && next("as")) || (ident == "extern" && next("crate"))
}

/// The modules that a path or a tree of `use` names, right behind `crate::`.
fn leaves(tail: &[TokenTree], start: &Ident, say: &mut impl FnMut(usize, Kind)) {
    match tail.split_first() {
        Some((TokenTree::Group(group), _)) => {
            for branch in branches(group.stream()) {
                leaves(&branch, start, say);
            }
        }
        Some((TokenTree::Ident(name), _)) if name == "self" => say(line(name), Kind::WholeCrate),
        Some((TokenTree::Ident(name), rest)) => {
            for inner in inner_words(rest) {
                say(line(name), Kind::Module { name: name.to_string(), inner });
            }
        }
        _ => say(line(start), Kind::WholeCrate),
    }
}

/// The words that stand directly inside a module in a path: one, several in braces, or none that can be told.
fn inner_words(rest: &[TokenTree]) -> Vec<Option<String>> {
    let word = |branch: &[TokenTree]| match branch.first() {
        Some(TokenTree::Ident(inner)) => Some(inner.to_string()),
        _ => None,
    };
    match behind_colons(rest).unwrap_or_default() {
        [TokenTree::Group(group), ..] => branches(group.stream()).iter().map(|branch| word(branch)).collect(),
        path => vec![word(path)],
    }
}

/// The parts of a brace group of `use`, which commas divide.
fn branches(group: TokenStream) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<TokenTree> = group.into_iter().collect();
    let comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    tokens.split(comma).filter(|branch| !branch.is_empty()).map(<[TokenTree]>::to_vec).collect()
}

fn behind_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [TokenTree::Punct(first), TokenTree::Punct(second), rest @ ..]
            if first.as_char() == ':' && second.as_char() == ':' =>
        {
            Some(rest)
        }
        _ => None,
    }
}

fn line(ident: &Ident) -> usize {
    ident.span().start().line
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Path (from the root, with `/`) and text of every `.rs` file in a folder and below it.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).expect("the folder is readable") {
        let entry = entry.expect("the folder is readable");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(rust_files(&path));
        } else if path.ends_with(".rs") {
            found.push((path, fs::read_to_string(entry.path()).expect("a source file is text")));
        }
    }
    found
}

// Planted faults: each rule finds what it is for.

/// The design's order, so that the planted faults do not change with the house.
const PLANTED_ORDER: &str = "
    pub mod world; pub mod ident; pub mod x509; pub mod kube; pub mod store; pub mod command; pub mod follow;
    pub mod ledger; pub mod directory; pub mod engine; pub mod ca; pub mod revocation; pub mod publish; pub mod audit;
    pub mod proxy; pub mod api; pub mod config; pub mod app; pub mod cli;";

fn planted(path: &str, source: &str) -> Vec<String> {
    faults(&modules(PLANTED_ORDER).expect("a list of modules"), path, source)
}

/// Exactly one fault is found, on this line, and it says this.
#[track_caller]
fn found(path: &str, source: &str, line: usize, says: &str) {
    let faults = planted(path, source);
    let right = faults.len() == 1
        && faults.iter().all(|fault| fault.starts_with(&format!("{path}:{line}: ")) && fault.contains(says));
    assert!(right, "wanted one fault on line {line} that says {says:?}, found {faults:?} in\n{source}");
}

#[track_caller]
fn allowed(path: &str, source: &str) {
    let faults = planted(path, source);
    assert!(faults.is_empty(), "wanted no fault, found {faults:?} in\n{source}");
}

#[test]
fn a_name_from_below_is_found_in_every_spelling() {
    let below = "`ident` names `engine`, which stands below it";
    for source in [
        "\nuse crate::engine;",
        "\nuse crate::engine::run as go;",
        "\nuse crate::{world, engine::Engine};",
        "\nuse crate::{world::{Clock, Entropy}, engine};",
        "\nuse super::engine::Engine;",
        "\nuse self::super::engine::Engine;",
        "\nfn f() { crate::engine::run() }",
        "\nfn f() { super::engine::run() }",
        "\nimpl crate::engine::Decides for Id {}",
        "\nfn f() { assert!(crate::engine::run() == 1) }",
        "\nmacro_rules! m { () => { $crate::engine::run() } }",
        "\nmod inner { use super::super::engine; }",
        "\n#[cfg(test)] mod tests { use crate::engine; }",
    ] {
        found("src/ident.rs", source, 2, below);
    }
    found("src/ident/tests.rs", "use super::super::engine;", 1, below);
    found("src/ident/mod.rs", "use super::engine;", 1, below);
}

#[test]
fn taking_in_the_whole_crate_is_found() {
    for source in [
        "use crate::*;",
        "use super::*;",
        "use crate as root;",
        "use crate::{self as root};",
        "extern crate self as p;",
    ] {
        found("src/ident.rs", source, 1, "takes in the whole crate");
    }
}

#[test]
fn names_from_above_from_within_and_in_words_are_allowed() {
    for source in [
        "use crate::world::{Clock, Timestamp};",
        "use crate::ident::UserId;",
        "use super::world;",
        "pub(crate) fn f() {} pub(super) fn g() {} pub(in crate::ident) fn h() {}",
        "mod tests { use super::*; }",
        "/// See [`crate::engine`].\nfn f() -> &'static str { \"crate::engine\" } // crate::engine",
        "fn f(engine: u8) -> u8 { engine::<u8>() }",
    ] {
        allowed("src/ident.rs", source);
    }
    allowed("src/ident/tests.rs", "use super::*;");
}

#[test]
fn a_file_outside_the_list_and_a_lib_with_more_than_a_list_are_found() {
    assert_eq!(planted("src/utils.rs", ""), ["src/utils.rs: belongs to no module of src/lib.rs"]);
    assert!(modules("pub mod world; pub use world::Clock;").is_err());
    assert!(modules("pub mod world { pub struct Clock; }").is_err());
    assert_eq!(
        modules("//! Words.\npub mod world;\n/// More.\npub mod ident;"),
        Ok(vec!["world".into(), "ident".into()])
    );
}

#[test]
fn a_format_that_knows_async_log_or_http_is_found() {
    for source in [
        "use tokio::fs;",
        "use ::hyper::Request;",
        "fn f() { tracing::info!(\"read\") }",
        "#[tokio::test] async fn t() {}",
        "use {tokio, std::fmt};",
    ] {
        found("src/x509/csr.rs", source, 1, "a format turns bytes into values");
    }
    found("src/kube/status.rs", "use hyper::StatusCode;", 1, "a format turns bytes into values");
    allowed("src/proxy/forward.rs", "use hyper::StatusCode; use tokio::net;");
}

#[test]
fn a_format_that_knows_the_store_is_found() {
    let faults = planted("src/x509/csr.rs", "use crate::store::Store;");
    assert!(faults.iter().any(|fault| fault.contains("a format turns bytes into values")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("stands below it")), "{faults:?}");
}

#[test]
fn a_decision_that_names_a_follower_is_found() {
    for module in ["command", "ledger", "directory", "engine", "ca", "revocation"] {
        for follower in ["publish", "audit"] {
            let faults = planted(&format!("src/{module}/x.rs"), &format!("use crate::{follower}::Now;"));
            assert!(faults.iter().any(|fault| fault.contains("never names a follower")), "{module}: {faults:?}");
        }
    }
}

#[test]
fn a_proxy_that_names_what_needs_a_store_is_found() {
    for module in ["engine", "ledger"] {
        found("src/proxy/admit.rs", &format!("use crate::{module}::X;"), 1, "a proxy runs without a store");
    }
    let faults = planted("src/proxy/admit.rs", "#[cfg(test)] mod tests { use crate::store::Store; }");
    assert!(faults.iter().any(|fault| fault.contains("a proxy runs without a store")), "{faults:?}");
}

#[test]
fn a_second_road_to_disk_is_found() {
    found("src/api/mod.rs", "use crate::store::Store;", 1, "one road to disk");
    found("src/api/mod.rs", "#[cfg(test)] use crate::world;\nuse crate::store::Txn;", 2, "one road to disk");
    allowed("src/api/mod.rs", "#[cfg(test)] mod tests { use crate::store::memory::MemoryStore; }");
    for module in ["engine", "app", "follow", "publish", "store"] {
        allowed(&format!("src/{module}/x.rs"), "use crate::store::{Store, Txn};");
    }
}

#[test]
fn a_decision_that_goes_round_its_transaction_is_found() {
    for module in DECIDING {
        let path = format!("src/{module}/x.rs");
        for source in [
            "use crate::store::Store;",
            "use crate::store;",
            "use crate::store::*;",
            "use crate::store::{self, Txn};",
            "fn f() { crate::store::memory::open() }",
        ] {
            found(&path, source, 1, "through its transaction only");
        }
        allowed(
            &path,
            "use crate::store::{Record, Txn, record::Kind, txn::Read}; #[cfg(test)] use crate::store::Store;",
        );
    }
}

#[test]
fn settings_read_outside_of_app_and_cli_are_found() {
    for path in ["src/app.rs", "src/cli/serve.rs", "src/config/layers.rs"] {
        allowed(path, "use crate::config::Authority;");
    }
    let faults = planted("src/proxy/admit.rs", "use crate::config::Proxy;");
    assert!(faults.iter().any(|fault| fault.contains("owns its checked settings")), "{faults:?}");
}

#[test]
fn unsafe_code_is_found() {
    found("src/world.rs", "fn f() {\n    unsafe { std::hint::unreachable_unchecked() }\n}", 2, "`unsafe`");
    allowed("src/world.rs", "#![forbid(unsafe_code)]");
}

#[test]
fn a_test_that_sleeps_is_found() {
    let source = "fn f() {\n    std::thread::sleep(SECOND);\n    tokio::time::sleep(SECOND).await; // sleep\n}";
    assert_eq!(sleeps("tests/x.rs", source), ["tests/x.rs:2", "tests/x.rs:3"]);
    assert_eq!(sleeps("tests/x.rs", "fn no_one_sleeps() { \"sleep()\"; }"), [""; 0]);
}
