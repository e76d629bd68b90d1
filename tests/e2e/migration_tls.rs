//! Moves between sides that prove by certificates who they are, and sides that cannot.

use libtest_mimic::{Failed, Trial};

use crate::migration::moves_with;
use crate::support::migration::{Side, contains, free_port, key, migrate, runs_here, secret};
use crate::support::{Folder, guest_test, source};

/// The tests of this file. No processor makes a difference to them.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_guest_migrates_between_hosts_with_certificates", || {
            let folder = Folder::new();
            let (here, there) = (certified(&folder, "here", "ca")?, certified(&folder, "there", "ca")?);
            moves_with(&words(&here), &words(&there))
        }),
        guest_test("a_destination_with_an_untrusted_certificate_is_refused", || {
            let told = stays("here", "stranger")?;
            contains(&told, "UnknownIssuer")
        }),
        guest_test("a_destination_with_a_certificate_for_another_address_is_refused", || {
            let told = stays("here", "elsewhere")?;
            contains(&told, "not valid for name")
        }),
        guest_test("a_source_with_an_untrusted_certificate_is_refused", || {
            let told = stays("stranger", "there")?;
            contains(&told, "UnknownCA")
        }),
        guest_test("a_source_without_a_certificate_is_refused_and_the_next_one_is_accepted", || {
            let (folder, port) = (Folder::new(), free_port());
            let (own, other) = (certified(&folder, "here", "ca")?, certified(&folder, "there", "ca")?);
            let mut there = Side::receiver(port, &words(&other))?;
            let mut plain = Side::source("serial-echo", &[])?;
            contains(&plain.ask(&[&migrate(port)])?, FAILED)?;
            runs_here(&mut plain)?;
            let here = Side::source("serial-echo", &words(&own))?;
            contains(&here.ask(&[&migrate(port)])?, "migration complete")?;
            here.has_moved()?;
            runs_here(&mut there)
        }),
        guest_test("a_destination_with_another_key_is_refused", || {
            let (folder, port) = (Folder::new(), free_port());
            let (one, other) = (key(&folder, "one", 1)?, key(&folder, "other", 2)?);
            let mut here = Side::source("serial-echo", &["--migr-key", one.to_str().ok_or("a path")?])?;
            let _there = Side::receiver(port, &["--migr-key", other.to_str().ok_or("a path")?])?;
            let told = here.ask(&[&migrate(port)])?;
            contains(&told, FAILED)?;
            contains(&told, REMEDY)?;
            runs_here(&mut here)
        }),
    ]
}

const FAILED: &str = "migration failed, the guest keeps running on this host";

const REMEDY: &str = "both sides need the same --migr-key, or certificates that the other trusts";

/// The options of a side: its name in tests/certificates, and the authority that it trusts.
fn certified(folder: &Folder, name: &str, authority: &str) -> Result<Vec<String>, Failed> {
    let file = |name: &str| source("tests/certificates").join(name).display().to_string();
    // Files from a repository are readable for everybody.
    let private = secret(folder, name, &std::fs::read(file(&format!("{name}.key")))?)?;
    let [cert, ca] = [format!("{name}.crt"), format!("{authority}.crt")].map(|name| file(&name));
    let options = ["--tls-cert", &cert, "--tls-key", &private.display().to_string(), "--tls-ca", &ca];
    Ok(options.map(str::to_owned).to_vec())
}

fn words(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// A guest must stay where it is when it is to move between sides with these certificates; what its user is
/// told.
fn stays(source: &str, destination: &str) -> Result<String, Failed> {
    let (folder, port) = (Folder::new(), free_port());
    let (own, other) = (certified(&folder, source, "ca")?, certified(&folder, destination, "ca")?);
    let mut here = Side::source("serial-echo", &words(&own))?;
    let _there = Side::receiver(port, &words(&other))?;
    let told = here.ask(&[&migrate(port)])?;
    contains(&told, FAILED)?;
    contains(&told, REMEDY)?;
    runs_here(&mut here)?;
    Ok(told)
}
