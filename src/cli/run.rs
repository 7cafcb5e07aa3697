//! The commands that are servers, or work on an authority's own files.

use std::path::Path;

use super::exit::{Exit, Failure};
use super::files::Pending;
use super::output;
use super::settings::{self, Init, RecoverAdmin};
use crate::app;
use crate::app::quickstart::Ready;
use crate::ca::vault::write_new_private;
use crate::config::quickstart;
use crate::observe::{self, LogFormat};

pub(super) fn quickstart(settings: &quickstart::Settings) -> Result<Exit, Failure> {
    observe::start_logs(LogFormat::Text, "warn").map_err(Failure::failed)?;
    let is_first = !settings.dir.join("profile.toml").exists();
    output::words(if is_first { "starting; the first start makes keys and takes a few seconds" } else { "starting" });
    let program = program();
    app::quickstart::run(settings, |ready| output::words(&commands(&program, ready))).map_err(Failure::failed)?;
    Ok(Exit::Done)
}

pub(super) fn init(wish: Init) -> Result<Exit, Failure> {
    if let Some(file) = &wish.root_request {
        let pending = Pending::create(file)?;
        let request = app::serve::request_root(&wish.authority).map_err(Failure::failed)?;
        pending.finish(request.as_bytes())?;
        output::words(&format!(
            "wrote {}: have it signed as a CA that may have one below it\nnext: portcullis init --root-cert SIGNED …",
            file.display()
        ));
        return Ok(Exit::Done);
    }
    let root = wish.root_certificate;
    app::serve::init(&wish.authority, &wish.admin, &wish.profile, root).map_err(Failure::failed)?;
    output::words(&format!(
        "initialised; {} is the profile of {}: keep it, it is shown to nobody else\nnext: portcullis serve --config …",
        wish.profile.display(),
        wish.admin
    ));
    Ok(Exit::Done)
}

pub(super) fn serve(config: &Path, accept_clock: bool) -> Result<Exit, Failure> {
    let settings = settings::authority(config)?;
    app::serve::run(&settings, accept_clock, &settings::host(config, settings::authority)).map_err(Failure::failed)?;
    Ok(Exit::Done)
}

pub(super) fn recover_admin(wish: &RecoverAdmin) -> Result<Exit, Failure> {
    let RecoverAdmin { places, api_url, admin, profile } = wish;
    if profile.exists() {
        return Err(Failure::failed(format_args!("{} exists: choose another --out", profile.display())));
    }
    let recovered = app::recover::admin(places, admin, api_url).map_err(Failure::failed)?;
    write_new_private(profile, recovered.to_toml().expose().as_bytes()).map_err(Failure::failed)?;
    output::words(&format!(
        "{admin} is an admin, and {} lets them in for one hour: issue a proper certificate meanwhile",
        profile.display()
    ));
    Ok(Exit::Done)
}

/// How this program was called, so that what is printed works as pasted.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let called = called.to_string_lossy();
    if called.contains('/') {
        std::fs::canonicalize(&*called).map_or_else(|_| called.to_string(), |path| path.display().to_string())
    } else {
        called.to_string()
    }
}

/// Five commands that try everything, for another terminal.
fn commands(program: &str, ready: &Ready) -> String {
    let program = quoted(program);
    let profile = quoted(&ready.profile.display().to_string());
    let portcullis = format!("{program} --profile {profile}");
    format!(
        "ready; in another terminal:\n\n  \
           {portcullis} user add alice --group dev\n  \
           {portcullis} kubeconfig alice --out alice.yaml\n  \
           kubectl --kubeconfig alice.yaml auth whoami\n  \
           {portcullis} revoke user alice --yes\n  \
           kubectl --kubeconfig alice.yaml auth whoami\n\n\
         The last one is refused, and says since when. Stop with Ctrl-C; everything is in {}.",
        ready.profile.parent().map_or_else(String::new, |dir| dir.display().to_string())
    )
}

/// A word for a shell: in single quotes unless it is plain.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_pasted() {
        assert_eq!(quoted("/opt/portcullis"), "/opt/portcullis");
        assert_eq!(quoted("my dir"), "'my dir'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
