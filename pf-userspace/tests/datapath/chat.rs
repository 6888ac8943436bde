//! A chat over real sockets: what arrives is compared octet by octet.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use pf_common::{
    maps::{Count, Total},
    splice::{Cause, KernelVerdict, MAX_LEGS, PeerVerdict},
    whole::Content,
};

use super::{
    datapath,
    lab::{self, Lab},
    loss::lossy,
    message::{in_block, ok, out_block, send},
    relay::Relay,
};

/// Reads exactly these octets.
fn expect(socket: &mut TcpStream, wanted: &[u8], what: &str) {
    let mut got = vec![0; wanted.len()];
    socket.read_exact(&mut got).unwrap_or_else(|error| panic!("{what}: {error}"));
    if got != wanted {
        panic!("{what}:\n{}\ninstead of\n{}", String::from_utf8_lossy(&got), String::from_utf8_lossy(wanted));
    }
}

pub(crate) struct Chat {
    pub(crate) devices: usize,
    pub(crate) messages: usize,
    pub(crate) size: fn(usize) -> usize,
    /// The relay falls back now and then.
    pub(crate) restless: bool,
    pub(crate) pause: Duration,
}

/// What a chat came to.
pub(crate) struct Outcome {
    pub(crate) relay: Relay,
    pub(crate) fast: u64,
    pub(crate) took: Duration,
}

/// Everybody answers everything; the originator has one message outstanding.
pub(crate) fn chat(
    lab: &Lab,
    setting: &Chat,
    prepare: impl FnOnce(&mut [(TcpStream, TcpStream)]) + Send,
) -> Option<Outcome> {
    let datapath = datapath()?;
    let mut pairs = lab.connect(2 + setting.devices);
    prepare(&mut pairs);
    let (peers, ours): (Vec<TcpStream>, Vec<TcpStream>) = pairs.into_iter().unzip();
    let (messages, size) = (setting.messages, setting.size);
    let pause = setting.pause;
    let done = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        let done = &done;
        for (n, mut socket) in peers.into_iter().enumerate() {
            scope.spawn(move || {
                for number in 0..messages {
                    if n == 0 {
                        socket.write_all(&send(number, size(number), &in_block(0))).unwrap();
                        expect(&mut socket, &ok(number, &out_block(0)), "the originator");
                        thread::sleep(pause);
                    } else {
                        let what = format!("peer {n}, message {number}");
                        expect(&mut socket, &send(number, size(number), &out_block(n)), &what);
                        socket.write_all(&ok(number, &in_block(n))).unwrap();
                    }
                }
                if n == 0 {
                    done.store(true, Ordering::SeqCst);
                }
                // The end of the stream comes only when the relay closes.
                let mut rest = Vec::new();
                let _ = socket.shutdown(std::net::Shutdown::Write);
                socket.read_to_end(&mut rest).unwrap();
                assert!(rest.is_empty(), "peer {n}: {}", String::from_utf8_lossy(&rest));
            });
        }
        lab.in_relay(move || {
            let begin = Instant::now();
            let mut relay = Relay::new(datapath, ours);
            let mut spells = Instant::now();
            while !relay.round() {
                assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", relay.view());
                if setting.restless {
                    if spells.elapsed() > Duration::from_millis(8) {
                        spells = Instant::now();
                        relay.fall_back();
                    }
                    relay.arms = spells.elapsed() > Duration::from_millis(2);
                }
                thread::sleep(Duration::from_micros(if setting.restless { 200 } else { 500 }));
            }
            let counts = relay.datapath.counts().unwrap();
            let fast = counts.get(Count::Content(Content::Send));
            Outcome { relay, fast, took: begin.elapsed() }.close()
        })
    });
    Some(outcome)
}

impl Outcome {
    /// Closes the relay's sockets, so that the peers see the end.
    fn close(mut self) -> Outcome {
        self.relay.close();
        self
    }

    pub(crate) fn tell(&self, what: &str) {
        let counts = self.relay.datapath.counts().unwrap();
        eprintln!(
            "{what}: {:?}, {} relayed by userspace, {} octets rolled back",
            self.took, self.relay.slow, self.relay.rolled_back
        );
        let lists: [Vec<(&str, u64)>; 5] = [
            counts.peer.iter().map(|(v, n)| (v.name(), *n)).collect(),
            counts.kernel.iter().map(|(v, n)| (v.name(), *n)).collect(),
            counts.cause.iter().map(|(v, n)| (v.name(), *n)).collect(),
            counts.content.iter().map(|(v, n)| (v.name(), *n)).collect(),
            counts.total.iter().map(|(v, n)| (v.name(), *n)).collect(),
        ];
        for program in self.relay.datapath.programs().unwrap() {
            let (runs, time) = program.runs;
            if let Some(mean) = time.as_nanos().checked_div(runs.into()) {
                eprintln!("  {}: {mean} ns a packet, {runs} packets", program.name);
            }
        }
        for list in lists {
            let told: Vec<String> =
                list.iter().filter(|(_, n)| *n != 0).map(|(name, n)| format!("{name} {n}")).collect();
            eprintln!("  {}", told.join(", "));
        }
    }

    pub(crate) fn total(&self, total: Total) -> u64 {
        self.relay.datapath.counts().unwrap().total(total)
    }
}

#[test]
fn a_calm_chat_is_the_programs_work() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    let setting = Chat {
        devices: 2,
        messages: 2000,
        size: |number| 1 + number * 37 % 900,
        restless: false,
        pause: Duration::ZERO,
    };
    let Some(outcome) = chat(&lab, &setting, |_| {}) else { return };
    outcome.tell("calm");
    let counts = outcome.relay.datapath.counts().unwrap();
    assert!(outcome.fast >= 1500, "{}", outcome.fast);
    assert!(outcome.total(Total::Injected) >= 1500 * 4);
    assert!(counts.get(Count::Peer(PeerVerdict::Consume)) >= 1500 * 4);
    assert_eq!(outcome.total(Total::HelperFailed), 0);
    assert_eq!(outcome.total(Total::CloneFailed), 0);
    assert!(counts.get(Count::Kernel(KernelVerdict::Send)) > 0);
}

/// Sets the modes under contention: on a quiet machine nothing is ever interrupted between two steps.
pub(crate) fn hogs<T>(run: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let mut n = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    n = std::hint::black_box(n + 1);
                }
            });
        }
        let result = run();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn falling_back_again_and_again_loses_nothing() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    let setting = Chat {
        devices: 2,
        messages: 3000,
        size: |number| 1 + number * 91 % 1000,
        restless: true,
        pause: Duration::from_micros(300),
    };
    let Some(outcome) = hogs(|| chat(&lab, &setting, |_| {})) else { return };
    outcome.tell("restless");
    assert!(outcome.fast >= 500, "{}", outcome.fast);
    assert!(outcome.relay.slow >= 100, "{}", outcome.relay.slow);
    assert_eq!(outcome.total(Total::HelperFailed), 0);
}

#[test]
fn as_many_devices_as_the_programs_serve() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    // With the originator and the far end: sixteen legs, fifteen copies of each message.
    let setting = Chat {
        devices: MAX_LEGS - 2,
        messages: 400,
        size: |number| 1 + number * 37 % 900,
        restless: false,
        pause: Duration::from_millis(1),
    };
    let Some(outcome) = chat(&lab, &setting, |_| {}) else { return };
    outcome.tell("sixteen legs");
    assert!(outcome.fast >= 100, "{}", outcome.fast);
    assert!(outcome.total(Total::Injected) >= 100 * 15, "{}", outcome.total(Total::Injected));
    // The programs wrote to everybody.
    for connection in 0..MAX_LEGS as u32 {
        let injected = outcome.relay.datapath.slot(connection).unwrap().counts.injected;
        assert!(injected >= 50, "{connection}: {injected}");
    }
    assert_eq!(outcome.total(Total::HelperFailed), 0);
    assert_eq!(outcome.total(Total::CloneFailed), 0);
}

/// A calm chat on another kind of link.
fn calm(lab: &Lab, what: &str) -> Option<Outcome> {
    let setting = Chat {
        devices: 3,
        messages: 600,
        size: |number| 1 + number * 37 % 1000,
        restless: false,
        pause: Duration::ZERO,
    };
    let outcome = chat(lab, &setting, |_| {})?;
    outcome.tell(what);
    assert!(outcome.fast >= 400, "{}", outcome.fast);
    assert!(outcome.total(Total::Injected) >= 400 * 5);
    assert_eq!(outcome.total(Total::HelperFailed), 0);
    assert_eq!(outcome.total(Total::CloneFailed), 0);
    // Had a checksum been wrong, each copy would have been lost. On a busy machine somebody may sleep too long.
    let counts = outcome.relay.datapath.counts().unwrap();
    let lost = counts.get(Count::Cause(Cause::Lost)) + counts.get(Count::Cause(Cause::Stalled));
    assert!(lost <= 10, "{lost}");
    Some(outcome)
}

#[test]
fn over_ipv6() {
    let Some(lab) = Lab::new(lab::v6) else { return };
    calm(&lab, "IPv6");
}

#[test]
fn without_timestamps() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    lab.sysctl("ipv4/tcp_timestamps", "0");
    calm(&lab, "no timestamps");
}

#[test]
fn with_checksums_made_by_the_kernel() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    lab.no_offloads();
    calm(&lab, "no offloads");
    drop(lab);
    let Some(lab) = Lab::new(lab::v6) else { return };
    lab.no_offloads();
    lab.sysctl("ipv4/tcp_timestamps", "0");
    calm(&lab, "no offloads, no timestamps, IPv6");
}

#[test]
fn with_everybody_on_this_host() {
    let Some(lab) = Lab::new(lab::loopback) else { return };
    calm(&lab, "loopback");
}

#[test]
fn without_window_scaling_and_sack() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    lab.sysctl("ipv4/tcp_window_scaling", "0");
    lab.sysctl("ipv4/tcp_sack", "0");
    calm(&lab, "no scaling, no SACK");
}

#[test]
fn lost_packets_come_again() {
    for hosts in [lab::v4, lab::v6] {
        let Some(lab) = Lab::new(hosts) else { return };
        let setting = Chat {
            devices: 2,
            messages: 400,
            size: |number| 1 + number * 91 % 1000,
            restless: false,
            pause: Duration::ZERO,
        };
        let links = std::sync::Mutex::new(Vec::new());
        let outcome = chat(&lab, &setting, |_| {
            *links.lock().unwrap() = lab.in_peers(|| lossy(lab::OTHER, 100));
        });
        let Some(outcome) = outcome else { return };
        outcome.tell("lossy");
        assert!(outcome.fast >= 150, "{}", outcome.fast);
        assert!(outcome.relay.rolled_back > 0);
        assert_eq!(outcome.total(Total::HelperFailed), 0);
    }
}
