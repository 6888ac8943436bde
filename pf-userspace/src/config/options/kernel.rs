//! Options of the kernel programs.

use super::{OptionDoc, option};
use crate::config::kind::Kind;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "guard.interfaces",
        Kind::List(&Kind::Interface),
        "[\"eth0\"]",
        "Network interfaces on which MSRP peers reach `pf`. With none there is no guard; with any, `pf` does not start \
         where the guard cannot be loaded on all of them. It needs Linux 6.8, CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN.",
    ),
    option(
        "guard.mode",
        Kind::Choice(&["auto", "driver", "skb"]),
        "\"driver\"",
        "Where the program runs. `driver`: in the network driver, cheapest, if that can. `skb`: in the kernel's generic \
         code, on any interface. `auto`: `driver`, else `skb`; the log says which.",
    ),
    option(
        "guard.connections_per_second",
        Kind::Integer(1, 1_000_000, "connections"),
        "20",
        "New connections in a second from one IPv4 address or one IPv6 /64, and as many at once after a pause; more \
         are dropped. Everybody behind one NAT or border controller counts as one source.",
    ),
    option(
        "guard.packets_per_second",
        Kind::Integer(100, 10_000_000, "packets"),
        "20000",
        "Packets in a second for the MSRP ports from one source, counted as above; more are dropped. A file at 100 \
         megabits per second is 8,600.",
    ),
    option(
        "guard.sources",
        Kind::Integer(1024, 4_194_304, "sources"),
        "65536",
        "Sources that are remembered; the one not heard of for longest is forgotten first. `pf check` says how much \
         kernel memory that takes.",
    ),
    option(
        "datapath.connections",
        Kind::Integer(16, 1_048_576, "connections"),
        "4096",
        "MSRP connections at once that the fast path serves; what is above goes through userspace. `pf check` says how \
         much kernel memory that takes.",
    ),
    option(
        "datapath.log",
        Kind::Integer(65_536, 1_073_741_824, "octets"),
        "8388608",
        "Size of the log in which the kernel keeps what it forwarded until `pf` has read it: a power of two. `pf` reads \
         it every 30 ms, and at once when it is half full; when it is full, messages go through userspace.",
    ),
    option(
        "datapath.log_per_connection",
        Kind::Integer(4096, 67_108_864, "octets"),
        "262144",
        "How much of what one peer sent may be kept at once because not every leg has acknowledged it. Above that its \
         messages go through userspace, until there is room again.",
    ),
    option(
        "datapath.in_flight_segments",
        Kind::Integer(1, 64, "segments"),
        "20",
        "How many segments (of the peer's MSS) of a leg may be on their way without an acknowledgement. A message above \
         that goes to this leg through userspace. Nothing else slows the kernel's copies down: no congestion control \
         sees them. `pf maps set` changes it at once.",
    ),
    option(
        "datapath.fan_out",
        Kind::Integer(1, 15, "copies"),
        "4",
        "The most copies that the kernel makes of one message: far end and devices. Sessions with more legs go through \
         userspace, counted as `many-legs`. `pf maps set` changes it at once, for sessions that live, too.",
    ),
    option(
        "datapath.single_messages",
        Kind::Integer(0, 1000, "messages"),
        "5",
        "A session takes the fast path when one of its two ends has sent so many messages one by one. Each time \
         that several come at once before that, or one in parts, it has to send as many more, up to four times as many in \
         all: such messages are cheaper in userspace, and the kernel does not even look at their packets. 0: at once. `pf \
         maps set` changes it at once, for sessions that are not in the fast path yet.",
    ),
    option(
        "datapath.backoff_octets",
        Kind::Integer(0, 16_777_216, "octets"),
        "6000",
        "A peer whose messages leave the fast path after fewer octets than these (because they come several at once, in \
         parts, or in another form than the kernel reads) stays in userspace for a while: changing over costs more than \
         so few messages save. 0: it never does. `pf maps set` changes it at once.",
    ),
    option(
        "datapath.backoff_ms",
        Kind::Integer(1, 60_000, "milliseconds"),
        "10",
        "How long after the first time; it doubles with each further one, until the fast path has held for longer. \
         `pf maps set` changes it at once.",
    ),
    option(
        "datapath.backoff_max_ms",
        Kind::Integer(1, 600_000, "milliseconds"),
        "5000",
        "How long at most. `pf maps set` changes it at once.",
    ),
    option(
        "datapath.statistics",
        Kind::Bool,
        "true",
        "Let the kernel measure how long its programs run (BPF_ENABLE_STATS: those of all processes, at some 20 ns a \
         run); `pf stats` shows it. It needs CAP_SYS_ADMIN: without that there is one line in the log and no \
         measurement. `pf maps set datapath.statistics 1` switches it on for a while.",
    ),
    option(
        "datapath.pin",
        Kind::Bool,
        "false",
        "Give the maps of the fast path and of the guard names in `pin_dir`, so that `bpftool` and other programs can look \
         at them. Programs are never pinned: they end with `pf`. Where it cannot be done, one line in the log says why, \
         and everything else works.",
    ),
    option(
        "datapath.pin_dir",
        Kind::Path,
        "\"/sys/fs/bpf/pf\"",
        "A folder in a BPF file system (`mount -t bpf bpf /sys/fs/bpf`), made if need be. The maps of a running `pf` are in \
         `v<layout>/<number>` below it: `v` with the version of their layout, and the lowest number that no other `pf` \
         has. They are removed at the end; what a `pf` that was killed left there, the next one removes at its start.",
    ),
];
