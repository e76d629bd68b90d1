//! The completions for shells: `kvm completions`.

use super::commands::{COMMANDS, CommandSpec, Operand};
use super::table::{OptionArgument, OptionSpec, options};

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What the value of an option can be completed with.
enum Value {
    /// The option takes none.
    None,
    /// It can only be attached with `=`; these words, if any.
    Attached(Vec<&'static str>),
    /// It follows; one of these words, if any.
    Words(Vec<&'static str>),
    /// It follows; the name of a file.
    File,
}

impl Shell {
    /// The shell called `name`.
    pub(super) fn named(name: &str) -> Option<Shell> {
        match name {
            "bash" => Some(Shell::Bash),
            "zsh" => Some(Shell::Zsh),
            "fish" => Some(Shell::Fish),
            _ => None,
        }
    }

    /// The script that defines the completions.
    pub(super) fn completions(self) -> String {
        match self {
            Shell::Bash => bash(),
            Shell::Zsh => zsh(),
            Shell::Fish => fish(),
        }
    }
}

fn value(option: &OptionSpec) -> Value {
    match option.takes {
        OptionArgument::Help | OptionArgument::Version => Value::None,
        OptionArgument::Maybe(name) if name.contains('|') => Value::Attached(name.split('|').collect()),
        OptionArgument::Maybe(_) => Value::Attached(Vec::new()),
        OptionArgument::Value(name) if name.contains('|') => Value::Words(name.split('|').collect()),
        OptionArgument::Value(name) if name.starts_with("FILE") || name.starts_with("PATH") => Value::File,
        OptionArgument::Value(_) => {
            let is_word = |word: &&str| {
                word.bytes().all(|byte| byte.is_ascii_lowercase() || b"0123456789-".contains(&byte))
            };
            let words: Vec<&str> = option.allowed.split(", ").collect();
            Value::Words(if words.iter().all(is_word) { words } else { Vec::new() })
        }
    }
}

/// The names of all commands, between blanks.
fn command_names() -> String {
    COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
}

const BASH_HEAD: &str = r#"# bash completion for kvm
# Install: kvm completions bash > ~/.local/share/bash-completion/completions/kvm

# _kvm_files KIND: the files (-f) or directories (-d) that begin with $current.
_kvm_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
}

# _kvm_words WORD...: those that begin with $current.
_kvm_words() { mapfile -t COMPREPLY < <(compgen -W "$*" -- "$current"); }

_kvm() {
    local current=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} attached=''
    COMPREPLY=()
    # `=` is a word of its own.
    if [[ $current == = ]]; then
        attached=yes current=''
    elif [[ $option == = ]]; then
        attached=yes option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    [[ $option != -[a-z]?* ]] || option=-$option
"#;

fn bash() -> String {
    let mut text = BASH_HEAD.to_owned();
    text += "    if ((COMP_CWORD > 1)); then\n        case ${COMP_WORDS[1]} in\n";
    for command in COMMANDS {
        let mut flags: Vec<String> = command.flags.iter().map(|(name, _)| format!("--{name}")).collect();
        flags.push("--help".to_owned());
        let operands = match &command.operand {
            Operand::None => ":".to_owned(),
            Operand::File => "_kvm_files -f".to_owned(),
            Operand::Directory => "_kvm_files -d".to_owned(),
            Operand::Words(words) => format!("_kvm_words {}", words.join(" ")),
        };
        text += &format!(
            "        {})\n            case $current in -*) _kvm_words {} ;; *) {operands} ;; esac\n            return\n            ;;\n",
            command.name,
            flags.join(" "),
        );
    }
    text += "        esac\n    fi\n    case $option in\n";
    for option in options() {
        match value(option) {
            Value::None => {}
            Value::Attached(words) => {
                text += &format!(
                    "    --{})\n        if [[ $attached ]]; then\n            _kvm_words {}\n            return\n        fi\n        ;;\n",
                    option.long,
                    words.join(" "),
                );
            }
            Value::Words(words) => {
                text += &format!(
                    "    --{})\n        _kvm_words {}\n        return\n        ;;\n",
                    option.long,
                    words.join(" "),
                );
            }
            Value::File => {
                text +=
                    &format!("    --{})\n        _kvm_files -f\n        return\n        ;;\n", option.long);
            }
        }
    }
    let all: Vec<String> = options().map(|option| format!("--{}", option.long)).collect();
    text += "    esac\n    case $current in\n    -*) _kvm_words";
    for name in &all {
        text += &format!(" \\\n        {name}");
    }
    text += &format!(
        " ;;\n    *)\n        _kvm_files -f\n        ((COMP_CWORD > 1)) || mapfile -t -O ${{#COMPREPLY[@]}} COMPREPLY < <(compgen -W '{}' -- \"$current\")\n        ;;\n    esac\n}}\n\ncomplete -F _kvm kvm\n",
        command_names(),
    );
    text
}

/// `text` in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `text` inside a specification of zsh's `_arguments`, where brackets and colons have a meaning.
fn in_specification(text: &str) -> String {
    text.replace('\\', r"\\").replace('[', r"\[").replace(']', r"\]").replace(':', r"\:")
}

fn zsh() -> String {
    let mut text = "#compdef kvm\n# zsh completion for kvm\n# Install: kvm completions zsh > DIR/_kvm, where DIR is in $fpath\n\n".to_owned();
    text += "_kvm_guest() {\n    local -a commands=(\n";
    for command in COMMANDS {
        text += &format!("        {}\n", quoted(&format!("{}:{}", command.name, command.about)));
    }
    text += "    )\n    ((CURRENT > 2)) || _describe command commands\n    _files\n}\n\n_kvm() {\n    if ((CURRENT > 2)); then\n        case $words[2] in\n";
    for command in COMMANDS {
        text += &format!(
            "        {})\n            shift words\n            ((CURRENT--))\n            _arguments",
            command.name
        );
        for (name, about) in flags(command) {
            text += &format!(" {}", quoted(&format!("--{name}[{}]", in_specification(about))));
        }
        let shown = in_specification(command.arguments);
        match &command.operand {
            Operand::None => {}
            Operand::File => text += &format!(" {}", quoted(&format!("*:{shown}:_files"))),
            Operand::Directory => text += &format!(" {}", quoted(&format!("*:{shown}:_files -/"))),
            Operand::Words(words) => {
                text += &format!(" {}", quoted(&format!("1:{shown}:({})", words.join(" "))));
            }
        }
        text += "\n            return\n            ;;\n";
    }
    text += "        esac\n    fi\n    _arguments -S";
    for option in options() {
        let name = match option.takes {
            OptionArgument::Value(name) | OptionArgument::Maybe(name) => in_specification(name),
            OptionArgument::Help | OptionArgument::Version => String::new(),
        };
        let words =
            |words: &[&str]| if words.is_empty() { String::new() } else { format!("({})", words.join(" ")) };
        let (sign, argument) = match value(option) {
            Value::None => ("", String::new()),
            Value::Attached(list) => ("=-", format!("::{name}:{}", words(&list))),
            Value::Words(list) => ("=", format!(":{name}:{}", words(&list))),
            Value::File => ("=", format!(":{name}:_files")),
        };
        let repeat = if option.repeatable { "*" } else { "" };
        let help = in_specification(option.help);
        text += &format!(
            " \\\n        {}",
            quoted(&format!("{repeat}--{}{sign}[{help}]{argument}", option.long))
        );
    }
    text += " \\\n        '*: :_kvm_guest'\n}\n\n";
    text + "if [[ ${funcstack[1]} == _kvm ]]; then\n    _kvm \"$@\"\nelse\n    compdef _kvm kvm\nfi\n"
}

/// The options of a command, with their help texts.
fn flags(command: &CommandSpec) -> impl Iterator<Item = (&'static str, &'static str)> {
    command.flags.iter().copied().chain([("help", "Print the help of this command and exit")])
}

fn fish() -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
    let mut text = "# fish completion for kvm\n# Install: kvm completions fish > ~/.config/fish/completions/kvm.fish\n\n".to_owned();
    let names = command_names();
    for command in COMMANDS {
        let about = quoted(command.about);
        text += &format!("complete -c kvm -n __fish_is_first_arg -a {} -d {about}\n", command.name);
        let seen = quoted(&format!("__fish_seen_subcommand_from {}", command.name));
        for (name, about) in flags(command) {
            text += &format!("complete -c kvm -n {seen} -l {name} -d {}\n", quoted(about));
        }
        match &command.operand {
            Operand::File => {}
            Operand::None => text += &format!("complete -c kvm -n {seen} -f\n"),
            Operand::Directory => {
                text += &format!("complete -c kvm -n {seen} -f -a '(__fish_complete_directories)'\n");
            }
            Operand::Words(words) => {
                text += &format!("complete -c kvm -n {seen} -f -a {}\n", quoted(&words.join(" ")));
            }
        }
    }
    text.push('\n');
    let guest = quoted(&format!("not __fish_seen_subcommand_from {names}"));
    for option in options() {
        let short = option.takes.short().map(|letter| format!(" -s {letter}")).unwrap_or_default();
        let argument = match value(option) {
            Value::None | Value::Attached(_) => String::new(),
            Value::Words(words) if words.is_empty() => " -x".to_owned(),
            Value::Words(words) => format!(" -x -a {}", quoted(&words.join(" "))),
            Value::File => " -r -F".to_owned(),
        };
        let help = quoted(option.help);
        text += &format!("complete -c kvm -n {guest} -l {}{short}{argument} -d {help}\n", option.long);
    }
    text
}
