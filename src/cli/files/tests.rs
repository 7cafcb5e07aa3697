use std::os::unix::fs::symlink;

use super::*;

fn key() -> Secret<String> {
    Secret::new("KEY\n".to_owned())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_new_file_is_its_owners_alone_and_has_its_key_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut pending = Pending::create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    pending.keep_key(&key()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"KEY\n");
    assert_eq!(pending.finish(b"KEY\nCERTIFICATE\n").unwrap(), None);
    assert_eq!(fs::read(&path).unwrap(), b"KEY\nCERTIFICATE\n");
    assert_eq!((mode(&path), names(folder.path())), (0o600, vec!["a".to_owned()]));
}

#[test]
fn nothing_that_exists_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link, dangling) = (folder.path().join("f"), folder.path().join("l"), folder.path().join("d"));
    fs::write(&file, "mine").unwrap();
    symlink(&file, &link).unwrap();
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    for path in [&file, &link, &dangling, &folder.path().to_path_buf()] {
        let error = Pending::create(path).unwrap_err().to_string();
        assert!(error.contains("not overwritten"), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn a_refused_request_leaves_nothing_and_a_doubtful_one_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    Pending::create(&path).unwrap().keep_key(&key()).unwrap();
    assert_eq!(names(folder.path()), Vec::<String>::new());
    let mut pending = Pending::create(&path).unwrap();
    pending.keep_key(&key()).unwrap();
    assert_eq!(fs::read(pending.leave()).unwrap(), b"KEY\n");
}

#[test]
fn a_folder_that_everybody_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(Pending::create(&folder.path().join("a")).unwrap_err().to_string().contains("not safe"));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(Pending::create(&folder.path().join("a")).is_ok());
}

#[test]
fn replacing_keeps_a_backup_of_each_earlier_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "1").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    for (old, new) in [("1", "2"), ("2", "3")] {
        let mut pending = Pending::replace(&path).unwrap();
        assert_eq!(pending.old(), Some(old.as_bytes()));
        pending.keep_key(&key()).unwrap();
        let backup = pending.finish(new.as_bytes()).unwrap().unwrap();
        assert_eq!(fs::read(&backup).unwrap(), old.as_bytes());
        assert_eq!(mode(&backup), 0o600);
    }
    assert_eq!(fs::read(&path).unwrap(), b"3");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names(folder.path()), ["a", "a.backup-1", "a.backup-2"]);
}

#[test]
fn a_file_that_changed_meanwhile_is_left_alone_and_the_key_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "1").unwrap();
    let mut pending = Pending::replace(&path).unwrap();
    pending.keep_key(&key()).unwrap();
    fs::write(&path, "theirs").unwrap();
    let error = pending.finish(b"2").unwrap_err().to_string();
    assert!(error.contains("changed by somebody else"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    let kept = names(folder.path()).into_iter().find(|name| name.starts_with(".a.new-")).unwrap();
    assert_eq!(fs::read(folder.path().join(kept)).unwrap(), b"KEY\n");
}

#[test]
fn a_kubeconfig_that_kubectl_is_writing_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "1").unwrap();
    fs::write(folder.path().join("a.lock"), "").unwrap();
    let error = Pending::replace(&path).unwrap().finish(b"2").unwrap_err().to_string();
    assert!(error.contains("a.lock"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"1");
}

#[test]
fn a_link_stays_and_its_target_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("a"), folder.path().join("l"));
    fs::write(&path, "1").unwrap();
    symlink(&path, &link).unwrap();
    Pending::replace_or_create(&link).unwrap().finish(b"2").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&path).unwrap(), b"2");
}
