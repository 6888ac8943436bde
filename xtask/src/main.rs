//! Dispatches the project's tasks.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let steps: &[&[&str]] = match task.as_str() {
        "lint" => &[
            &["fmt", "--all", "--check"],
            &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        ],
        "test" => &[&["test", "--workspace"]],
        _ => {
            eprintln!("usage: cargo xtask lint|test");
            return ExitCode::from(2);
        }
    };
    for step in steps {
        match Command::new("cargo").args(*step).status() {
            Ok(status) if status.success() => {}
            _ => return ExitCode::FAILURE,
        }
    }
    ExitCode::SUCCESS
}
