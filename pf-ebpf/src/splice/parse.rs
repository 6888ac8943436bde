//! What a payload is, and which leg it came on.

use pf_common::{
    maps::{Count, LEG_ANSWERS, LEG_ANY_TYPE, LEG_LONG, SessionKey},
    whole::{self, Content, FRONT, Reader, WHOLE_MAX, WHOLE_MIN},
};

use super::{
    count::count,
    long,
    maps::{LEGS, SESSIONS},
    reader::Payload,
    scratch::{PLACES, START, Scratch},
    skb::{self, Skb, within},
};

/// Reads the payload; what it is stands in `work.content` afterwards. True if it is a message for the programs.
#[inline(always)]
pub fn offer(skb: Skb, scratch: &mut Scratch, session_at: u32) -> bool {
    let found = match load(skb, scratch) {
        Ok(()) => match parse(scratch, session_at) {
            n if n == Content::Send as u32 => sums(skb, scratch).map(|()| Content::Send),
            n if n == Content::Answer as u32 => sums(skb, scratch).map(|()| Content::Answer),
            n if n == Content::Absorb as u32 => sums(skb, scratch).map(|()| Content::Absorb),
            // Counted where it was found.
            _ => return false,
        },
        Err(why) => Err(why),
    };
    let (content, good) = match found {
        Ok(content) => (content, true),
        Err(content) => (content, false),
    };
    scratch.work.content = content as u32;
    count(Count::Content(content));
    good
}

/// Copies the payload into working memory, with zeros behind it.
#[inline(always)]
fn load(skb: Skb, scratch: &mut Scratch) -> Result<(), Content> {
    let len = scratch.work.len;
    scratch.work.segment = len;
    let segment = skb.segment();
    scratch.work.long = (segment != 0) as u32;
    if segment != 0 {
        return long::load_ends(skb, scratch, segment);
    }
    if len > WHOLE_MAX {
        return Err(Content::Long);
    }
    if len < WHOLE_MIN {
        return Err(Content::Short);
    }
    if !scratch.packet.plain {
        return Err(Content::Unread);
    }
    let len = within::<4095>(len);
    if len == 0 || len > WHOLE_MAX {
        return Err(Content::Unread);
    }
    let at = scratch.packet.payload();
    let to = scratch.payload.as_mut_ptr();
    // SAFETY: at most 2048 octets, and eight behind them, of memory with 5120.
    unsafe {
        skb.load_into(at, to, len).ok_or(Content::Unread)?;
        to.add(len as usize).cast::<[u8; 8]>().write([0; 8]);
    }
    Ok(())
}

/// What it is, by its index. One that is not for the programs is counted.
#[inline(never)]
fn parse(scratch: &mut Scratch, session_at: u32) -> u32 {
    match judge(scratch, session_at) {
        Ok(content) => content as u32,
        Err(content) => {
            count(Count::Content(content));
            u32::MAX
        }
    }
}

#[inline(always)]
fn judge(scratch: &mut Scratch, session_at: u32) -> Result<Content, Content> {
    let reader = Payload(scratch.payload.as_ptr());
    let len = scratch.work.len;
    let is_long = scratch.work.long != 0;
    let start = whole::start(&reader, if is_long { FRONT } else { len }, &mut scratch.scan)?;
    let key = SessionKey {
        connection: scratch.work.connection,
        session: whole::session(&reader, start.block.wrapping_add(session_at)),
    };
    let Some(leg) = SESSIONS.get_ptr(&key) else { return Err(Content::NoSession) };
    // SAFETY: a whole value.
    let leg = unsafe { leg.read_volatile() };
    let Some(entry) = LEGS.get(leg) else { return Err(Content::NoSession) };
    if entry.connection != scratch.work.connection || entry.generation != scratch.work.generation {
        return Err(Content::NoSession);
    }
    if !whole::path(&reader, start.block, &entry.in_block, entry.in_block_len) {
        return Err(Content::Path);
    }
    let fields = start.block.wrapping_add(entry.in_block_len);
    let work = &mut scratch.work;
    work.leg = leg;
    work.tid_len = start.tid_len;
    work.start_len = start.block;
    work.now_block = entry.in_block_len;
    work.rest_at = fields;
    work.rest_len = len.wrapping_sub(fields);
    work.targets = 0;
    work.messages = 1;
    if is_long && (!start.send || entry.flags & LEG_LONG == 0) {
        return Err(Content::Long);
    }
    if !start.send {
        if entry.flags & LEG_ANSWERS == 0 {
            work.messages = whole::responses(&reader, &start, fields, len, &mut scratch.scan)?;
            return Ok(Content::Absorb);
        }
        whole::response(&reader, &start, fields, len)?;
        work.targets = 1;
        return Ok(Content::Answer);
    }
    if entry.targets == 0 {
        return Err(Content::NoTarget);
    }
    work.targets = entry.targets;
    let any_type = entry.flags & LEG_ANY_TYPE != 0;
    if is_long {
        work.body = whole::send_long(&reader, &start, fields, any_type, len, &mut scratch.scan)?;
    } else {
        whole::send(&reader, &start, fields, any_type, len, &mut scratch.scan)?;
    }
    Ok(Content::Send)
}

/// Sums the parts of the payload, unless the device will; and checks the packet if nobody has.
#[inline(never)]
fn sums(skb: Skb, scratch: &mut Scratch) -> Result<(), Content> {
    let verified = skb.is_verified();
    let at = scratch.packet.tcp;
    let Some(device) = skb.left_to_device(at + 16) else { return Err(Content::Unread) };
    scratch.work.device = device as u32;
    if device {
        return Ok(());
    }
    if scratch.work.long != 0 {
        return Err(Content::Long);
    }
    scratch.work.start_sum = start_sum(scratch);
    scratch.work.rest_sum = rest_sum(scratch);
    if verified || checksum_holds(skb, scratch) { Ok(()) } else { Err(Content::Checksum) }
}

/// The start line alone, because zeros must stand behind what is summed.
#[inline(always)]
fn start_sum(scratch: &mut Scratch) -> u32 {
    let reader = Payload(scratch.payload.as_ptr());
    let len = scratch.work.start_len;
    let mut at = 0;
    while at < START as u32 {
        let word = if at >= len {
            0
        } else if len - at >= 8 {
            reader.word(at)
        } else {
            reader.word(at) & ((1 << (8 * (len - at))) - 1)
        };
        if let Some(to) = scratch.start.get_mut(at as usize..at as usize + 8) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        at += 8;
    }
    // SAFETY: all of it.
    unsafe { skb::sum(scratch.start.as_ptr(), START as u32, 0) }
}

/// Octets that are summed at once; older kernels take no more.
const PIECE: u32 = 512;

#[inline(always)]
fn rest_sum(scratch: &Scratch) -> u32 {
    let at = within::<PLACES>(scratch.work.rest_at);
    let len = within::<4095>(scratch.work.rest_len);
    let mut sum = 0;
    let mut done = 0;
    while done < WHOLE_MAX {
        if done >= len {
            break;
        }
        let left = len - done;
        let piece = if left > PIECE { PIECE } else { within::<1023>((left + 3) & !3) };
        if piece <= PIECE {
            // SAFETY: 2047 + 2048 - 512 + 512 octets at most, of 5120.
            sum = unsafe { skb::sum(scratch.payload.as_ptr().add((at + done) as usize), piece, sum) };
        }
        done += PIECE;
    }
    sum
}

/// Whether the packet's own TCP checksum is right.
#[inline(always)]
fn checksum_holds(skb: Skb, scratch: &mut Scratch) -> bool {
    let work = &scratch.work;
    let Some(entry) = LEGS.get(work.leg) else { return false };
    let payload = pf_common::frame::join(
        [work.start_sum, entry.in_sum, work.rest_sum],
        work.start_len,
        entry.in_block_len,
    );
    let packet = &scratch.packet;
    let segment = packet.tcp_len.wrapping_add(packet.len);
    let mut all = payload as u64 + u16::from_be(6) as u64 + u16::from_be(segment as u16) as u64;
    all += sum16(&packet.key.local) + sum16(&packet.key.remote);
    let Some(header) = skb.load::<20>(packet.tcp) else { return false };
    all += sum16(&header);
    let options = within::<63>(packet.tcp_len.wrapping_sub(20));
    if options != 0 && options <= 40 {
        scratch.options = [0; 40];
        // SAFETY: at most 40 octets, of 40.
        if unsafe { skb.load_into(packet.tcp + 20, scratch.options.as_mut_ptr(), options) }.is_none() {
            return false;
        }
        all += sum16(&scratch.options);
    }
    pf_common::frame::fold(all) == 0xffff
}

#[inline(always)]
fn sum16<const N: usize>(octets: &[u8; N]) -> u64 {
    let mut sum = 0;
    for pair in octets.as_chunks::<2>().0 {
        sum += u16::from_ne_bytes(*pair) as u64;
    }
    sum
}
