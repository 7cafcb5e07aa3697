//! A zip file with everything a TLS client needs, under fixed names.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::exit::Failure;
use crate::api::wire;
use crate::secret::Secret;

/// Packs an answer; no name in it comes from anyone else.
pub(super) fn pack(answer: &wire::IssueAnswer, key: Option<&Secret<String>>) -> Result<Vec<u8>, Failure> {
    let chain = format!("{}{}", answer.certificate_pem, answer.issuer_pem);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut put = |name: &str, content: &str| {
        let options =
            SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(0o600);
        zip.start_file(name, options).and_then(|()| zip.write_all(content.as_bytes()).map_err(Into::into))
    };
    let packed = put("ca.crt", &answer.ca_pem)
        .and_then(|()| put("client.crt", &chain))
        .and_then(|()| key.map_or(Ok(()), |key| put("client.key", key.expose())))
        .and_then(|()| put("README", &readme(answer, key.is_some())))
        .and_then(|()| zip.finish());
    Ok(packed.map_err(|error| Failure::failed(format!("cannot pack the bundle: {error}")))?.into_inner())
}

fn readme(answer: &wire::IssueAnswer, with_key: bool) -> String {
    let wire::Certificate { id, serial, not_after, .. } = &answer.certificate;
    let server = answer.server.as_deref().unwrap_or("the proxy's address");
    let key = if with_key { "client.key  the private key: whoever has it can use the certificate\n" } else { "" };
    let key_file = if with_key { "client.key" } else { "YOUR-KEY" };
    format!(
        "Certificate of {id}, serial {serial}, valid until {not_after}.\n\n\
         ca.crt      the CA of the server's certificate\n\
         client.crt  the certificate, and the CA that signed it\n\
         {key}\n\
         curl --cacert ca.crt --cert client.crt --key {key_file} {server}/api\n"
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::cli::issue::tests::answer;

    #[test]
    fn a_bundle_has_four_files_with_fixed_names() {
        let key = Secret::new("KEY\n".to_owned());
        let packed = pack(&answer("../../ana"), Some(&key)).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(packed)).unwrap();
        let names: Vec<_> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["ca.crt", "client.crt", "client.key", "README"]);
        let mut file = archive.by_name("client.key").unwrap();
        assert_eq!(file.unix_mode().map(|mode| mode & 0o777), Some(0o600));
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "KEY\n");
    }

    #[test]
    fn a_bundle_for_a_key_made_elsewhere_has_none() {
        let packed = pack(&answer("ana"), None).unwrap();
        let archive = zip::ZipArchive::new(Cursor::new(packed)).unwrap();
        assert!(archive.file_names().all(|name| name.unwrap() != "client.key"));
    }
}
