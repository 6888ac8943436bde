//! `cargo xtask TASK`: the project's tasks. CI calls the same names as people do.

mod bench;
mod conformance;
mod demo;
mod ebpf;
mod lint;
mod probe;
mod setup;
mod shell;
mod test;
mod toolchain;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// The project's tasks
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Measure against other relays: `cargo xtask bench relay|fastpath|sip|sessions|soak`
    #[command(disable_help_flag = true)]
    Bench {
        /// Which benchmark, and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
    /// Build the kernel programs into target/bpf/pf.o, where `cargo build` finds them for pf
    Build {
        /// Build twice, and fail if any octet differs
        #[arg(long)]
        twice: bool,
    },
    /// Make docs/conformance.md: every row of docs/rows.toml with the tests that show it
    Conformance {
        /// Change nothing; fail if the page is not up to date
        #[arg(long)]
        check: bool,
    },
    /// Build pf and show it at work: four devices of a user, a far end, two thousand messages
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments for `pf-lab demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
    /// Check format, warnings and generated documents
    Lint,
    /// Ask an MSRP relay what it does with unkind octets: `cargo xtask probe HOST:PORT`
    #[command(disable_help_flag = true)]
    Probe {
        /// Arguments for `pf-lab probe`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "HOST:PORT")]
        arguments: Vec<String>,
    },
    /// Install the programs that tests, demo and benchmarks need, where they are missing
    Setup {
        /// Install what builds the kernel programs instead: a compiler with its library's source, LLVM, bpf-linker
        #[arg(long)]
        ebpf: bool,
    },
    /// Run every test; none is skipped for a missing program or right
    #[command(disable_help_flag = true)]
    Test {
        /// Write a ladder diagram (SVG) of each test that has actors into this directory
        #[arg(long, value_name = "DIRECTORY")]
        ladder: Option<std::path::PathBuf>,
        /// Arguments for `cargo test`, such as a part of a test's name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        None => return usage(),
        Some(Task::Bench { arguments }) => bench::run(&arguments),
        Some(Task::Build { twice }) => ebpf::run(twice),
        Some(Task::Conformance { check }) => conformance::run(check),
        Some(Task::Demo { arguments }) => demo::run(&arguments),
        Some(Task::Lint) => lint::run(),
        Some(Task::Probe { arguments }) => probe::run(&arguments),
        Some(Task::Setup { ebpf }) => setup::run(ebpf),
        Some(Task::Test { ladder, arguments }) => test::run(ladder.as_deref(), &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    match Args::command().print_help() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
