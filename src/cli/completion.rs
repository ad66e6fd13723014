//! `tapvs completion bash|zsh`: a script by which a shell completes the command line.
//!
//! Made from the same declarations as the parser, so that no option can be missing. Prints, never installs.

use std::fmt::Write;

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs};

use crate::ipvsadm::option_names;
use crate::sched;

/// print a script that completes the command line of tapvs and ipvsadm: for bash into
/// /usr/share/bash-completion/completions/tapvs, for zsh into /usr/share/zsh/vendor-completions/_tapvs
#[derive(ArgsInfo, FromArgs, Debug)]
#[argh(subcommand, name = "completion")]
pub struct CompletionArgs {
    /// bash or zsh
    #[argh(positional)]
    pub shell: Shell,
}

/// A shell that can complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
}

impl std::str::FromStr for Shell {
    type Err = String;

    fn from_str(text: &str) -> Result<Shell, String> {
        match text {
            "bash" => Ok(Shell::Bash),
            "zsh" => Ok(Shell::Zsh),
            _ => Err(format!("'{text}' is not a shell that tapvs knows; use bash or zsh")),
        }
    }
}

/// The command with a grammar of its own.
const IPVSADM: &str = "ipvsadm";

/// What the value of an option can be completed with.
enum Values {
    /// Nothing.
    Unknown,
    /// A file.
    File,
    /// A network device.
    Device,
    /// One of these.
    Words(Vec<&'static str>),
}

/// One option of a command.
struct Choice {
    /// With its dashes.
    name: String,
    /// What it means, in a line.
    about: String,
    /// What follows it, if anything does.
    value: Option<Values>,
}

/// A command with its words before it, like `run` or `realserver up`.
struct Node {
    path: String,
    options: Vec<Choice>,
    /// Commands below it, with a line about each.
    commands: Vec<(String, String)>,
    /// What its own arguments are.
    arguments: Option<Values>,
}

/// The script for a shell; `info` is the whole command line.
pub fn script(shell: Shell, info: &CommandInfoWithArgs) -> String {
    let mut nodes = Vec::new();
    collect(info, "", &mut nodes);
    if let Some(node) = nodes.iter_mut().find(|node| node.path == IPVSADM) {
        node.options.extend(ipvsadm());
        // Its words are for its own grammar.
        node.arguments = None;
    }
    match shell {
        Shell::Bash => bash(&nodes),
        Shell::Zsh => zsh(&nodes),
    }
}

fn collect(info: &CommandInfoWithArgs, path: &str, nodes: &mut Vec<Node>) {
    let commands = info.commands.iter();
    let first = info.positionals.first().map(|positional| values(positional.name));
    nodes.push(Node {
        path: path.to_owned(),
        options: info.flags.iter().filter(|flag| !flag.hidden).flat_map(choices).collect(),
        commands: commands.map(|below| (below.name.to_owned(), line(below.command.description))).collect(),
        arguments: first,
    });
    for below in &info.commands {
        collect(&below.command, format!("{path} {}", below.name).trim_start(), nodes);
    }
}

fn choices(flag: &FlagInfo) -> Vec<Choice> {
    let takes = matches!(flag.kind, FlagInfoKind::Option { .. });
    let choice = |name: String| Choice { name, about: line(flag.description), value: takes.then(|| values(flag.long)) };
    let short = flag.short.map(|letter| choice(format!("-{letter}")));
    short.into_iter().chain([choice(flag.long.to_owned())]).collect()
}

/// The options of `ipvsadm`, which has a grammar of its own.
fn ipvsadm() -> impl Iterator<Item = Choice> {
    let choice = |name: String, long: &str, takes: bool| Choice {
        name,
        about: String::new(),
        value: takes.then(|| values(long)),
    };
    option_names().flat_map(move |(long, short, takes)| {
        let letter = short.map(|letter| choice(format!("-{letter}"), long, takes));
        [Some(choice(format!("--{long}"), long, takes)), letter].into_iter().flatten()
    })
}

/// By the name of an option or argument.
fn values(name: &str) -> Values {
    match name.trim_start_matches('-') {
        "config" | "rules" | "file" | "socket" => Values::File,
        "bridge" | "tap" | "tun" | "interface" | "mcast-interface" => Values::Device,
        "scheduler" => Values::Words(sched::NAMES.to_vec()),
        "shell" => Values::Words(vec!["bash", "zsh"]),
        "tun-type" | "kind" => Values::Words(vec!["ipip", "gre", "gue"]),
        "client-address" => Values::Words(vec!["none", "proxy-v1", "proxy-v2"]),
        "pe" => Values::Words(vec!["sip"]),
        "start-daemon" | "stop-daemon" => Values::Words(vec!["master", "backup"]),
        _ => Values::Unknown,
    }
}

/// The first sentence, without what shells would read.
fn line(text: &str) -> String {
    let first = text.split([';', ':', '(']).next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ").replace(['\'', '"', '`', '[', ']', '$', '\\'], "")
}

fn bash(nodes: &[Node]) -> String {
    let mut script =
        String::from("# bash completion of tapvs and ipvsadm; made by `tapvs completion bash`\n_tapvs() {\n");
    script += "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= word words=\n";
    script += "    [[ ${COMP_WORDS[0]##*/} != ipvsadm ]] || path=ipvsadm\n";
    script += "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n        case \"$path $word\" in\n";
    for node in nodes.iter().filter(|node| !node.path.is_empty()) {
        let words = if node.path.contains(' ') { node.path.clone() } else { format!(" {}", node.path) };
        let _ = writeln!(script, "            \"{words}\") path=\"{}\" ;;", node.path);
    }
    script += "        esac\n    done\n    case \"$path $prev\" in\n";
    for node in nodes {
        for option in &node.options {
            let Some(value) = &option.value else { continue };
            let _ = writeln!(script, "        \"{} {}\") {}; return ;;", node.path, option.name, bash_values(value));
        }
    }
    script += "    esac\n    case $path in\n";
    for node in nodes {
        let commands = node.commands.iter().map(|(name, _)| name.as_str());
        let options = node.options.iter().map(|option| option.name.as_str());
        let mut words: Vec<&str> = commands.chain(options).collect();
        let mut files = "";
        match &node.arguments {
            Some(Values::Words(more)) => words.extend(more),
            Some(Values::File) => files = "; COMPREPLY=($(compgen -f -- \"$cur\"))",
            Some(Values::Device | Values::Unknown) | None => {}
        }
        let _ = writeln!(script, "        \"{}\") words=\"{}\"{files} ;;", node.path, words.join(" "));
    }
    script += "    esac\n    COMPREPLY+=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F _tapvs tapvs ipvsadm\n";
    script
}

fn bash_values(values: &Values) -> String {
    match values {
        Values::Unknown => "COMPREPLY=()".into(),
        Values::File => "COMPREPLY=($(compgen -f -- \"$cur\"))".into(),
        Values::Device => "COMPREPLY=($(compgen -W \"$(ls /sys/class/net 2>/dev/null)\" -- \"$cur\"))".into(),
        Values::Words(words) => format!("COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))", words.join(" ")),
    }
}

fn zsh(nodes: &[Node]) -> String {
    let mut script =
        String::from("#compdef tapvs ipvsadm\n# zsh completion of tapvs and ipvsadm; made by `tapvs completion zsh`\n");
    for node in nodes {
        let name = zsh_name(&node.path);
        let _ = writeln!(
            script,
            "{name}() {{\n    local curcontext=\"$curcontext\" state line\n    local -a commands\n    _arguments -C \\"
        );
        for option in &node.options {
            let value = option.value.as_ref().map_or(String::new(), |value| format!(":value:{}", zsh_values(value)));
            let _ = writeln!(script, "        '*{}[{}]{value}' \\", option.name, option.about);
        }
        if node.commands.is_empty() {
            let rest = node.arguments.as_ref().map_or("_default".into(), zsh_values);
            let _ = writeln!(script, "        '*:argument:{rest}'\n}}");
            continue;
        }
        script += "        '1:command:->command' '*::argument:->argument'\n    case $state in\n    command)\n        commands=(";
        for (command, about) in &node.commands {
            let _ = write!(script, " '{command}:{about}'");
        }
        script += " )\n        _describe command commands ;;\n    argument)\n        case $line[1] in\n";
        for (command, _) in &node.commands {
            let below = zsh_name(&format!("{} {command}", node.path));
            let _ = writeln!(script, "        {command}) {below} ;;");
        }
        script += "        esac ;;\n    esac\n}\n";
    }
    script += "if [[ $service == ipvsadm ]]; then _tapvs_ipvsadm \"$@\"; else _tapvs \"$@\"; fi\n";
    script
}

fn zsh_name(path: &str) -> String {
    let words: Vec<&str> = path.split_whitespace().collect();
    ["_tapvs"].into_iter().chain(words).collect::<Vec<_>>().join("_").replace('-', "_")
}

fn zsh_values(values: &Values) -> String {
    match values {
        Values::Unknown => String::new(),
        Values::File => "_files".into(),
        Values::Device => "_net_interfaces".into(),
        Values::Words(words) => format!("({})", words.join(" ")),
    }
}
