//! The command line.

pub mod args;
pub mod check;
pub mod show;
pub mod table;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::{admin::Query, config};
use args::{Args, Command};

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Command::Run { config } => crate::run::run(&config),
        Command::Check { file } => return check::check(&file),
        Command::Config { reference: _ } => print(&config::reference::markdown()),
        Command::Sessions(view) => show::show(Query::Sessions, &view),
        Command::Devices(view) => show::show(Query::Devices, &view),
        Command::Legs(view) => show::show(Query::Legs, &view),
        Command::Stats(view) => show::show(Query::Stats, &view),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "pf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
