//! The command line.

pub mod args;
pub mod check;
mod maps;
pub mod show;
pub mod table;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    admin::{Query, Request},
    config,
};
use args::{Args, Command, Maps, View};

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Command::Run { config } => crate::run::run(&config),
        Command::KeepAttached => return crate::fastpath::keep(),
        Command::Check { file } => return check::check(&file),
        Command::Config { reference: _ } => print(&config::reference::markdown()),
        Command::Reload { json, socket } => {
            show::show(Request::new(Query::Reload, None), &View { json, socket, limit: 0 })
        }
        Command::Sessions(view) => ask(Query::Sessions, &view),
        Command::Devices(view) => ask(Query::Devices, &view),
        Command::Groups(view) => ask(Query::Groups, &view),
        Command::Legs(view) => ask(Query::Legs, &view),
        Command::Maps { what: None, view } => ask(Query::Maps, &view),
        Command::Maps { what: Some(Maps::Dump { map, view }), .. } => {
            show::show(Request::entries(map, None, Some(view.limit)), &view)
        }
        Command::Maps { what: Some(Maps::Entry { map, key, view }), .. } => {
            show::show(Request::entries(map, Some(key), Some(view.limit)), &view)
        }
        Command::Maps { what: Some(Maps::Set { key, value, view }), .. } => {
            show::show(Request::change(key, value), &view)
        }
        Command::Stats(view) => ask(Query::Stats, &view),
        Command::Store(view) => ask(Query::Store, &view),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "pf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ask(query: Query, view: &View) -> anyhow::Result<()> {
    show::show(Request::new(query, Some(view.limit)), view)
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
