//! `portcullis kubernetes`: what the API server behind a proxy has to be told, in either way of saying who a user is.
//!
//! `rbac` prints the rights of the proxy's account (impersonation), `front_proxy` makes the certificates for an API
//! server that believes the proxy itself (request-header). Neither speaks to an API server: its owner does.

use super::args::Kubernetes;
use super::context::Context;
use super::exit::{Exit, Failure};

mod front_proxy;
mod rbac;

pub(super) async fn run(context: &Context, command: Kubernetes) -> Result<Exit, Failure> {
    match command {
        Kubernetes::Rbac(args) => rbac::print(context, args).await,
        Kubernetes::FrontProxyCa(args) => front_proxy::make(context, &args),
    }
}
