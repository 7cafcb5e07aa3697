//! What callers were told while they issued and revoked, and whether an authority keeps to it.

use std::sync::Mutex;

use crate::caller::{Answer, Caller};
use crate::site::until;

/// What callers were told.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) issued: Vec<String>,
    pub(crate) revoking: Vec<String>,
    pub(crate) revoked: Vec<String>,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
}

/// Issues a certificate and revokes two of three.
pub(crate) fn work(caller: &mut Caller, ledger: &Mutex<Ledger>, number: usize) {
    let issued = caller.issue("bea");
    let Some(answer) = note(&issued, ledger) else { return };
    let serial = answer.body["certificate"]["serial"].as_str().unwrap().to_owned();
    ledger.lock().unwrap().issued.push(serial.clone());
    if number.is_multiple_of(3) {
        return;
    }
    ledger.lock().unwrap().revoking.push(serial.clone());
    if note(&caller.revoke("certificate", &serial), ledger).is_some() {
        ledger.lock().unwrap().revoked.push(serial);
    }
}

/// The answer, if it is yes; otherwise which kind of no it is.
fn note<'a>(answer: &'a Result<Answer, String>, ledger: &Mutex<Ledger>) -> Option<&'a Answer> {
    let answer = answer.as_ref().ok()?;
    if answer.is_ok() {
        return Some(answer);
    }
    let mut ledger = ledger.lock().unwrap();
    match (answer.status, answer.code()) {
        (500, "outcome_unknown") => ledger.unknown += 1,
        (503, "unavailable" | "busy") | (507, "disk_full") => ledger.refused += 1,
        _ => panic!("neither unknown nor refused: {answer:?}"),
    }
    None
}

/// Everything acknowledged is so.
pub(crate) fn owes_nothing(caller: &mut Caller, rule: &str, ledger: &Ledger) {
    for serial in &ledger.issued {
        let state = caller.state(serial).unwrap();
        if ledger.revoked.contains(serial) {
            assert_eq!(state, "revoked", "{rule}: {serial} was revoked");
        } else if ledger.revoking.contains(serial) {
            assert!(["good", "revoked"].contains(&state.as_str()), "{rule}: {serial} is {state}");
        } else {
            assert_eq!(state, "good", "{rule}: {serial} was issued");
        }
    }
    until(|| caller.issue("bea").unwrap(), Answer::is_ok);
}
