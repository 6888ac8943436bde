//! Which interface packets to a peer leave by: the kernel's routing table says (rtnetlink, RTM_GETROUTE).

use std::{
    ffi::CStr,
    io,
    net::IpAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// Octets of `nlmsghdr` and of `rtmsg`.
const HEADER: usize = 16;
const ROUTE: usize = 12;
/// The longest answer: a header, a route and some attributes.
const ANSWER: usize = 4096;

/// The name of the interface by which this host sends from `local` to `remote`; `None`: there is no route.
pub(super) fn interface(local: IpAddr, remote: IpAddr) -> io::Result<Option<String>> {
    // SAFETY: no pointers; the result is checked before it is owned.
    let fd =
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: open, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let request = request(local, remote);
    // SAFETY: `request` lives through the call.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = [0_u8; ANSWER];
    // SAFETY: `answer` lives through the call and has the length that is told.
    let got = unsafe { libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0) };
    let Ok(got) = usize::try_from(got) else { return Err(io::Error::last_os_error()) };
    Ok(outgoing(answer.get(..got).unwrap_or_default()).and_then(name))
}

/// "By which route would you send from `local` to `remote`?"
fn request(local: IpAddr, remote: IpAddr) -> Vec<u8> {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (local, remote) = (octets(local), octets(remote));
    let family = if remote.len() == 4 { libc::AF_INET } else { libc::AF_INET6 };
    let bits = u8::try_from(remote.len() * 8).unwrap_or(128);
    let mut route = vec![u8::try_from(family).unwrap_or_default(), bits, bits];
    route.resize(ROUTE, 0);
    for (kind, value) in [(libc::RTA_DST, &remote), (libc::RTA_SRC, &local)] {
        let length = u16::try_from(4 + value.len()).unwrap_or_default();
        route.extend(length.to_ne_bytes());
        route.extend(kind.to_ne_bytes());
        route.extend(value);
    }
    let length = u32::try_from(HEADER + route.len()).unwrap_or_default();
    let flags = u16::try_from(libc::NLM_F_REQUEST).unwrap_or_default();
    let mut request = Vec::with_capacity(HEADER + route.len());
    request.extend(length.to_ne_bytes());
    request.extend(libc::RTM_GETROUTE.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend(1_u32.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request.extend(route);
    request
}

/// The number of the interface (RTA_OIF) in the answer; `None` where it is an error or names none.
fn outgoing(answer: &[u8]) -> Option<u32> {
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if half(4)? != libc::RTM_NEWROUTE {
        return None;
    }
    let mut at = HEADER + ROUTE;
    loop {
        let length = usize::from(half(at)?);
        if half(at + 2)? == libc::RTA_OIF {
            return Some(u32::from_ne_bytes(answer.get(at + 4..at + 8)?.try_into().ok()?));
        }
        // Attributes begin at multiples of four; an empty one would never end.
        at += length.max(4).next_multiple_of(4);
    }
}

fn name(index: u32) -> Option<String> {
    let mut name: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    // SAFETY: room for the longest name, which the call ends with a zero.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    // SAFETY: as above, where the call has succeeded.
    (!found.is_null()).then(|| unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn the_way_to_this_host_is_the_loopback_interface() {
        let v4 = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(interface(v4, IpAddr::from([127, 0, 0, 9])).unwrap().as_deref(), Some("lo"));
        let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
        assert_eq!(interface(v6, v6).unwrap().as_deref(), Some("lo"));
    }

    #[test]
    fn an_answer_without_an_interface_is_none() {
        let mut answer = vec![0_u8; HEADER + ROUTE];
        assert_eq!(outgoing(&answer), None);
        answer[4..6].copy_from_slice(&libc::RTM_NEWROUTE.to_ne_bytes());
        assert_eq!(outgoing(&answer), None);
        // An attribute that claims no length, and one that is cut off.
        answer.extend([0, 0, 9, 0, 8, 0, 4, 0, 7]);
        assert_eq!(outgoing(&answer), None);
    }
}
