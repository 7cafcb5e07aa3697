//! The one string with which a proxy joins: where the authority is, what it is known by, and a secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::config::url::ServiceUrl;
use crate::ident::Fingerprint;
use crate::secret::Secret;
use crate::world::{Entropy, NoEntropy, random};

/// An invitation to join, good for one proxy, once, within the hour.
#[derive(Debug)]
pub struct Invitation {
    /// The address of the management API.
    pub server: ServiceUrl,
    /// The SHA-256 of the infrastructure CA's certificate.
    pub ca: [u8; 32],
    /// The secret, in base64 for URLs.
    pub secret: Secret<String>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    server: String,
    ca: String,
    secret: String,
}

/// A secret and the SHA-256 of its octets, which is all the authority is told of it.
pub fn new_secret(entropy: &dyn Entropy) -> Result<(Secret<String>, [u8; 32]), NoEntropy> {
    let octets: [u8; 32] = random(entropy)?;
    Ok((Secret::new(URL_SAFE_NO_PAD.encode(octets)), *Fingerprint::of(&octets).octets()))
}

impl Invitation {
    /// The string that is shown once.
    pub fn to_text(&self) -> Secret<String> {
        let written =
            Written { server: self.server.to_string(), ca: hex::encode(self.ca), secret: self.secret.expose().clone() };
        let json = serde_json::to_vec(&written).unwrap_or_default();
        Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json)))
    }

    /// Reads what was shown; an error never repeats it.
    pub fn read(text: &str) -> Result<Self, String> {
        let wanted = "wanted the string that `portcullis proxy token` printed, whole and on one line";
        let json = text.trim().strip_prefix(PREFIX).and_then(|rest| URL_SAFE_NO_PAD.decode(rest).ok());
        let written: Option<Written> = json.and_then(|json| serde_json::from_slice(&json).ok());
        let Some(Written { server, ca, secret }) = written else { return Err(wanted.to_owned()) };
        let mut octets = [0; 32];
        hex::decode_to_slice(&ca, &mut octets).map_err(|_| wanted.to_owned())?;
        Ok(Self { server: ServiceUrl::https(&server)?, ca: octets, secret: Secret::new(secret) })
    }
}

const PREFIX: &str = "portcullis-join-1.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::SystemEntropy;

    #[test]
    fn an_invitation_is_read_as_it_was_written_and_nothing_else_is() {
        let (secret, _) = new_secret(&SystemEntropy).unwrap();
        let server = ServiceUrl::https("https://authority.example:7443").unwrap();
        let invitation = Invitation { server, ca: [7; 32], secret };
        let text = invitation.to_text();
        let read = Invitation::read(&format!(" {}\n", text.expose())).unwrap();
        assert_eq!(read.server, invitation.server);
        assert_eq!(read.ca, invitation.ca);
        assert_eq!(read.secret.expose(), invitation.secret.expose());
        let (short, _) = text.expose().split_at(text.expose().len() - 4);
        for bad in ["", "portcullis-join-1.", short, "portcullis-join-2.e30"] {
            assert!(!Invitation::read(bad).unwrap_err().contains(invitation.secret.expose()), "{bad}");
        }
    }
}
