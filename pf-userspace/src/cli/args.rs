//! What may be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{admin::protocol::Setting, config::model::DEFAULT_SOCKET, fastpath::TableName};

/// CPM Participating Function with an MSRP relay.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    max_term_width = 100,
    after_help = "\
Examples:
  pf check /etc/pf/pf.toml           is the configuration right?
  pf run --config /etc/pf/pf.toml    serve until SIGTERM or SIGINT
  pf sessions                        who talks to whom, and over which legs
  pf legs --json | jq '.[].counters' what each MSRP leg has carried"
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve: SIP, MSRP and the admin socket
    #[command(after_help = "\
Prints one line `pf ready: sip ... msrp ... admin ...` on standard output when everything listens, and logs to
standard error. SIGTERM and SIGINT end its sessions, then `pf`. SIGHUP does what `pf reload` does.

Examples:
  pf run --config /etc/pf/pf.toml
  pf run --config packaging/pf.toml 2>pf.log")]
    Run {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Hold the kernel programs for a moment when `pf run`, which starts it, has died
    #[command(hide = true)]
    KeepAttached,
    /// Check a configuration file and explain every fault
    #[command(after_help = "\
Prints each error and warning with its line and how to mend it. The exit status is 0 if `pf run` would accept
the file (there may be warnings), else 1.

Examples:
  pf check /etc/pf/pf.toml
  pf check /etc/pf/pf.toml && systemctl restart pf")]
    Check {
        /// The configuration file
        file: PathBuf,
    },
    /// Have the running `pf` read its configuration and its users file again
    #[command(after_help = "\
What can change while it runs changes at once: the users file and everything under [policy]. Sessions go on; a device
whose user is no more in the users file is no longer registered. Options that need a restart are named and stay as they
are. A file with faults changes nothing: the exit status is 1. SIGHUP does the same, and the log says what came of it.

Examples:
  pf check /etc/pf/pf.toml && pf reload
  systemctl reload pf")]
    Reload {
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
        /// The admin socket (`socket` under [admin] of the configuration)
        #[arg(long, value_name = "PATH", env = "PF_SOCKET", default_value = DEFAULT_SOCKET)]
        socket: PathBuf,
    },
    /// Show what can be configured
    #[command(after_help = "\
Examples:
  pf config --reference | less
  pf config --reference > docs/configuration.md")]
    Config {
        /// Print every option with type, default and example, as Markdown
        #[arg(long, required = true)]
        reference: bool,
    },
    /// Show the CPM sessions with their legs
    #[command(after_help = "\
Examples:
  pf sessions
  pf sessions --json | jq '.[] | select(.state == \"established\") | .originator'")]
    Sessions(View),
    /// Show group sessions that have ended, and whether they may be started again
    #[command(after_help = "\
Examples:
  pf groups
  pf groups --json | jq '.[] | select(.restartable) | .focus'")]
    Groups(View),
    /// Show the registered devices
    #[command(after_help = "\
Examples:
  pf devices
  pf devices --json | jq '.[] | select(.cpm) | .contact'")]
    Devices(View),
    /// Show the MSRP legs with what they carried and what waits in their queues
    #[command(after_help = "\
Examples:
  pf legs
  pf legs --json | jq 'sort_by(.queued_octets) | last'")]
    Legs(View),
    /// Show the maps of the kernel programs, or change a setting of theirs
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
Examples:
  pf maps                                       which maps there are, and what they cost
  pf maps dump guard                            every source the guard knows, and what it did to it
  pf maps dump connections                      where each connection of the fast path stands
  pf maps dump legs                             path lines of each leg, and who gets its messages
  pf maps entry flows 192.0.2.9:40100           which connection a peer's is
  pf maps dump guard --json | jq '.[] | select(.dropped_packets > 0) | .source'
  pf maps set guard.connections_per_second 50   until the next start
  pf maps set datapath.statistics 1             `pf stats` shows the programs' share of the processor"
    )]
    Maps {
        /// What to do; without it, the maps are listed
        #[command(subcommand)]
        what: Option<Maps>,
        /// How it is shown.
        #[command(flatten)]
        view: View,
    },
    /// Show the counters of the process
    #[command(after_help = "\
Examples:
  pf stats
  pf stats --json | jq .legs_down")]
    Stats(View),
    /// List what the store holds, the newest first
    #[command(after_help = "\
Shows whose object it is, of which session and of what kind, never what was said.

Examples:
  pf store
  pf store --json | jq '.[] | select(.object == \"group-state\") | .uid'")]
    Store(View),
}

/// What to do with the maps of the kernel programs.
#[derive(Debug, Subcommand)]
pub enum Maps {
    /// Show the entries of a map, decoded
    Dump {
        /// Which map
        #[arg(ignore_case = true)]
        map: TableName,
        /// How it is shown.
        #[command(flatten)]
        view: View,
    },
    /// Show one entry of a map, decoded
    Entry {
        /// Which map
        #[arg(ignore_case = true)]
        map: TableName,
        /// Which entry, as the first column shows it; of a connection or flow also the peer's address and port
        key: String,
        /// How it is shown.
        #[command(flatten)]
        view: View,
    },
    /// Change a setting until the next start
    Set {
        /// An option of the configuration; a wrong one is answered with all that can be changed
        #[arg(value_parser = setting)]
        key: Setting,
        /// Its new value; of a switch 1 or 0, on or off
        #[arg(value_parser = amount)]
        value: u64,
        /// How it is shown.
        #[command(flatten)]
        view: View,
    },
}

fn setting(name: &str) -> Result<Setting, String> {
    Setting::ALL.into_iter().find(|setting| setting.name() == name).ok_or_else(|| {
        format!("not a setting that can be changed: {}", Setting::ALL.map(Setting::name).join(", "))
    })
}

fn amount(text: &str) -> Result<u64, String> {
    match text {
        "on" | "true" => Ok(1),
        "off" | "false" => Ok(0),
        number => number.parse().map_err(|_| "neither a whole number nor on or off".to_owned()),
    }
}

/// How a view is shown.
#[derive(Clone, Debug, clap::Args)]
pub struct View {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// The admin socket (`socket` under [admin] of the configuration)
    #[arg(long, value_name = "PATH", env = "PF_SOCKET", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// How many rows to show at most
    #[arg(long, value_name = "ROWS", default_value_t = crate::admin::protocol::DEFAULT_LIMIT)]
    pub limit: usize,
}
