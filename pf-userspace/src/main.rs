//! The `pf` binary: everything is in the library.

use std::process::ExitCode;

/// Messages of all sizes come and go on several threads: the system's allocator keeps their memory for itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pf::cli::main()
}
