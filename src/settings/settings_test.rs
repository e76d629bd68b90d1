//! Tests of the settings: command lines and config files, and the resulting settings and messages.

#[path = "command_line_test.rs"]
mod command_line;
#[path = "config_file_test.rs"]
mod config_file;
#[path = "debug_server_test.rs"]
mod debug_server;
#[path = "documents_test.rs"]
mod documents;
#[path = "generated_test.rs"]
mod generated;
#[path = "remote_test.rs"]
mod remote;

use std::path::PathBuf;

use super::*;

/// A config file that does not exist.
const NO_CONFIG: &str = "/nowhere/config.ini";

/// The invocation for these arguments, without a config file.
fn invoke(args: &[&str]) -> Result<Invocation, SettingsError> {
    let args = std::iter::once("kvm").chain(args.iter().copied()).map(OsString::from);
    from_args_and_config(args, Path::new(NO_CONFIG))
}

/// The settings for these arguments, without a config file.
fn settings(args: &[&str]) -> Settings {
    run(invoke(args))
}

/// The message for these arguments, without a config file.
fn message(args: &[&str]) -> String {
    match invoke(args) {
        Err(error) => error.to_string(),
        Ok(other) => panic!("{args:?} is accepted: {other:?}"),
    }
}

fn run(result: Result<Invocation, SettingsError>) -> Settings {
    match result {
        Ok(Invocation::Run(settings)) => *settings,
        other => panic!("no run: {other:?}"),
    }
}

/// The same settings without the path of their config file.
fn from_no_file(settings: Settings) -> Settings {
    assert!(settings.config.is_some());
    Settings { config: None, ..settings }
}

/// A config file in a directory of its own, removed at the end of the test.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Config {
        let path = std::env::temp_dir().join(format!("kvm-settings-{}-{name}.ini", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Config(path)
    }

    /// The settings for these arguments when this is the `config.ini` of the working directory, as if they came
    /// from no file.
    fn settings(&self, args: &[&str]) -> Settings {
        from_no_file(run(self.invoke(args)))
    }

    /// The message about this file, without its path.
    fn message(&self) -> String {
        match self.invoke(&["a.elf"]) {
            Err(error) => error.to_string().replace(self.0.to_str().unwrap(), "config.ini"),
            Ok(other) => panic!("the file is accepted: {other:?}"),
        }
    }

    fn invoke(&self, args: &[&str]) -> Result<Invocation, SettingsError> {
        let args = std::iter::once("kvm").chain(args.iter().copied()).map(OsString::from);
        from_args_and_config(args, &self.0)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
