use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definitions_do_not_contradict_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn examples_fit_eighty_columns_unbroken() {
    let mut left = vec![Cli::command()];
    while let Some(command) = left.pop() {
        let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in notes.lines().filter(|line| line.contains("  ")) {
            assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
        }
        left.extend(command.get_subcommands().cloned());
    }
}

#[test]
fn every_documented_command_parses() {
    for line in [
        "portcullis quickstart --dir d --api-listen 127.0.0.1:0 --public-listen 127.0.0.1:0 --proxy-listen 127.0.0.1:0 --upstream-listen 127.0.0.1:0 --health-listen 127.0.0.1:0",
        "portcullis init",
        "portcullis serve --config f",
        "portcullis recover admin",
        "portcullis issue ana --csr f --cluster c --lifetime 30d --out f",
        "portcullis issue ana --bundle --server-key",
        "portcullis issue ana --management -o json",
        "portcullis kubeconfig ana --cluster c --out f",
        "portcullis kubeconfig ana --merge f",
        "portcullis renew f --server https://a:1",
        "portcullis revoke user ana bob --cluster c --lock --reason keyCompromise --comment x --force --no-wait --yes",
        "portcullis revoke agency y --dry-run -o yaml",
        "portcullis revoke cert aa X509SHA256=bb f.pem --wait 5s",
        "portcullis status f --profile p",
        "portcullis --profile p user add ana --group g --group h --agency y --role admin --reuse",
        "portcullis user list -o name",
        "portcullis user list -o table --no-headers",
        "portcullis user list -o template={{id}}",
        "portcullis user show ana",
        "portcullis user edit ana --add-group g --remove-group h --no-agency",
        "portcullis user edit ana --agency y",
        "portcullis user delete ana --force --yes",
        "portcullis user lock ana --cluster c",
        "portcullis agency unlock y",
        "portcullis agency add y --group g",
        "portcullis group list",
        "portcullis group show g",
        "portcullis group delete g --yes",
        "portcullis cluster add c --server https://a --name b --name d",
        "portcullis cluster list",
        "portcullis cluster show c",
        "portcullis cert list --expiring 7d",
        "portcullis cert show aa",
        "portcullis proxy run",
        "portcullis proxy token --cluster c --name c-a",
        "portcullis proxy join - --config f",
        "portcullis proxy list",
        "portcullis proxy remove c-a --yes",
        "portcullis proxy deny ana --remove",
        "portcullis proxy deny",
        "portcullis kubernetes rbac",
        "portcullis kubernetes rbac --group g --group h --service-account n/a --cluster-role-name r -o json",
        "portcullis kubernetes rbac --group g --user u",
        "portcullis kubernetes front-proxy-ca --out-dir d --name p",
        "portcullis store backup --out d --config f",
        "portcullis store verify --backup d -o json",
        "portcullis store verify --dir d",
        "portcullis store restore --from d --crl a --crl b --accept-rollback --yes --config f",
        "portcullis store restore --from d --dry-run --dir q",
        "portcullis store rebuild --dir d",
        "portcullis completions zsh",
        "portcullis man --out-dir d",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_cannot_be_meant_is_wrong_usage() {
    for line in [
        "portcullis issue",
        "portcullis issue ana --csr f --server-key",
        "portcullis issue ana --lifetime soon",
        "portcullis kubeconfig ana --out f --merge f",
        "portcullis revoke user",
        "portcullis revoke user ana --reason certificateHold",
        "portcullis revoke user ana --wait 1s --no-wait",
        "portcullis user add Ana",
        "portcullis user add -- -rf",
        "portcullis user add ../../etc",
        "portcullis user add ana --group system:masters",
        "portcullis user edit ana --agency y --no-agency",
        "portcullis cluster add c --server http://a",
        "portcullis user list -o xml",
        "portcullis user list -o template={{id",
        "portcullis user list -o template=id",
        "portcullis man",
        "portcullis proxy token",
        "portcullis proxy token --cluster c --name A",
        "portcullis proxy join",
        "portcullis proxy deny --remove",
    ] {
        let error = parse(line).err().map(|error| error.exit_code());
        assert_eq!(error, Some(2), "{line}");
    }
}
