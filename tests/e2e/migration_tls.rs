//! Migration with certificates and keys, and without.

use libtest_mimic::{Failed, Trial};

use crate::migration::migrates_with;
use crate::support::migration::{Instance, contains, expect_running, free_port, key, migrate, secret};
use crate::support::{Folder, guest_test, source};

/// The tests of this file. They do not depend on the processor.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_guest_migrates_between_hosts_with_certificates", || {
            let folder = Folder::new();
            let (source, destination) =
                (certified(&folder, "source", "ca")?, certified(&folder, "destination", "ca")?);
            migrates_with(&arguments(&source), &arguments(&destination))
        }),
        guest_test("a_destination_with_an_untrusted_certificate_is_refused", || {
            let answer = fails_between("source", "untrusted")?;
            contains(&answer, "UnknownIssuer")
        }),
        guest_test("a_destination_with_a_certificate_for_another_address_is_refused", || {
            let answer = fails_between("source", "other-address")?;
            contains(&answer, "not valid for name")
        }),
        guest_test("a_source_with_an_untrusted_certificate_is_refused", || {
            let answer = fails_between("untrusted", "destination")?;
            contains(&answer, "UnknownCA")
        }),
        guest_test("a_source_without_a_certificate_is_refused_and_the_next_one_is_accepted", || {
            let (folder, port) = (Folder::new(), free_port());
            let (own, other) =
                (certified(&folder, "source", "ca")?, certified(&folder, "destination", "ca")?);
            let mut destination = Instance::destination(port, &arguments(&other))?;
            let mut plain = Instance::source("serial-echo", &[])?;
            let answer = plain.ask(&[&migrate(port)])?;
            contains(&answer, FAILED)?;
            contains(
                &answer,
                "this host accepts only encrypted migrations: give the source the same --migr-key",
            )?;
            expect_running(&mut plain)?;
            let source = Instance::source("serial-echo", &arguments(&own))?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            expect_running(&mut destination)
        }),
        guest_test("a_key_on_one_host_only_is_reported_to_the_source", || {
            key_on_one_side(true)?;
            key_on_one_side(false)
        }),
        guest_test("a_destination_with_another_key_is_refused", || {
            let (folder, port) = (Folder::new(), free_port());
            let (one, other) = (key(&folder, "one", 1)?, key(&folder, "other", 2)?);
            let mut source = Instance::source("serial-echo", &["--migr-key", one.to_str().ok_or("a path")?])?;
            let _destination = Instance::destination(port, &["--migr-key", other.to_str().ok_or("a path")?])?;
            let answer = source.ask(&[&migrate(port)])?;
            contains(&answer, FAILED)?;
            contains(&answer, REMEDY)?;
            expect_running(&mut source)
        }),
    ]
}

/// A key on one of the hosts only.
fn key_on_one_side(of_source: bool) -> Result<(), Failed> {
    let (folder, port) = (Folder::new(), free_port());
    let file = key(&folder, "key", 1)?;
    let with_key = ["--migr-key", file.to_str().ok_or("a path")?];
    let (own, other): (&[&str], &[&str]) = if of_source { (&with_key, &[]) } else { (&[], &with_key) };
    let mut source = Instance::source("serial-echo", own)?;
    let _destination = Instance::destination(port, other)?;
    let answer = source.ask(&[&migrate(port)])?;
    contains(&answer, FAILED)?;
    contains(&answer, "--migr-key")?;
    match answer.contains("the connection has ended") {
        true => Err(format!("no reason in {answer}").into()),
        false => expect_running(&mut source),
    }
}

const FAILED: &str = "migration failed, the guest keeps running on this host";

const REMEDY: &str = "both sides need the same --migr-key, or certificates that the other trusts";

/// The options for the certificate `name` in tests/certificates, with the authority that it trusts.
fn certified(folder: &Folder, name: &str, authority: &str) -> Result<Vec<String>, Failed> {
    let file = |name: &str| source("tests/certificates").join(name).display().to_string();
    // Files in a repository are readable for all users.
    let private = secret(folder, name, &std::fs::read(file(&format!("{name}.key")))?)?;
    let [cert, ca] = [format!("{name}.crt"), format!("{authority}.crt")].map(|name| file(&name));
    let options = ["--tls-cert", &cert, "--tls-key", &private.display().to_string(), "--tls-ca", &ca];
    Ok(options.map(str::to_owned).to_vec())
}

fn arguments(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// Migration between hosts with these certificates must fail, and the guest stays at the source. Returns the
/// answer at the console.
fn fails_between(source: &str, destination: &str) -> Result<String, Failed> {
    let (folder, port) = (Folder::new(), free_port());
    let (own, other) = (certified(&folder, source, "ca")?, certified(&folder, destination, "ca")?);
    let mut source = Instance::source("serial-echo", &arguments(&own))?;
    let _destination = Instance::destination(port, &arguments(&other))?;
    let answer = source.ask(&[&migrate(port)])?;
    contains(&answer, FAILED)?;
    contains(&answer, REMEDY)?;
    expect_running(&mut source)?;
    Ok(answer)
}
