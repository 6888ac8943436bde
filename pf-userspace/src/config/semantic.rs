//! What the values of a configuration mean together, and on this host.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use super::{
    check::Source,
    finding::Severity::{Error, Warning},
    model::{Config, FastPath, StoreKind},
    users,
};
use crate::{
    core::{
        config::User,
        event::Transport,
        policy::{MediaPath, Policy},
    },
    fastpath,
};

/// Adds what it finds to `source`; gives the users of the users file.
pub fn check(source: &mut Source<'_>, config: &Config) -> Vec<User> {
    listen(source, config);
    advertise(source, config);
    guard(source, config);
    policy(source, config);
    store(source, config);
    surroundings(source, config);
    users(source, config)
}

fn listen(source: &mut Source<'_>, config: &Config) {
    let sip = config
        .sip
        .listen
        .iter()
        .enumerate()
        .map(|(i, l)| (format!("sip.listen[{i}]"), l.transport == Transport::Udp, l.addr));
    let msrp =
        config.msrp.listen.iter().enumerate().map(|(i, addr)| (format!("msrp.listen[{i}]"), false, *addr));
    let mut taken: Vec<(String, bool, SocketAddr)> = Vec::new();
    for (key, udp, addr) in sip.chain(msrp) {
        if let Some((other, ..)) = taken.iter().find(|(_, u, a)| *u == udp && clash(*a, addr)) {
            let message = format!("port {} is taken by {other}", addr.port());
            source.note(Error, &key, message, "choose another port or another address");
        }
        if !is_local(addr.ip()) {
            let message = format!("{} is not an address of this host at present", addr.ip());
            source.note(Warning, &key, message, "`ip address` lists the addresses of this host");
        }
        taken.push((key, udp, addr));
    }
    if config.sip.listen.is_empty() {
        source.note(Error, "sip.listen", "there is no address to listen on", "name at least one");
    }
    if config.msrp.listen.is_empty() {
        source.note(Error, "msrp.listen", "there is no address to listen on", "name at least one");
    }
}

/// Do two sockets of one protocol get into each other's way?
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip()
        || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() == b.port() && a.port() != 0 && overlap
}

/// Has this host the address? Told by binding a port of the system's choice to it: nothing is sent.
fn is_local(addr: IpAddr) -> bool {
    !UdpSocket::bind((addr, 0)).is_err_and(|e| e.kind() == ErrorKind::AddrNotAvailable)
}

fn advertise(source: &mut Source<'_>, config: &Config) {
    let sip_wildcard = config.sip.listen.iter().position(|l| l.addr.ip().is_unspecified());
    if let (Some(index), None) = (sip_wildcard, &config.sip.advertise) {
        source.note(
            Warning,
            &format!("sip.listen[{index}]"),
            "a wildcard address says nothing to peers: Via and Contact get an address of this host that pf guesses",
            "set `advertise` under `[sip]` to the address or name that peers shall use",
        );
    }
    let advertised_ip = config.sip.advertise.as_deref().is_some_and(|host| host.parse::<IpAddr>().is_ok());
    let msrp_wildcard = config.msrp.listen.iter().position(|a| a.ip().is_unspecified());
    if let (Some(index), None, false) = (msrp_wildcard, config.msrp.advertise, advertised_ip) {
        source.note(
            Warning,
            &format!("msrp.listen[{index}]"),
            "a wildcard address says nothing to peers: a=path gets an address of this host that pf guesses",
            "set `advertise` under `[msrp]` to the IP address that peers shall use",
        );
    }
    for (key, bad) in [
        ("sip.advertise", config.sip.advertise.as_deref().is_some_and(|h| matches!(h, "0.0.0.0" | "::"))),
        ("msrp.advertise", config.msrp.advertise.is_some_and(|ip| ip.is_unspecified())),
    ] {
        if bad {
            source.note(Error, key, "no peer can send to a wildcard address", "name an address of this host");
        }
    }
}

fn guard(source: &mut Source<'_>, config: &Config) {
    let interfaces = &config.guard.interfaces;
    if !interfaces.is_empty() && !fastpath::built() {
        source.note(
            Error,
            "guard.interfaces",
            "this build has no kernel programs, so pf would refuse to start",
            "build with `cargo xtask build` first, or leave `interfaces` out",
        );
    }
    for (at, name) in interfaces.iter().enumerate() {
        let key = format!("guard.interfaces[{at}]");
        if interfaces[..at].contains(name) {
            source.note(Error, &key, format!("`{name}` stands here twice"), "name each interface once");
        } else if !Path::new("/sys/class/net").join(name).exists() {
            let message = format!("this host has no interface `{name}` at present: pf would refuse to start");
            source.note(Warning, &key, message, "`ip link` lists the interfaces of this host");
        }
    }
}

fn fast_path(source: &mut Source<'_>, config: &Config) {
    let required = config.fast_path == FastPath::Required;
    if required && !fastpath::built() {
        source.note(
            Error,
            "fast_path",
            "this build has no kernel programs, so pf would refuse to start",
            "build with `cargo xtask build` first, or set it to \"auto\" or \"off\"",
        );
    }
    if config.msrp.workers != 1 && config.fast_path != FastPath::Off {
        let message = "the fast path serves one worker: with more there is none";
        let (severity, help) = if required {
            (Error, "set workers = 1 under [msrp]")
        } else {
            (Warning, "set workers = 1 under [msrp], or fast_path = \"off\"")
        };
        source.note(severity, "fast_path", message, help);
    }
    if config.datapath.backoff_max_ms < config.datapath.backoff_ms {
        let message = format!("it is below backoff_ms ({} ms)", config.datapath.backoff_ms);
        source.note(Error, "datapath.backoff_max_ms", message, "raise backoff_max_ms or lower backoff_ms");
    }
    if !config.datapath.log.is_power_of_two() {
        let near = config.datapath.log.next_power_of_two();
        let message = format!("{} is not a power of two", config.datapath.log);
        source.note(Error, "datapath.log", message, format!("{near} is one"));
    }
}

fn policy(source: &mut Source<'_>, config: &Config) {
    let policy = &config.policy;
    if policy.session_expires < policy.min_session_expires {
        source.note(
            Error,
            "policy.session_expires",
            format!(
                "{} s is below min_session_expires ({} s): pf would not accept its own offer",
                policy.session_expires, policy.min_session_expires
            ),
            "raise session_expires or lower min_session_expires",
        );
    }
    if policy.media_path == MediaPath::WhenNeeded && policy.direct_delivery {
        source.note(
            Warning,
            "policy.media_path",
            "direct_delivery needs pf in the media path of every session: none is proxied",
            "set direct_delivery = false, or leave media_path out",
        );
    }
    if policy.media_path == MediaPath::Always && !policy.media_path_users.is_empty() {
        source.note(
            Warning,
            "policy.media_path_users",
            "pf is in the media path of every session, so this does nothing",
            "set media_path = \"when-needed\", or leave media_path_users out",
        );
    }
    if policy.registration_max_seconds < policy.registration_min_seconds {
        source.note(
            Error,
            "policy.registration_max_seconds",
            format!("it is below registration_min_seconds ({} s)", policy.registration_min_seconds),
            "raise registration_max_seconds or lower registration_min_seconds",
        );
    }
    if config.sip.isf.is_none() && !policy.interworking_after.is_empty() {
        source.note(
            Warning,
            "policy.interworking_after",
            "without sip.isf there is nowhere to go, so this does nothing",
            "set sip.isf, or leave interworking_after out",
        );
    }
    if !policy.direct_delivery && policy.late_devices {
        source.note(
            Warning,
            "policy.late_devices",
            "without direct_delivery no other device is invited, so this does nothing",
            "set direct_delivery = true, or leave late_devices out",
        );
    }
}

/// Wishes that nothing can fulfil.
fn store(source: &mut Source<'_>, config: &Config) {
    let Policy { allow_offline_storage, allow_store, allow_defer, .. } = config.policy;
    if config.store.kind == StoreKind::None && config.xdms.root.is_some() {
        source.note(
            Warning,
            "xdms.root",
            "there is no store: whatever users want, nothing is kept, and the XDMS is not asked",
            "set kind = \"journal\" under [store], or leave `root` out",
        );
    }
    if config.store.kind == StoreKind::None && (allow_offline_storage || allow_store || allow_defer) {
        source.note(
            Warning,
            "store.kind",
            "there is no store: no history is recorded and no message is kept, whatever [policy] allows",
            "set kind = \"journal\" under [store]",
        );
    }
}

fn surroundings(source: &mut Source<'_>, config: &Config) {
    fast_path(source, config);
    if let Ok(meta) = std::fs::metadata(&config.state_dir)
        && !meta.is_dir()
    {
        let message = format!("{} is not a folder", config.state_dir.display());
        source.note(Error, "state_dir", message, "name a folder that pf may write to");
    }
    let length = config.admin.socket.as_os_str().len();
    // sun_path holds 108 octets with the closing zero (unix(7)).
    if length > 107 {
        let message = format!("the path has {length} octets; a Unix socket's has 107 at most");
        source.note(Error, "admin.socket", message, "choose a shorter path");
    }
    if std::fs::metadata(&config.admin.socket).is_ok_and(|m| m.is_dir()) {
        source.note(
            Error,
            "admin.socket",
            "this is a folder",
            "name the socket itself, as in /run/pf/pf.sock",
        );
    }
}

fn users(source: &mut Source<'_>, config: &Config) -> Vec<User> {
    if config.registrar.domains.is_empty() {
        source.note(
            Error,
            "registrar.domains",
            "pf serves no domain: no device could register and no user start a session",
            "name the domain of your users, as in domains = [\"example.org\"] under `[registrar]`",
        );
    }
    let digest = &config.registrar.digest;
    if digest.is_empty() {
        source.note(
            Error,
            "registrar.digest",
            "there is no algorithm: nobody could show who they are",
            "name at least one, or leave the option out",
        );
    }
    for (index, algorithm) in digest.iter().enumerate() {
        if digest[..index].contains(algorithm) {
            let message = format!("{} stands there twice", algorithm.as_str());
            source.note(Error, &format!("registrar.digest[{index}]"), message, "name each algorithm once");
        }
    }
    let Some(file) = &config.registrar.users else {
        if config.sip.trusted.is_empty() {
            source.note(
                Warning,
                "registrar.users",
                "there is neither a users file nor a trusted node: nobody can register or start a session",
                "set `users` under `[registrar]`, or `trusted` under `[sip]`",
            );
        }
        return Vec::new();
    };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("{} cannot be read: {error}", file.display());
            source.note(Error, "registrar.users", message, "make it, or mend the path or its permissions");
            return Vec::new();
        }
    };
    if readable_by_all(file) {
        let message = format!("{} holds passwords and every user of this host can read it", file.display());
        source.note(Warning, "registrar.users", message, format!("chmod o-rwx {}", file.display()));
    }
    let (users, findings) = users::check(file, &text, &config.registrar.domains);
    if users.is_empty() && findings.is_empty() {
        let message = format!("there is no user in {}", file.display());
        source.note(Warning, "registrar.users", message, "add a `[[user]]` table for each user");
    }
    source.findings.extend(findings);
    users
}

fn readable_by_all(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}
