//! The command line: wishes from a terminal or a script, carried out over the management API.
//!
//! [`main`] reads the arguments ([`args`]), runs one command and gives the exit status ([`exit`]).
//! Commands go through [`client`], print through [`output`] in a [`format`] and touch files through [`files`] only.
//! Private keys are made here ([`keys`]); none is sent, and each is in its file before a certificate is asked for.
//!
//! Rules of speech: results on standard output, words and progress on standard error; whatever a server sent is
//! stripped of what could steer a terminal.

use std::process::ExitCode;

use clap::Parser;

mod args;
mod bundle;
mod certificates;
mod client;
mod clusters;
mod completions;
mod confirm;
mod context;
mod credential;
mod exit;
mod fields;
mod files;
mod format;
mod identities;
mod issue;
mod keys;
pub mod kubeconfig;
mod kubernetes;
mod man;
mod output;
mod proxies;
mod renew;
mod revoke;
mod root;
mod run;
mod rows;
mod settings;
mod store;
mod template;

use args::{Cli, Command};
use context::Context;
use exit::{Exit, Failure};

/// Runs the program on the arguments of this process; gives its exit status.
///
/// 0: done; 1: refused or failed; 2: wrong usage; 3: durable but not yet enforced everywhere.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, on standard output and with status 0.
            if error.use_stderr() {
                output::words(&error.render().to_string());
            } else {
                let _ = error.print();
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let ended = run(cli);
    if let Err(failure) = &ended {
        output::words(&failure.to_string());
    }
    exit::code(&ended)
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let context = Context::new(cli.output, cli.no_headers, cli.profile);
    match cli.command {
        Command::Quickstart(args) => run::quickstart(&settings::quickstart(args)?),
        Command::Init(args) => run::init(settings::init(args)?),
        Command::Serve(args) => run::serve(&args.config, args.accept_clock),
        Command::Recover(args::Recover::Admin(args)) => run::recover_admin(&settings::recover_admin(args)?),
        Command::Store(command) => store::run(&context, command),
        Command::Completions(args) => completions::print(args.shell),
        Command::Man(args) => man::write(&args.out_dir),
        Command::Proxy(command) if proxies::is_local(&command) => proxies::local(&context, command),
        command => block_on(remote(&context, command))?,
    }
}

/// Commands that speak to the authority, or may.
async fn remote(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Issue(args) => issue::run(context, args).await,
        Command::Kubeconfig(args) => kubeconfig::command::run(context, args).await,
        Command::Renew(args) => renew::run(context, args).await,
        Command::Revoke(target) => revoke::run(context, target).await,
        Command::Status(args) => certificates::status(context, &args.credential).await,
        Command::User(command) => identities::user(context, command).await,
        Command::Agency(command) => identities::agency(context, command).await,
        Command::Group(command) => identities::group(context, command).await,
        Command::Cluster(command) => clusters::run(context, command).await,
        Command::Cert(command) => certificates::run(context, command).await,
        Command::Proxy(command) => proxies::remote(context, command).await,
        Command::Kubernetes(command) => kubernetes::run(context, command).await,
        Command::Root(command) => root::run(context, command).await,
        Command::Quickstart(_)
        | Command::Init(_)
        | Command::Serve(_)
        | Command::Recover(_)
        | Command::Store(_)
        | Command::Completions(_)
        | Command::Man(_) => Err(Failure::usage("this command does not speak to the authority")),
    }
}

/// Waits for a command on one thread; nothing here needs more.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests;
