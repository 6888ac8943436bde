//! A link that loses packets: a program of four instructions at random.

use std::{
    ffi::CString,
    io,
    os::fd::{FromRawFd, OwnedFd},
};

const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const SCHED_CLS: u32 = 3;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

/// Loses one of `n` packets, both ways, until it is dropped. Belongs to the namespace of the calling thread.
pub(crate) fn lossy(device: &str, n: i32) -> Vec<OwnedFd> {
    let code = |code: u8, registers: u8, offset: i16, value: i32| {
        let mut octets = vec![code, registers];
        octets.extend(offset.to_le_bytes());
        octets.extend(value.to_le_bytes());
        octets
    };
    let program: Vec<u8> = [
        // A random number in r0; its remainder.
        code(0x85, 0, 0, 7),
        code(0x94, 0, 0, n),
        // Not 0: go on (-1). 0: drop (2).
        code(0x56, 0, 2, 0),
        code(0xb4, 0, 0, 2),
        code(0x95, 0, 0, 0),
        code(0xb4, 0, 0, -1),
        code(0x95, 0, 0, 0),
    ]
    .concat();
    let license = CString::new("MIT").unwrap();
    let mut load = [0_u64; 18];
    load[0] = u64::from(SCHED_CLS) | ((program.len() / 8) as u64) << 32;
    load[1] = program.as_ptr() as u64;
    load[2] = license.as_ptr() as u64;
    let loaded = bpf(PROG_LOAD, &load);
    let index = CString::new(device).unwrap();
    // SAFETY: a string that ends in zero.
    let index = unsafe { libc::if_nametoindex(index.as_ptr()) };
    let program = std::os::fd::AsRawFd::as_raw_fd(&loaded) as u64;
    [TCX_INGRESS, TCX_EGRESS]
        .into_iter()
        .map(|direction| {
            bpf(LINK_CREATE, &[program | u64::from(index) << 32, u64::from(direction), 0, 0, 0, 0])
        })
        .collect()
}

fn bpf(what: libc::c_long, attributes: &[u64]) -> OwnedFd {
    let size = size_of_val(attributes);
    // SAFETY: the attributes of that command, as linux/bpf.h has them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, what, attributes.as_ptr(), size) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: ours.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}
