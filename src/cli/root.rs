//! `portcullis root`: the root's key away from the authority.

use std::time::Duration;

use http::Method;

use super::args::{Root, SignByRoot};
use super::confirm::Asking;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::files::{self, Pending};
use super::{output, settings};
use crate::api::wire;
use crate::app::root::{self, ToSign};
use crate::config::passphrase::Passphrase;
use crate::x509::csr::Request;
use crate::x509::pem::{self, Label};

pub(super) async fn run(context: &Context, command: Root) -> Result<Exit, Failure> {
    match command {
        Root::Detach(args) => {
            let until = root::detach(&settings::places(&args.place)?, &args.out).map_err(Failure::failed)?;
            output::words(&format!(
                "the root's key is in {}, under the same passphrase, and not on this host any more\n\
                 its list is good until {until}: sign it anew before, with `root request-list` and `root sign`",
                args.out.display()
            ));
        }
        Root::Attach(args) => {
            root::attach(&settings::places(&args.place)?, &args.from).map_err(Failure::failed)?;
            output::words(&format!("the root's key is on this host again; it is in {} too", args.from.display()));
        }
        Root::Sign(args) => sign(&args)?,
        Root::RequestList(args) => {
            let pending = Pending::create(&args.out)?;
            let made: wire::UnsignedList =
                context.client()?.change(Method::POST, "/v1/root/list-requests", None::<&()>, Duration::ZERO).await?;
            pending.finish(made.unsigned_pem.as_bytes())?;
            output::words(&format!("wrote {}: sign it where the root's key is, with `root sign`", args.out.display()));
        }
        Root::Publish(args) => {
            let list_pem = files::text(&args.file)?;
            let body = wire::SignedList { list_pem };
            let done: wire::Changed =
                context.client()?.change(Method::POST, "/v1/root/lists", Some(&body), Duration::ZERO).await?;
            output::print(context.format(), &done)?;
        }
    }
    Ok(Exit::Done)
}

fn sign(args: &SignByRoot) -> Result<(), Failure> {
    let asking = Asking::new(args.sure)?;
    let bytes = files::read(&args.file)?;
    let wrong = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", args.file.display()));
    let (what, question) = match (&args.ca, pem::read(Label::UnsignedCrl, &bytes)) {
        (None, Ok(tbs)) => (ToSign::List(tbs), "This signs the root's list.".to_owned()),
        (Some(_), Ok(_)) => return Err(Failure::usage("--ca: the file is the root's list, not a request for a CA")),
        (Some(ca), Err(_)) => {
            let request = Request::from_pem_or_der(&bytes).map_err(|error| wrong(&error))?;
            let question = format!("This signs an issuing CA called {ca}: whatever it signs is the root's word.");
            (ToSign::Authority(ca.clone(), Box::new(request)), question)
        }
        (None, Err(_)) => {
            return Err(Failure::usage("wanted --ca NAME for a request, or the root's list that is to be signed"));
        }
    };
    if asking == Asking::OnlyShow {
        output::words(&question);
        return Ok(());
    }
    asking.typed_word(&question, "SIGN")?;
    let pending = Pending::create(&args.out)?;
    let passphrase = Passphrase { file: args.passphrase_file.clone(), by_systemd: false };
    let signed = root::sign(&args.from, &passphrase, &what).map_err(Failure::failed)?;
    pending.finish(signed.as_bytes())?;
    output::words(&format!("wrote {}", args.out.display()));
    Ok(())
}
