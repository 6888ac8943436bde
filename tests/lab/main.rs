//! `pf-lab`: the demo and the wire probe, for people and for `cargo xtask`.

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "pf-lab", version, about = "Devices, far ends and networks around a real pf")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a user's devices, a far end and pf at work in network namespaces
    Demo(lab::demo::Arguments),
    /// Ask an MSRP relay what it does with unkind octets
    Probe(Box<lab::probe::Arguments>),
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pf-lab: {error:#}");
            ExitCode::from(100)
        }
    }
}

fn run() -> Result<ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut out = std::io::stdout();
    runtime.block_on(async {
        match options.command {
            Command::Demo(arguments) => {
                let good = lab::demo::run(arguments, &mut out).await?;
                Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Command::Probe(arguments) => {
                let failed = lab::probe::run(*arguments, &mut out).await?;
                // 100 and above mean that the probe itself could not run.
                Ok(ExitCode::from(u8::try_from(failed).unwrap_or(99).min(99)))
            }
        }
    })
}
