//! The interfaces that connections' packets come by.

use std::{
    ffi::{CStr, CString},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd,
};

use aya::programs::{
    LinkOrder, TcAttachType,
    links::FdLink,
    tc::{SchedClassifierLink, TcAttachOptions},
};

use super::{
    super::error::chain,
    Datapath, RegisterError,
    keeper::Keeper,
    load::{EGRESS, INGRESS, program},
};

/// Attaches ingress and egress to an interface, if they are not there yet.
pub(super) fn attach(datapath: &mut Datapath, interface: &str) -> Result<(), RegisterError> {
    let name = CString::new(interface).map_err(io::Error::other)?;
    // SAFETY: a string that ends in zero.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if number == 0 {
        return Err(io::Error::last_os_error().into());
    }
    if datapath.links.contains_key(&number) {
        return Ok(());
    }
    if !matches!(hardware(interface)?, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) {
        return Err(RegisterError::Unsupported("its interface has no Ethernet frames"));
    }
    let mut link = |name: &'static str, direction| -> Result<FdLink, RegisterError> {
        let program = program(&mut datapath.ebpf, name).map_err(io::Error::other)?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let id = program
            .attach_with_options(interface, direction, options)
            .map_err(|error| io::Error::other(chain(&error)))?;
        let link: SchedClassifierLink =
            program.take_link(id).map_err(|error| io::Error::other(chain(&error)))?;
        FdLink::try_from(link).map_err(|error| io::Error::other(chain(&error)).into())
    };
    // Egress first: what it has not seen, ingress must not change.
    let egress = link(EGRESS, TcAttachType::Egress)?;
    let ingress = link(INGRESS, TcAttachType::Ingress)?;
    tracing::info!(interface, "fast path: attached");
    let links = [ingress, egress];
    if datapath.outlive {
        match Keeper::start(&links) {
            Ok(keeper) => datapath.keepers.push(keeper),
            Err(error) => {
                tracing::warn!(interface, "should pf be killed, its peers would not notice: {error}")
            }
        }
    }
    datapath.links.insert(number, links);
    Ok(())
}

/// The kind of an interface (`ARPHRD_*`), asked in the network namespace of this thread.
fn hardware(interface: &str) -> io::Result<u16> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // SAFETY: plain octets, for which zeros are valid; the name is cut to leave a zero behind it.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
            *to = from.cast_signed();
        }
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(request.ifr_ifru.ifru_hwaddr.sa_family)
    }
}

/// The name of the interface that owns an address.
pub(super) fn owner(address: IpAddr) -> io::Result<Option<String>> {
    if address.is_loopback() {
        return Ok(Some("lo".to_owned()));
    }
    let mut list = std::ptr::null_mut();
    // SAFETY: a valid place for a pointer, which freeifaddrs takes back.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = None;
    let mut entry = list;
    while !entry.is_null() && found.is_none() {
        // SAFETY: the list's entries live until freeifaddrs; addresses are of the type their family says.
        unsafe {
            let this = &*entry;
            if !this.ifa_addr.is_null() {
                let own = match i32::from((*this.ifa_addr).sa_family) {
                    libc::AF_INET => {
                        let address = &*this.ifa_addr.cast::<libc::sockaddr_in>();
                        Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))))
                    }
                    libc::AF_INET6 => {
                        let address = &*this.ifa_addr.cast::<libc::sockaddr_in6>();
                        Some(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)))
                    }
                    _ => None,
                };
                if own == Some(address) {
                    found = Some(CStr::from_ptr(this.ifa_name).to_string_lossy().into_owned());
                }
            }
            entry = this.ifa_next;
        }
    }
    // SAFETY: from getifaddrs.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}
