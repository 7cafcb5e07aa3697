# What a change is measured by. `tests/run` installs what these need and runs them all; CI runs `tests/run`.
# By hand: `eval "$(tests/run --tools)"` once in a shell gives it the tools, `just` among them.

export CARGO_TERM_COLOR := env("CARGO_TERM_COLOR", "auto")

# List the recipes.
default:
    @just --list --unsorted

# Everything that is quick to say no: formatting, lints, documentation, licences and bans.
check: fmt clippy doc deny

# The sources are formatted.
fmt:
    cargo fmt --check
    gofmt -l tests/kube tests/readers | (! grep .)

# No lint is left, tests included.
clippy:
    cargo clippy --locked --all-targets -- -D warnings

# Every public item is documented and every link leads somewhere.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet

# Licences, bans, duplicates and sources of every dependency; says nothing about advisories.
deny:
    cargo deny --offline --locked check --allow license-exception-not-encountered --hide-inclusion-graph bans licenses sources
    cargo deny --offline --locked --manifest-path fuzz/Cargo.toml --config deny.toml check --hide-inclusion-graph bans licenses sources

# Known vulnerabilities of every dependency, where their database can be fetched; tests/run leaves it out.
advisories:
    cargo deny --locked check advisories

# All tests, or those that the arguments choose: `just test --test revoke`.
test *ARGS:
    cargo test --locked {{ARGS}}

# So many kills under load (docs/store.md); the tests have 200 of them. A seed chooses other moments: `just kills 10000 7`.
kills COUNT SEED="1":
    PORTCULLIS_KILLS={{COUNT}} PORTCULLIS_KILLS_SEED={{SEED}} cargo test --locked --test kills -- --nocapture

# So many damaged copies of a store (docs/store.md); the tests have 112 of them: `just damage 1000 7`.
damage COUNT SEED="1":
    PORTCULLIS_DAMAGE={{COUNT}} PORTCULLIS_DAMAGE_SEED={{SEED}} cargo test --locked --lib store::local::tests::copies -- --nocapture

# So many power cuts that take a random part of what was not synced (docs/store.md); the tests have 100 of them.
losses COUNT SEED="1":
    PORTCULLIS_LOSSES={{COUNT}} PORTCULLIS_LOSSES_SEED={{SEED}} cargo test --locked --lib store::local::tests::losses -- --nocapture

# So many runs in which strace makes a call of the running authority fail (docs/store.md); the tests have 8 of them.
traced COUNT SEED="1":
    PORTCULLIS_TRACED={{COUNT}} PORTCULLIS_TRACED_SEED={{SEED}} cargo test --locked --test faults traced:: -- --nocapture

# Fuzzes what reads foreign bytes, on stable Rust (fuzz/README.md): `just fuzz 60`, a minute each; `just fuzz csr 300`, one.
fuzz *ARGS:
    fuzz/run {{ARGS}}

# Makes the seeds of the fuzzers anew.
seeds:
    cargo test --locked --test corpora -- --ignored seeds_are_made_anew

# A small store as this version leaves it, which every later one must open (tests/upgrade.rs): `just store-fixture store-2`.
store-fixture NAME:
    cargo build --locked
    tests/fixtures/make-store "${CARGO_TARGET_DIR:-target}/debug/portcullis" tests/fixtures/{{NAME}}.tar.gz

# One measurement of `docs/performance.md`: `just bench lookups`.
bench NAME:
    cargo bench --locked --bench {{NAME}}

# Each check that a refusal rests on, taken out: its test must fail. Arguments choose patches by name; `--half` takes
# the half that falls to this commit, as tests/run does.
mutants *ARGS:
    tests/mutants/run {{ARGS}}

# kubectl, kube-apiserver and etcd for the tests, built where KUBEBUILDER_ASSETS gives none; prints where they are.
kube:
    @tests/run --tools | sed -En 's/^export PORTCULLIS_TEST_(KUBECTL|APISERVER|ETCD)=//p'

# The readers of other make that our files are shown to; prints where they are.
readers:
    @tests/run --tools | sed -n 's/^export PORTCULLIS_TEST_[CP][A-Z]*=//p'
