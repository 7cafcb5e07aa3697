//! One program for every target, so that there is one to build: `PORTCULLIS_FUZZ` names the target, the arguments are
//! libFuzzer's own. `just fuzz` puts both together.
#![no_main]

use std::sync::OnceLock;

mod targets;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();
    CHOSEN.get_or_init(chosen)(octets);
});

fn chosen() -> fn(&[u8]) {
    let name = std::env::var("PORTCULLIS_FUZZ").unwrap_or_default();
    let names: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
    let found = targets::ALL.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("wanted one of {names:?} in PORTCULLIS_FUZZ, found {name:?}")).1
}
