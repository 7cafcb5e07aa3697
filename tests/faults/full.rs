//! A disk without space, and one without inodes.

use std::path::Path;

use crate::caller::Answer;
use crate::mounts::{fill, is_outside, small_disk};
use crate::site::{Site, until};

/// How many revocations must go through when nothing else does.
const REVOCATIONS: usize = 1000;

/// Far more ordinary commits than there can be room for.
const MOST_ORDINARY: usize = 50_000;

/// Certificates of one user, by serial number.
fn issued(site: &Site, count: usize) -> Vec<String> {
    let mut caller = site.caller();
    caller.add_user("bea", &[]).unwrap();
    let issue = |_| {
        let answer = caller.issue("bea").unwrap();
        answer.body["certificate"]["serial"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    };
    (0..count).map(issue).collect()
}

/// Issues until that is refused; answers the refusal.
fn until_refused(site: &Site, prefix: &str) -> Answer {
    let mut caller = site.caller();
    // Long entries, so that what is preallocated is used up soon.
    let groups: Vec<String> = (0..32).map(|number| format!("{number:064}")).collect();
    for number in 0..MOST_ORDINARY {
        let answer = match number % 50 {
            0 => caller.issue("bea").unwrap(),
            _ => caller.add_user(&format!("{prefix}-{number}"), &groups).unwrap(),
        };
        if !answer.is_ok() {
            return answer;
        }
    }
    panic!("{MOST_ORDINARY} commits on a full disk were not refused");
}

/// Revokes users that nobody has heard of, and among them the certificates.
fn revoke_all(site: &Site, serials: &[String], prefix: &str, count: usize) {
    let mut caller = site.caller();
    for number in 0..count {
        let answer = caller.revoke("user", &format!("{prefix}-{number}")).unwrap();
        assert!(answer.is_ok(), "revocation {number}: {answer:?}");
    }
    for serial in serials {
        let answer = caller.revoke("certificate", serial).unwrap();
        assert!(answer.is_ok(), "{serial}: {answer:?}");
        assert_eq!(caller.state(serial).unwrap(), "revoked");
    }
    // Whatever the folder of CRLs says, the list that is served is the newest.
    until(|| site.listed(), |list| serials.iter().all(|serial| list.contains(serial.trim_start_matches('0'))));
}

fn are_revoked(site: &Site, serials: &[String]) {
    let mut caller = site.caller();
    for serial in serials {
        assert_eq!(caller.state(serial).unwrap(), "revoked", "{serial}");
    }
}

/// Issuing works again without anybody doing anything.
fn until_issued(site: &Site) {
    let mut caller = site.caller();
    until(|| caller.issue("bea").unwrap(), Answer::is_ok);
    until(|| site.plain("/readyz"), |(status, _)| *status == 200);
}

fn says_so(refusal: &Answer) {
    assert_eq!((refusal.status, refusal.code()), (507, "disk_full"), "{refusal:?}");
    assert!(refusal.detail().contains("revoking still works"), "{refusal:?}");
}

#[test]
fn on_a_full_disk_issuing_says_so_and_a_thousand_revocations_go_through() {
    if is_outside("full::on_a_full_disk_issuing_says_so_and_a_thousand_revocations_go_through") {
        return;
    }
    let disk = small_disk("size=80m");
    let mut site = Site::make(Some(&disk));
    site.serve();
    site.add_cluster();
    let serials = issued(&site, 20);
    let filler = fill(&disk);
    says_so(&until_refused(&site, "crowd"));
    revoke_all(&site, &serials, "leaver", REVOCATIONS);
    assert_eq!(site.plain("/healthz").0, 200);
    // It starts on the full disk too, tells what is revoked, and revokes; the record it cannot read before there is space.
    site.stop().ok();
    site.serve();
    until(|| site.listed(), |list| serials.iter().all(|serial| list.contains(serial.trim_start_matches('0'))));
    revoke_all(&site, &[], "later", 50);
    says_so(&until_refused(&site, "throng"));
    std::fs::remove_file(filler).unwrap();
    until_issued(&site);
    are_revoked(&site, &serials);
    site.stop().ok();
    site.serve();
    are_revoked(&site, &serials);
}

#[test]
fn without_inodes_issuing_says_so_and_a_thousand_revocations_go_through() {
    if is_outside("full::without_inodes_issuing_says_so_and_a_thousand_revocations_go_through") {
        return;
    }
    let disk = small_disk("size=200m,nr_inodes=1000");
    let mut site = Site::make(Some(&disk));
    site.serve();
    site.add_cluster();
    let serials = issued(&site, 20);
    let used = use_inodes(&disk);
    says_so(&until_refused(&site, "crowd"));
    revoke_all(&site, &serials, "leaver", REVOCATIONS);
    // It starts, revokes and says no just so. The record is not read yet, but what is revoked is known.
    site.stop().ok();
    site.serve();
    until(|| site.listed(), |list| serials.iter().all(|serial| list.contains(serial.trim_start_matches('0'))));
    revoke_all(&site, &[], "later", 50);
    until(|| site.plain("/readyz"), |(status, _)| *status == 200);
    says_so(&until_refused(&site, "throng"));
    std::fs::remove_dir_all(used).unwrap();
    until_issued(&site);
    are_revoked(&site, &serials);
    site.stop().ok();
}

/// Empty files until there can be no more of them.
fn use_inodes(disk: &Path) -> std::path::PathBuf {
    let folder = disk.join("crowd");
    std::fs::create_dir(&folder).unwrap();
    let made = (0..).take_while(|number| std::fs::File::create(folder.join(number.to_string())).is_ok()).count();
    assert!(made > 100, "{made}");
    folder
}

#[test]
fn an_authority_started_on_a_full_disk_serves_revokes_and_recovers_by_itself() {
    if is_outside("full::an_authority_started_on_a_full_disk_serves_revokes_and_recovers_by_itself") {
        return;
    }
    let disk = small_disk("size=80m");
    let mut site = Site::make(Some(&disk));
    site.serve();
    site.add_cluster();
    let serials = issued(&site, 20);
    let filler = fill(&disk);
    says_so(&until_refused(&site, "crowd"));
    revoke_all(&site, &serials[..10], "leaver", 50);
    site.stop().ok();
    site.serve();
    are_revoked(&site, &serials[..10]);
    until(|| site.plain("/readyz"), |(status, _)| *status == 200);
    says_so(&until_refused(&site, "throng"));
    revoke_all(&site, &serials[10..], "later", REVOCATIONS);
    std::fs::remove_file(filler).unwrap();
    until_issued(&site);
    site.stop().ok();
}
