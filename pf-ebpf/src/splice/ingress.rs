//! Packets from peers.

use aya_ebpf::{
    bindings::{bpf_dynptr, tcx_action_base},
    helpers::{
        bpf_dynptr_write, bpf_ktime_get_ns, bpf_ringbuf_discard_dynptr, bpf_ringbuf_reserve_dynptr,
        bpf_ringbuf_submit_dynptr,
    },
};
use pf_common::{
    maps::{Count, LOG_HEADER, LogHeader, RecordKind, Slot, Total},
    splice::{PeerVerdict, SourceMode, flags},
    whole::{Content, LONG_MAX, WHOLE_MAX},
};

use super::{
    begins_anew, claim, copies,
    count::{add_at, count, total},
    log, long,
    maps::{CONNECTIONS, FLOWS},
    packet, parse,
    rewrite::pass_up,
    scratch::{self, Scratch},
    send,
    skb::{Skb, within},
};

const NEXT: i32 = tcx_action_base::TCX_NEXT;
const DROP: i32 = tcx_action_base::TCX_DROP;

/// What the claim is made with.
const MESSAGE: u32 = 0;
const NO_LOG: u32 = 1;
const OTHER: u32 = 2;

/// Decides about a packet from a peer.
#[inline(always)]
pub fn ingress(skb: Skb) -> i32 {
    let Some(scratch) = scratch::get() else { return NEXT };
    if !packet::read(skb, scratch, true) {
        return NEXT;
    }
    let Some(flow) = FLOWS.get_ptr(&scratch.packet.key) else { return NEXT };
    // SAFETY: a whole value, freed only when we are done.
    let (connection, session_at) = unsafe { ((*flow).connection, (*flow).session_at) };
    let Some(slot) = CONNECTIONS.get_ptr_mut(connection) else { return NEXT };
    if begins_anew(scratch, slot) {
        return NEXT;
    }
    // SAFETY: words that do not change while the generation is the same, which the claim checks; the mode is a hint.
    let (generation, scale, fast) = unsafe {
        (
            (&raw const (*slot).generation).read_volatile(),
            (&raw const (*slot).link.peer_scale).read_volatile(),
            (&raw const (*slot).connection.source.mode).cast::<u32>().read_volatile()
                == SourceMode::Fast as u32,
        )
    };
    if generation == 0 {
        return NEXT;
    }
    scratch.segment = scratch.packet.segment(scale);
    let work = &mut scratch.work;
    // SAFETY: no preconditions.
    work.now = (unsafe { bpf_ktime_get_ns() } / 1_000_000) as u32;
    (work.connection, work.generation) = (connection, generation);
    work.len = scratch.segment.len;
    work.content = u32::MAX;
    (work.missed, work.redirect, work.left, work.keep) = (0, 0, 0, 0);
    work.device = DEVICE_UNKNOWN;
    let candidate = fast && work.len != 0 && scratch.segment.flags & !flags::PSH == flags::ACK;
    let good = candidate && parse::offer(skb, scratch, session_at);
    let claimed = if good && scratch.work.content != Content::Absorb as u32 {
        with_log(skb, scratch, slot)
    } else {
        claim::claim(scratch, slot, if good { MESSAGE } else { OTHER })
    };
    if !claimed {
        return NEXT;
    }
    counted(scratch);
    if scratch.work.left != 0 {
        log::notice(scratch);
    }
    match scratch.out.verdict {
        PeerVerdict::PassSlow => up(skb, scratch, scale),
        PeerVerdict::PassLeft => up(skb, scratch, scale),
        PeerVerdict::PassRepeat => up(skb, scratch, scale),
        PeerVerdict::PassControl => up(skb, scratch, scale),
        PeerVerdict::AbsorbAck => DROP,
        PeerVerdict::DropBadAck => DROP,
        PeerVerdict::DropRepeat => after(skb, scratch, slot, scale),
        PeerVerdict::Consume => after(skb, scratch, slot, scale),
    }
}

/// `Work::device` before anybody looked.
const DEVICE_UNKNOWN: u32 = 2;

/// Claims a message that is logged, and if it was consumed, offers it to the legs.
#[inline(always)]
fn with_log(skb: Skb, scratch: &mut Scratch, slot: *mut Slot) -> bool {
    let len = within::<32767>(scratch.work.len);
    let mut record = bpf_dynptr { __opaque: [0; 2] };
    // SAFETY: here and below, the record is given back on every way out, as the verifier proves.
    let room =
        unsafe { bpf_ringbuf_reserve_dynptr(log::map(), len + LOG_HEADER as u32, 0, &raw mut record) } == 0;
    if !room || len == 0 || len > LONG_MAX {
        unsafe { bpf_ringbuf_discard_dynptr(&raw mut record, log::NO_WAKE_UP) };
        total(Total::LogFull, 1);
        return claim::claim(scratch, slot, NO_LOG);
    }
    let work = &scratch.work;
    let send = work.content == Content::Send as u32;
    let mut header = LogHeader {
        kind: if send { RecordKind::Send as u32 } else { RecordKind::Response as u32 },
        connection: work.connection,
        leg: work.leg,
        position: scratch.segment.seq,
        len,
        missed: 0,
        tid_len: work.tid_len as u16,
        flags: 0,
        cause: 0,
    };
    unsafe {
        bpf_dynptr_write(&raw const record, 0, (&raw mut header).cast(), LOG_HEADER as u32, 0);
    }
    let offered = if scratch.work.long != 0 {
        read_long(skb, scratch, &raw mut record)
    } else {
        let len = within::<4095>(len);
        if len != 0 && len <= WHOLE_MAX {
            let payload = scratch.payload.as_mut_ptr().cast();
            unsafe { bpf_dynptr_write(&raw const record, LOG_HEADER as u32, payload, len, 0) };
        }
        MESSAGE
    };
    let claimed = claim::claim(scratch, slot, offered);
    if !claimed || scratch.out.verdict != PeerVerdict::Consume {
        unsafe { bpf_ringbuf_discard_dynptr(&raw mut record, log::NO_WAKE_UP) };
        return claimed;
    }
    scratch.work.keep = (scratch.out.show_ack | scratch.out.answer) as u32;
    scratch.work.now_payload = scratch.packet.payload();
    copies::offer_to_all(skb, scratch);
    let mut missed = scratch.work.missed;
    let wake = log::wake(missed != 0 || scratch.work.urgent != 0);
    unsafe {
        let at = core::mem::offset_of!(LogHeader, missed) as u32;
        bpf_dynptr_write(&raw const record, at, (&raw mut missed).cast(), 4, 0);
        bpf_ringbuf_submit_dynptr(&raw mut record, wake);
    }
    log::rouse();
    // Only now: who sees that nothing is in work finds all records.
    claim::finish(scratch, slot);
    true
}

/// Puts a long message into its record; what the claim is made with.
#[inline(always)]
fn read_long(skb: Skb, scratch: &mut Scratch, record: *mut bpf_dynptr) -> u32 {
    let found = long::log(skb, scratch, record);
    if found == u32::MAX {
        return MESSAGE;
    }
    add_at(Count::Content(Content::Send).index().wrapping_add(found), 1);
    OTHER
}

/// Counts what was decided.
#[inline(always)]
fn counted(scratch: &Scratch) {
    let verdict = scratch.out.verdict;
    add_at(Count::Peer(PeerVerdict::Consume).index().wrapping_add(verdict as u32), 1);
    if verdict == PeerVerdict::PassLeft {
        count(Count::Cause(scratch.out.cause));
    }
    if verdict == PeerVerdict::Consume {
        let (len, messages) = (scratch.work.len as u64, scratch.work.messages as u64);
        total(Total::Consumed, messages);
        total(Total::ConsumedOctets, len);
        if scratch.work.content == Content::Absorb as u32 {
            total(Total::Absorbed, messages);
            total(Total::AbsorbedOctets, len);
        }
    }
}

#[inline(always)]
fn up(skb: Skb, scratch: &mut Scratch, scale: u8) -> i32 {
    if pass_up(skb, scratch, scale) {
        return NEXT;
    }
    total(Total::HelperFailed, 1);
    DROP
}

/// What remains of a packet whose octets are not the kernel socket's: it may be the last copy, an ACK for the peer, an
/// ACK for the kernel socket.
#[inline(always)]
fn after(skb: Skb, scratch: &mut Scratch, slot: *mut Slot, scale: u8) -> i32 {
    if scratch.work.redirect != 0 {
        return send::send_itself(skb, scratch.work.redirect);
    }
    let (answer, show) = (scratch.out.answer, scratch.out.show_ack);
    if !answer && !show {
        return DROP;
    }
    if !scratch.packet.plain {
        total(Total::HelperFailed, 1);
        return DROP;
    }
    if scratch.work.device == DEVICE_UNKNOWN {
        let Some(device) = skb.left_to_device(scratch.packet.tcp + 16) else {
            total(Total::HelperFailed, 1);
            return DROP;
        };
        scratch.work.device = device as u32;
    }
    if answer {
        claim::bare_ack(scratch, slot);
        total(Total::BareAck, 1);
        if send::ack_for_peer(skb, scratch).is_none() {
            total(Total::HelperFailed, 1);
        } else if !show {
            return send::send_itself(skb, scratch.link.interface);
        } else if !send::send_clone(skb, scratch.link.interface) {
            total(Total::HelperFailed, 1);
        }
    }
    if show {
        total(Total::ShowAck, 1);
        if send::ack_for_kernel(skb, scratch, scale).is_some() {
            return NEXT;
        }
        total(Total::HelperFailed, 1);
    }
    DROP
}
