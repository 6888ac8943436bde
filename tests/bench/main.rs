//! `pf-bench`: how fast `pf` is beside what one would use instead, on one machine over loopback.
//!
//! Numbers of one run compare with each other, not with those of another machine or hour: quote ratios, with body,
//! fan-out and pipelining depth.
#![allow(clippy::print_stdout, reason = "a command line program reports on standard output")]

mod calls;
mod clock;
mod contender;
mod crew;
mod fastpath;
mod fastpath_million;
mod fastpath_soak;
mod frame;
mod ground;
mod kamailio;
mod link;
mod load;
mod measure;
mod message;
mod minimal_relay;
mod pf;
mod plot;
mod process;
mod relay;
mod report;
mod sessions;
mod sip_client;
mod sip_message;
mod soak;

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
};

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(about, version)]
enum Task {
    /// MSRP relaying: messages per second, latency and CPU beside other relays
    Relay(relay::Options),
    /// The in-kernel path beside the userspace path, other relays and no relay, over routed veth pairs (root)
    Fastpath(relay::Options),
    /// A million messages through the in-kernel path, every octet verified at each receiver (root)
    FastpathMillion(fastpath_million::Options),
    /// Conversations of every kind through the in-kernel path for an hour, every octet verified (root)
    FastpathSoak(fastpath_soak::Options),
    /// SIP: sessions set up and ended through pf per second
    Sip(calls::Options),
    /// Memory: many sessions with several devices live at once
    Sessions(sessions::Options),
    /// A hundred thousand sessions: afterwards every table is empty and memory is back
    Soak(soak::Options),
    /// The minimal relay alone (started by `relay`)
    #[command(hide = true)]
    MinimalRelay {
        /// Where it listens
        #[arg(long)]
        listen: IpAddr,
        /// Where the sinks listen
        #[arg(long)]
        sinks: SocketAddr,
        /// Sinks of each session
        #[arg(long)]
        fanout: usize,
    },
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Relay(options) => relay::run(&options),
        Task::Fastpath(options) => fastpath::run(&options),
        Task::FastpathMillion(options) => fastpath_million::run(&options),
        Task::FastpathSoak(options) => fastpath_soak::run(&options),
        Task::Sip(options) => calls::run(&options),
        Task::Sessions(options) => sessions::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::MinimalRelay { listen, sinks, fanout } => {
            minimal_relay::serve(listen, sinks, fanout, |address| {
                println!("ready {address}");
                Ok(std::io::stdout().flush()?)
            })
        }
    }
}
