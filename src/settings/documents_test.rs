//! The documents shipped with the program match the table.

use super::super::table::{self, options};
use super::*;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.ini");
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/options.md");

#[test]
fn the_documented_config_changes_nothing() {
    assert_eq!(from_no_file(settings(&["a.elf", "--config", CONFIG])), settings(&["a.elf"]));
}

#[test]
fn kvm_started_beside_the_documented_config_runs_with_the_defaults() {
    // Tests run in the directory of the manifest, which holds config.ini.
    assert!(Path::new(DEFAULT_CONFIG).exists());
    let result = from_args(["kvm", "a.elf"].map(OsString::from).into_iter());
    assert_eq!(from_no_file(run(result)), settings(&["a.elf"]));
}

#[test]
fn the_documented_config_has_every_key_once_with_its_default_and_a_comment() {
    let text = std::fs::read_to_string(CONFIG).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut section = "";
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        // A key without a default is a comment, without a space after the semicolon.
        let line = line.strip_prefix(';').unwrap_or(line);
        if let Some((name, value)) = line.split_once('=')
            && !line.starts_with([' ', ';', '#'])
        {
            assert!(lines[at - 1].starts_with("; "), "[{section}] {name} is not explained");
            found.push((section, name.trim(), value.trim(), lines[at].starts_with(';')));
        }
    }
    for (option, key) in table::keys() {
        let of_key: Vec<_> = found.iter().filter(|it| (it.0, it.1) == (key.section, key.name)).collect();
        let [(_, _, value, in_comment)] = of_key.as_slice() else {
            panic!("[{}] {} stands there {} times", key.section, key.name, of_key.len());
        };
        match option.meaning(key).default {
            Some(default) => assert_eq!((*value, *in_comment), (default, false), "{}", key.name),
            None => assert!(*in_comment, "{} has no default", key.name),
        }
        let twin = format!("(--{}", option.long);
        assert!(text.contains(&twin), "the option --{} is not named", option.long);
    }
    assert_eq!(found.len(), table::keys().count(), "a key stands there that there is not");
}

#[test]
fn options_md_is_what_the_table_says() {
    if std::env::var_os("KVM_BLESS").is_some() {
        std::fs::write(REFERENCE, reference()).unwrap();
    }
    let text = std::fs::read_to_string(REFERENCE).unwrap_or_default();
    assert!(text == reference(), "docs/options.md is out of date: KVM_BLESS=1 cargo test --lib options_md");
}

#[test]
fn only_what_is_about_one_run_has_no_key() {
    let without: Vec<&str> =
        options().filter(|option| option.keys.is_empty()).map(|option| option.long).collect();
    assert_eq!(
        without,
        ["dump-screen", "restore", "migr", "migrport", "overwrite-disks", "config", "help", "version"]
    );
}

#[test]
fn no_two_options_or_keys_have_the_same_name() {
    let longs: Vec<&str> = options().map(|option| option.long).collect();
    let keys: Vec<(&str, &str)> = table::keys().map(|(_, key)| (key.section, key.name)).collect();
    assert!(longs.iter().enumerate().all(|(at, long)| !longs[..at].contains(long)));
    assert!(keys.iter().enumerate().all(|(at, key)| !keys[..at].contains(key)));
}
