//! `recover admin`: the way back in for whoever has the authority's host and the passphrase of its keys.
//!
//! A running authority listens on a unix socket that only its owner may open. Whoever shows the passphrase there gets a
//! management certificate for one hour, with the role admin; both are on the record like everything else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::KeyPair;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::authority::Places;
use super::{AppError, Doing};
use crate::access::{Actor, Role};
use crate::api::Api;
use crate::ca::issue::{Issue, Purpose};
use crate::ca::vault::private_pem;
use crate::command::{Code, Rejected};
use crate::config::profile::Profile;
use crate::config::url::ServiceUrl;
use crate::directory::identities::{AddIdentity, AgencyChange, EditIdentity};
use crate::ident::{Fingerprint, IdentityId, IssuerName};
use crate::journal::IdentityKind;
use crate::net::stop::Stop;
use crate::revocation::wish::Unlock;
use crate::secret::Secret;
use crate::x509::csr::{self, Request};
use crate::x509::name::Subject;
use crate::x509::pem::{self, Label};

/// How long a recovered admin may act: enough to issue a proper certificate.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

#[derive(Serialize, Deserialize)]
struct Wish {
    passphrase: String,
    id: IdentityId,
    csr: String,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Issued { certificate: String, ca: String },
    Refused(String),
}

/// Listens for recoveries until `stop`.
pub(super) fn serve(
    api: Arc<Api>,
    socket: &Path,
    passphrase: Secret<String>,
    mut stop: Stop,
) -> Result<JoinHandle<()>, AppError> {
    let doing = || format!("listening on {}", socket.display());
    // The store is locked by this process, so a socket that is there is left over from an earlier one.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(AppError::new(doing(), error)),
        _ => {}
    }
    let listener = match UnixListener::bind(socket) {
        // A socket's path holds some 100 octets; a folder that is deeper is no reason not to serve.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            tracing::warn!(%error, socket = %socket.display(), "`recover admin` cannot be used here");
            return Ok(tokio::spawn(async {}));
        }
        bound => bound.doing(doing())?,
    };
    let only_owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(socket, only_owner).doing(doing())?;
    Ok(tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.stopped() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                // One at a time: guessing is slow.
                Ok((stream, _)) => answer(&api, stream, &passphrase).await,
                Err(error) => tracing::warn!(%error, "a recovery could not be accepted"),
            }
        }
    }))
}

async fn answer(api: &Arc<Api>, mut stream: UnixStream, passphrase: &Secret<String>) {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    let mut reading = tokio::io::BufReader::new(reading.take(MAX_WISH));
    let read = tokio::time::timeout(PATIENCE, reading.read_line(&mut line)).await;
    let Ok(Ok(_)) = read else { return };
    let answer = match serde_json::from_str::<Wish>(&line) {
        Ok(wish) if !is_same(&wish.passphrase, passphrase.expose()) => {
            tracing::warn!(id = %wish.id, "a recovery was refused: wrong passphrase");
            tokio::time::sleep(PENALTY).await;
            Answer::Refused("the passphrase is wrong".to_owned())
        }
        Ok(wish) => {
            let api = Arc::clone(api);
            let recovered = tokio::task::spawn_blocking(move || recover(&api, &wish)).await;
            match recovered {
                Ok(Ok((certificate, ca))) => Answer::Issued { certificate, ca },
                Ok(Err(rejected)) => Answer::Refused(rejected.to_string()),
                Err(error) => Answer::Refused(error.to_string()),
            }
        }
        Err(error) => Answer::Refused(format!("the wish is refused: {error}")),
    };
    let mut text = serde_json::to_vec(&answer).unwrap_or_default();
    text.push(b'\n');
    if let Err(error) = writing.write_all(&text).await {
        tracing::warn!(%error, "a recovery was not answered");
    }
}

fn is_same(one: &str, other: &str) -> bool {
    // Digests are of one length, so the comparison tells nothing, not even how long the passphrase is.
    Fingerprint::of(one.as_bytes()).octets().ct_eq(Fingerprint::of(other.as_bytes()).octets()).into()
}

/// Makes the identity an admin who can get in for an hour. Blocking.
fn recover(api: &Api, wish: &Wish) -> Result<(String, String), Rejected> {
    let request = Request::from_pem_or_der(wish.csr.as_bytes())
        .map_err(|error| Rejected::new(Code::RequestRefused, error.to_string()))?;
    tracing::warn!(id = %wish.id, "an admin is being recovered");
    make_admin(api, &wish.id)?;
    api.engine.run(&Actor::Recovery, &Unlock { id: (&wish.id).into(), kind: IdentityKind::User, cluster: None })?;
    let issue = Issue {
        id: wish.id.clone(),
        purpose: Purpose::Management,
        public_key: request.public_key,
        lifetime: Some(LIFETIME),
        keyring: Arc::clone(&api.authorities.keyring),
        places: api.authorities.places.clone(),
    };
    let issued = api.engine.run(&Actor::Recovery, &issue)?.outcome;
    let infra = api.authorities.keyring.issuer(&IssuerName::infra())?;
    let chain = [issued.row.der.as_slice(), issued.issuer_der.as_slice()];
    Ok((pem::write_certificates(chain), pem::write_certificates([infra.certificate.der()])))
}

fn make_admin(api: &Api, id: &IdentityId) -> Result<(), Rejected> {
    let edit = EditIdentity {
        id: id.clone(),
        kind: IdentityKind::User,
        add_groups: Vec::new(),
        remove_groups: Vec::new(),
        agency: AgencyChange::Stay,
        add_role: Some(Role::Admin),
        remove_role: None,
        force: false,
    };
    match api.engine.run(&Actor::Recovery, &edit) {
        Err(rejected) if rejected.code == Code::NotFound => {
            let add = AddIdentity {
                id: id.clone(),
                kind: IdentityKind::User,
                groups: Vec::new(),
                agency: None,
                role: Some(Role::Admin),
                reuse: true,
            };
            api.engine.run(&Actor::Recovery, &add).map(drop)
        }
        edited => edited.map(drop),
    }
}

/// Asks a running authority on this host for an hour as admin; gives the profile. Blocking.
pub fn admin(places: &Places, id: &IdentityId, api_url: &ServiceUrl) -> Result<Profile, AppError> {
    let passphrase = places.passphrase.read().doing("reading the passphrase of the CA keys")?;
    let key = KeyPair::generate().doing("making a key")?;
    let csr = csr::write(&Subject::common_name(id.as_str()), &key).doing("making a request")?;
    let wish = Wish { passphrase: passphrase.expose().clone(), id: id.clone(), csr: pem::write(Label::Request, &csr) };
    let socket = places.recovery_socket();
    let mut stream = BlockingStream::connect(&socket)
        .doing(format_args!("reaching the authority at {} (it must be running on this host)", socket.display()))?;
    let mut text = Secret::new(serde_json::to_string(&wish).doing("writing the wish")?).expose().clone();
    text.push('\n');
    stream.write_all(text.as_bytes()).doing("asking the authority")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).doing("reading the authority's answer")?;
    match serde_json::from_str(&line).doing("reading the authority's answer")? {
        Answer::Issued { certificate, ca } => {
            Ok(Profile { server: api_url.clone(), ca, certificate, key: private_pem(&key) })
        }
        Answer::Refused(why) => Err(AppError::new("the authority refused", why)),
    }
}

/// A request is 64 KiB at most.
const MAX_WISH: u64 = 128 * 1024;

/// A wish is one line, sent at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a wrong passphrase costs.
const PENALTY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_whole_passphrase_opens() {
        assert!(is_same("correct horse", "correct horse"));
        for wrong in ["", "correct", "correct horse ", "Correct horse", "battery staple"] {
            assert!(!is_same(wrong, "correct horse"), "{wrong:?}");
        }
    }
}
