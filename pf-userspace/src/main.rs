//! The `pf` binary: everything is in the library.

use std::process::ExitCode;

/// Messages of all sizes come and go on several threads, and what one takes another frees. This allocator has a thread of
/// its own that gives the memory back, also when nothing happens any more (docs/decisions.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Memory that was not needed for a second goes back to the system. `MALLOC_CONF` in the environment has the last word.
#[allow(unsafe_code, reason = "the allocator looks for its settings under this name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: Option<&'static std::ffi::c_char> = Some(settings());

const fn settings() -> &'static std::ffi::c_char {
    const TEXT: &std::ffi::CStr = c"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";
    // SAFETY: the pointer is to the first octet of a text that lives as long as the process.
    unsafe { &*TEXT.as_ptr() }
}

fn main() -> ExitCode {
    pf::cli::main()
}
