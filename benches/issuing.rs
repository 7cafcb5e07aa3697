//! Durable issuances a second over the API of `portcullis serve`, by 64 clients that each keep a connection.
//!
//! Each asks with the admin's management certificate for a certificate of a user, with a signing request made beforehand,
//! and waits for the answer before it asks again. Clients and authority share the machine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[allow(dead_code, reason = "a story uses more of it")]
#[path = "../tests/faults/caller.rs"]
mod caller;
#[path = "support/mod.rs"]
mod measuring;
#[allow(dead_code, reason = "a story uses more of it")]
#[path = "../tests/faults/site.rs"]
mod site;
#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use caller::CLUSTER;
use measuring::Times;
use site::Site;

const CLIENTS: usize = 64;
const TIME: Duration = Duration::from_secs(20);
/// Signing requests made beforehand for each second: more than are asked for.
const A_SECOND: usize = 3000;

fn main() {
    if measuring::case().is_none() {
        return;
    }
    let mut site = Site::make(None);
    site.serve();
    site.add_cluster();
    let requests = Mutex::new(requests(A_SECOND * usize::try_from(TIME.as_secs()).unwrap()));
    let mut callers: Vec<_> = (0..CLIENTS).map(|_| site.caller()).collect();
    for (client, caller) in callers.iter_mut().enumerate() {
        // Its connection is made with this.
        assert!(caller.add_user(&format!("user-{client}"), &[]).unwrap().is_ok());
    }
    let worked = measuring::on_core(site.pid());
    let began = Instant::now();
    let mut times = Times::default();
    std::thread::scope(|scope| {
        let clients = callers.into_iter().enumerate();
        let threads: Vec<_> = clients
            .map(|(client, mut caller)| {
                let requests = &requests;
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while began.elapsed() < TIME {
                        let csr = requests.lock().unwrap().pop().unwrap();
                        let body = json!({ "id": format!("user-{client}"), "cluster": CLUSTER, "csr": csr });
                        let start = Instant::now();
                        let answer = caller.ask("POST", "/v1/certificates", Some(&body)).unwrap();
                        times.push(start.elapsed());
                        assert!(answer.is_ok(), "{answer:?}");
                    }
                    times
                })
            })
            .collect();
        times.0 = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    });
    let (took, worked) = (began.elapsed(), measuring::on_core(site.pid()) - worked);
    let count = times.0.len();
    println!(
        "{CLIENTS} clients: {:.0} issued a second; {times}; {}",
        count as f64 / took.as_secs_f64(),
        measuring::load()
    );
    println!("    the authority worked {:.2} ms for each", worked.as_secs_f64() * 1e3 / count as f64);
    site.stop().ok();
}

/// Signing requests with keys of their own, in PEM.
fn requests(count: usize) -> Vec<String> {
    let make = |_| {
        let key = KeyPair::generate().unwrap();
        CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
    };
    (0..count).map(make).collect()
}
