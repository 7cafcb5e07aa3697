//! A small disk for one test: a tmpfs that only this test's own processes see, and that is gone with them, however they end.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::run::{program, run, run_within};

/// Set in the process that has mounts of its own, to the folder to mount on.
const INSIDE: &str = "PORTCULLIS_FAULTS_INSIDE";

/// Whether this process may mount; otherwise the test was run, to its end, in one that may.
pub(crate) fn is_outside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let mut command = program("unshare");
    // As root, or else as root of a user namespace.
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    let folder = tempfile::tempdir().unwrap();
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, folder.path());
    let said = run_within(Duration::from_secs(300), &mut command);
    // Moved to the right, so that what the inner run says of itself is not taken for the outer one's.
    let all = format!("{}{}", said.out, said.err).replace('\n', "\n  | ");
    assert!(
        said.status == Some(0) && said.out.contains("1 passed"),
        "wanted {test} to pass in a mount namespace (`unshare --mount`, as root or with user namespaces allowed):{all}"
    );
    true
}

/// Mounts a tmpfs of this size; `options` as mount(8) takes them.
pub(crate) fn small_disk(options: &str) -> PathBuf {
    let path = PathBuf::from(std::env::var_os(INSIDE).unwrap());
    run(program("mount").args(["-t", "tmpfs", "-o", options, "portcullis-test"]).arg(&path)).ok();
    path
}

/// Takes all the space that is left; removing the file gives it back.
pub(crate) fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut file = File::create(&path).unwrap();
    for piece in [1024 * 1024, 4096, 1] {
        while file.write_all(&vec![0x5a; piece]).is_ok() {}
    }
    path
}
