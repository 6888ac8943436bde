//! The maps of the datapath (`docs/datapath.md`).

use crate::{
    splice::{Arm, Cause, Connection, KernelVerdict, LegMode, MAX_LEGS, PeerVerdict, SourceMode},
    whole::Content,
};

/// Whose packets the programs touch: both ends of a TCP connection, seen from this host.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// 4 or 6.
    pub family: u8,
    /// Zero: keys are compared octet by octet.
    pub zero: [u8; 3],
    /// Our TCP port.
    pub local_port: [u8; 2],
    /// The peer's TCP port.
    pub remote_port: [u8; 2],
    /// Our address: 4 octets and zeros, or 16 octets.
    pub local: [u8; 16],
    /// The peer's address.
    pub remote: [u8; 16],
}

/// What is found under a [`FlowKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The connection's number, its place in the array of [`Slot`]s.
    pub connection: u32,
    /// Where our session-id begins in the path block of any leg of this connection: behind the `/` of the first URI.
    pub session_at: u32,
}

/// The kernel's lock. It finds it in a map's value by the name of its type.
#[allow(non_camel_case_types, reason = "the kernel looks for this name")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct bpf_spin_lock {
    value: u32,
}

/// The peer sends, and gets, timestamps (RFC 7323).
pub const LINK_STAMPS: u8 = 1;

/// How packets for the peer look beneath the stream: learned from those of the kernel socket.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The flow.
    pub key: FlowKey,
    /// [`LINK_STAMPS`].
    pub options: u8,
    /// The window we offer is told in units of 2 to this power.
    pub our_scale: u8,
    /// The window that the peer offers is told in units of 2 to this power.
    pub peer_scale: u8,
    /// 1 once a packet of the kernel socket was seen.
    pub out: u8,
    /// 1 once a packet of the peer was seen.
    pub back: u8,
    /// Time to live, or hop limit.
    pub hops: u8,
    /// Zero.
    pub zero: [u8; 2],
    /// The first four octets of an IPv6 header, or the second of an IPv4 header and zeros; ECN bits cleared.
    pub class: [u8; 4],
    /// Both MAC addresses, the peer's first.
    pub ethernet: [u8; 12],
    /// The interface that the kernel socket's packets leave by.
    pub interface: u32,
    /// Timestamp = this + monotonic milliseconds.
    pub stamp_offset: u32,
    /// The peer's latest timestamp.
    pub stamp_recent: u32,
}

/// What was done on a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Messages that were consumed from the peer.
    pub consumed: u64,
    /// Their octets.
    pub consumed_octets: u64,
    /// Messages injected towards the peer.
    pub injected: u64,
    /// Their octets.
    pub injected_octets: u64,
}

/// A connection. The lock guards everything in it, userspace's copies included.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The lock.
    pub lock: bpf_spin_lock,
    /// Changes with every connection that has this number; 0: nobody has it.
    pub generation: u32,
    /// What was done.
    pub counts: ConnectionCounts,
    /// Beneath the stream.
    pub link: Link,
    /// 1 once userspace has given the connection up: its kernel socket goes through its last states. A SYN ends that.
    pub closing: u32,
    /// The stream: the state machine.
    pub connection: Connection,
}

/// The longest path block: `To-Path: ..CRLF` and `From-Path: ..CRLF`. A multiple of 8.
pub const BLOCK_MAX: usize = 384;

/// The shortest session-id that a leg can have: its first octets are the key.
pub const SESSION_MIN: usize = 16;

/// Responses to what was sent on this leg are forwarded to `answer_to`; without it they are absorbed.
pub const LEG_ANSWERS: u32 = 1;

/// The messages that this leg may send are not restricted to `message/cpim`.
pub const LEG_ANY_TYPE: u32 = 2;

/// One MSRP leg: a session on its connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LegEntry {
    /// Its connection.
    pub connection: u32,
    /// The [`Slot::generation`] it belongs to.
    pub generation: u32,
    /// Octets of `in_block`.
    pub in_block_len: u32,
    /// Octets of `out_block`.
    pub out_block_len: u32,
    /// [`LEG_ANSWERS`], [`LEG_ANY_TYPE`].
    pub flags: u32,
    /// The leg that gets the responses of this one.
    pub answer_to: u32,
    /// How many legs get the messages of this one; with none, its messages are userspace's.
    pub targets: u32,
    /// Internet checksum (RFC 1071) of `in_block`, not complemented, as a word of this machine's memory.
    pub in_sum: u32,
    /// The same of `out_block`.
    pub out_sum: u32,
    /// Zero.
    pub zero: u32,
    /// Their numbers; bit n of a mask of missed legs is `target[n]`.
    pub target: [u32; MAX_LEGS],
    /// The path block of what this peer writes: our path, then its own. Zeros behind it.
    pub in_block: [u8; BLOCK_MAX],
    /// The path block of what is written to this peer: its path, then ours.
    pub out_block: [u8; BLOCK_MAX],
}

/// How a message finds its leg: connection and session-id.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The connection it came on.
    pub connection: u32,
    /// The first [`SESSION_MIN`] octets of our session-id.
    pub session: [u8; SESSION_MIN],
}

/// What a record of the log is. A number in [`LogHeader::kind`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A SEND, with the message.
    Send = 1,
    /// A `200 OK` that was forwarded, with the message.
    Response = 2,
    /// A leg left the fast path (`cause` says why, `connection` which); no message. `connection` `u32::MAX`: only to wake.
    Notice = 3,
}

/// What stands before each message in the log.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogHeader {
    /// A [`RecordKind`].
    pub kind: u32,
    /// The connection it came on.
    pub connection: u32,
    /// The leg it came on.
    pub leg: u32,
    /// Wire position of its first octet on that connection.
    pub position: u32,
    /// Octets of the message.
    pub len: u32,
    /// The legs that missed it: bit n is `target[n]` of the leg's entry; bit 0 of a response is `answer_to`.
    pub missed: u32,
    /// Octets of its transaction id, which begins at octet 5.
    pub tid_len: u16,
    /// Zero.
    pub flags: u16,
    /// A [`Cause`] by its index.
    pub cause: u32,
}

/// Octets of a [`LogHeader`].
pub const LOG_HEADER: usize = size_of::<LogHeader>();

/// What userspace asks of a connection.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Op {
    /// Nothing: the state.
    #[default]
    View = 0,
    /// `Connection::arm_source`; `a`: what was parsed.
    ArmSource = 1,
    /// `Connection::arm_leg`; `a`: what was written, `b`: misses handled.
    ArmLeg = 2,
    /// `Connection::leave_source`, because it was requested.
    LeaveSource = 3,
    /// `Connection::take`.
    Take = 4,
    /// `Connection::release`; `a`: octets.
    Release = 5,
    /// `Connection::tick`, and the ACK it asks for.
    Tick = 6,
    /// Slow for good in both roles, and the flow ends with a SYN.
    Close = 7,
}

/// The answer of [`Op::ArmLeg`] where the leg's link has not been learned yet: no [`Arm`] has this number.
pub const NOT_LEARNED: u32 = 100;

/// The answer of any [`Op`] to a connection number that nobody has.
pub const NO_CONNECTION: u32 = 101;

/// A request to one connection and its answer. All rows of a batch are worked on in order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlRow {
    /// In: an [`Op`].
    pub op: u32,
    /// In: the connection's number.
    pub connection: u32,
    /// In: see [`Op`].
    pub a: u32,
    /// In: see [`Op`].
    pub b: u32,
    /// Out: of the arming ops an [`Arm`] by its index or [`NOT_LEARNED`]; of `Tick` 1 if the leg left just now; of
    /// others 0; of any [`NO_CONNECTION`].
    pub answer: u32,
    /// Out, of `Take`: 1 if the stream is broken beyond repair.
    pub taken_broken: u32,
    /// Out, of `Take`: wire position of the first octet to be written again.
    pub taken_from: u32,
    /// Out, of `Take`: how many there are.
    pub taken_octets: u32,
    /// Out, as everything below: the state after the op. A [`LegMode`] by number.
    pub leg_mode: u32,
    /// `leg.cause`, by index.
    pub leg_cause: u32,
    /// `leg.shut`.
    pub leg_shut: u32,
    /// `leg.misses`.
    pub misses: u32,
    /// A [`SourceMode`] by number.
    pub source_mode: u32,
    /// `source.cause`, by index.
    pub source_cause: u32,
    /// `source.shut`.
    pub source_shut: u32,
    /// `source.in_work`.
    pub in_work: u32,
    /// `source.finished`, wire.
    pub finished: u32,
    /// `source.logged`.
    pub logged: u32,
    /// `source.released`.
    pub released: u32,
    /// `receive.next`, wire.
    pub next: u32,
    /// `receive.delta`.
    pub delta: u32,
    /// `receive.kernel_has`, kernel.
    pub kernel_has: u32,
    /// `transmit.acked`, wire.
    pub acked: u32,
    /// `transmit.highest`, wire.
    pub highest: u32,
    /// `transmit.kernel_next`, kernel.
    pub kernel_next: u32,
    /// `transmit.next()`, wire: where the leg's next octet goes.
    pub write_next: u32,
    /// 1 once the link has been learned, so that the leg can be armed.
    pub learned: u32,
    /// Zero.
    pub zero: u32,
}

impl ControlRow {
    /// A request.
    pub const fn new(op: Op, connection: u32, a: u32, b: u32) -> ControlRow {
        // Default is not const.
        ControlRow {
            op: op as u32,
            connection,
            a,
            b,
            answer: 0,
            taken_broken: 0,
            taken_from: 0,
            taken_octets: 0,
            leg_mode: 0,
            leg_cause: 0,
            leg_shut: 0,
            misses: 0,
            source_mode: 0,
            source_cause: 0,
            source_shut: 0,
            in_work: 0,
            finished: 0,
            logged: 0,
            released: 0,
            next: 0,
            delta: 0,
            kernel_has: 0,
            acked: 0,
            highest: 0,
            kernel_next: 0,
            write_next: 0,
            learned: 0,
            zero: 0,
        }
    }

    /// Whether an arming op was done.
    pub const fn armed(&self) -> bool {
        self.answer == Arm::Armed as u32
    }

    /// The source is slow and nothing of it is in work: what userspace has read may be queued (U1).
    pub const fn ready_for_slow(&self) -> bool {
        self.source_mode == SourceMode::Slow as u32 && self.in_work == 0
    }

    /// Whether the leg is userspace's to write to.
    pub const fn leg_is_slow(&self) -> bool {
        self.leg_mode == LegMode::Slow as u32
    }

    /// Whether the program injects on the leg.
    pub const fn leg_is_fast(&self) -> bool {
        self.leg_mode == LegMode::Fast as u32
    }

    /// Writes the view of `connection` into the row.
    #[inline(always)]
    pub fn view(&mut self, connection: &Connection) {
        let (rx, tx) = (&connection.receive, &connection.transmit);
        let (source, leg) = (&connection.source, &connection.leg);
        self.leg_mode = leg.mode as u32;
        self.leg_cause = leg.cause as u32;
        self.leg_shut = leg.shut;
        self.misses = leg.misses;
        self.source_mode = source.mode as u32;
        self.source_cause = source.cause as u32;
        self.source_shut = source.shut;
        self.in_work = source.in_work;
        self.finished = source.finished;
        self.logged = source.logged;
        self.released = source.released;
        self.next = rx.next;
        self.delta = rx.delta;
        self.kernel_has = rx.kernel_has;
        self.acked = tx.acked;
        self.highest = tx.highest;
        self.kernel_next = tx.kernel_next;
        self.write_next = tx.next();
    }
}

/// Rows of one run of the control program.
pub const ROWS: usize = 64;

/// What userspace and the programs share without system calls.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// Userspace sleeps: the next record of the log wakes it. Set by userspace, cleared by the programs.
    pub asleep: u32,
    /// How many rows are filled in.
    pub rows: u32,
    /// The control program's [`SCHEMA`](super::SCHEMA), written with each run.
    pub schema: u32,
    /// The size of a [`Slot`], written with each run.
    pub slot: u32,
    /// The rows.
    pub row: [ControlRow; ROWS],
}

counted! {
    /// Sums over all connections that no verdict tells.
    Total {
        /// Messages consumed.
        Consumed => "consumed",
        /// Octets consumed.
        ConsumedOctets => "consumed-octets",
        /// Copies injected.
        Injected => "injected",
        /// Octets injected.
        InjectedOctets => "injected-octets",
        /// Responses consumed that go to nobody.
        Absorbed => "absorbed",
        /// Octets of theirs.
        AbsorbedOctets => "absorbed-octets",
        /// Messages that a leg missed.
        Missed => "missed",
        /// Copies that could not be sent.
        CloneFailed => "clone-failed",
        /// ACKs made by the programs.
        BareAck => "bare-ack",
        /// Packets passed up without their payload, for their acknowledgement.
        ShowAck => "show-ack",
        /// Packets of which a helper refused a change, and which were dropped for it.
        HelperFailed => "helper-failed",
        /// The log had no room.
        LogFull => "log-full",
        /// Packets whose SACK blocks were blanked.
        Sack => "sack",
        /// A leg entry named a connection that is not there any more.
        Stale => "stale",
    }
}

/// A counter of the programs: its place in the array `SPLICE_COUNTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Packets from a peer, by their fate.
    Peer(PeerVerdict),
    /// Packets of a kernel socket, by their fate.
    Kernel(KernelVerdict),
    /// Why sources left, messages missed legs and legs left.
    Cause(Cause),
    /// What the parser made of payloads.
    Content(Content),
    /// Sums.
    Total(Total),
}

const KERNEL: usize = PeerVerdict::ALL.len();
const CAUSE: usize = KERNEL + KernelVerdict::ALL.len();
const CONTENT: usize = CAUSE + Cause::ALL.len();
const TOTAL: usize = CONTENT + Content::ALL.len();

impl Count {
    /// How many there are.
    pub const LEN: usize = TOTAL + Total::ALL.len();

    /// The counter's place.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        let index = match self {
            Count::Peer(verdict) => verdict.index(),
            Count::Kernel(verdict) => KERNEL + verdict.index(),
            Count::Cause(cause) => CAUSE + cause.index(),
            Count::Content(content) => CONTENT + content.index(),
            Count::Total(total) => TOTAL + total.index(),
        };
        index as u32
    }
}

// The sum of the fields is the size: no padding.
const _: () = assert!(size_of::<FlowKey>() == 1 + 3 + 2 + 2 + 16 + 16 && align_of::<FlowKey>() == 1);
const _: () = assert!(size_of::<Flow>() == 2 * 4);
const _: () = assert!(size_of::<Link>() == 40 + 8 + 4 + 12 + 3 * 4);
const _: () = assert!(size_of::<LegEntry>() == 10 * 4 + MAX_LEGS * 4 + 2 * BLOCK_MAX);
const _: () = assert!(size_of::<SessionKey>() == 4 + 16 && align_of::<SessionKey>() == 4);
const _: () = assert!(size_of::<LogHeader>() == 32);
const _: () = assert!(size_of::<ControlRow>() == 28 * 4);
const _: () = assert!(size_of::<Shared>() == 16 + ROWS * 28 * 4);
const _: () = assert!(size_of::<Slot>() == 8 + 32 + 76 + 4 + size_of::<Connection>());
