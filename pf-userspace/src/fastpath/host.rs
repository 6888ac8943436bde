//! Whether this host can load kernel programs: asked first, because the kernel's own answers say little.

use std::{ffi::CStr, fs};

use super::GuardError;

/// The oldest kernel. Before it, the verifier could take a branch of a Rust `match` for dead that was not.
const OLDEST: (u32, u32) = (6, 8);
const OLDEST_TEXT: &str = "6.8";

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Fails with what is missing.
pub(super) fn check() -> Result<(), GuardError> {
    let release = release();
    if version(&release).is_none_or(|version| version < OLDEST) {
        return Err(GuardError::OldKernel(release, OLDEST_TEXT));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing(&status).map_or(Ok(()), |name| Err(GuardError::Capability(name)))
}

/// The first capability that `/proc/self/status` does not show as effective.
fn missing(status: &str) -> Option<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(line.trim(), 16).ok()?;
    let has = |capability: u32| effective >> capability & 1 == 1;
    let wanted = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON"), (CAP_NET_ADMIN, "CAP_NET_ADMIN")];
    let fine = |capability| has(capability) || (capability != CAP_NET_ADMIN && has(CAP_SYS_ADMIN));
    wanted.into_iter().find(|(capability, _)| !fine(*capability)).map(|(_, name)| name)
}

fn release() -> String {
    // SAFETY: utsname is plain octets, for which zeros are valid; uname fills it with strings that end in zero.
    let name = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&mut name);
        name
    };
    // SAFETY: see above; the array outlives the borrow.
    unsafe { CStr::from_ptr(name.release.as_ptr()) }.to_string_lossy().into_owned()
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("6.18.44-amd64"), Some((6, 18)));
        assert!(version("6.18.0") > Some(OLDEST) && version("6.8.0-31-generic") == Some(OLDEST));
        assert!(version("6.1.0-35-amd64") < Some(OLDEST));
        assert_eq!(version("strange"), None);
        assert!(version(&release()).is_some(), "{}", release());
    }

    #[test]
    fn a_missing_capability_is_named() {
        let status = |effective: u64| format!("Name:\tpf\nCapEff:\t{effective:016x}\nCapBnd:\t0\n");
        let bit = |capability: u32| 1u64 << capability;
        assert_eq!(missing(&status(0)), Some("CAP_BPF"));
        assert_eq!(missing(&status(bit(CAP_BPF))), Some("CAP_PERFMON"));
        assert_eq!(missing(&status(bit(CAP_BPF) | bit(CAP_PERFMON))), Some("CAP_NET_ADMIN"));
        assert_eq!(missing(&status(bit(CAP_SYS_ADMIN))), Some("CAP_NET_ADMIN"));
        assert_eq!(missing(&status(bit(CAP_BPF) | bit(CAP_PERFMON) | bit(CAP_NET_ADMIN))), None);
        assert_eq!(missing(&status(bit(CAP_SYS_ADMIN) | bit(CAP_NET_ADMIN))), None);
    }
}
