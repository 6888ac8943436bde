//! One frame larger than any buffer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;

use super::{Pair, Settings, Target, pattern};
use crate::msrp::{Event, Flag, Frame, Side};

/// The body repeats a block of this many octets: a prime, so that a shift by any buffer's size shows.
const BLOCK: usize = 65_521;
/// Memory that the relay may take meanwhile.
const MEMORY: u64 = 64 << 20;
/// No progress for so long means that the relay is stuck.
const STUCK: Duration = Duration::from_secs(20);

pub(super) async fn large(target: &mut dyn Target, settings: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let before = settings.pid.map(resident).transpose()?;
    let block = pattern(7, BLOCK);
    let total = settings.large;
    let head = pair
        .sender
        .empty_send()
        .with("Byte-Range", format!("1-*/{total}"))
        .with("Content-Type", "application/octet-stream");
    let frame = Frame::bodiless(head);
    let Pair { sender, receiver, .. } = &mut pair;
    let (arrived, mut seen) = tokio::sync::watch::channel(0_u64);
    let receive = receive(receiver, &block, total, arrived);
    let peak = std::sync::atomic::AtomicU64::new(0);
    let send = async {
        let (mut reader, mut write) = sender.wire.split();
        let send = async {
            write.write_all(&frame.head.encode(true)).await?;
            let mut left = total;
            let mut waited = false;
            while left > 0 {
                let piece = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
                let piece = &block[..piece];
                let written = tokio::time::timeout(STUCK, write.write_all(piece)).await;
                written.context("the relay takes no more octets")??;
                left -= piece.len() as u64;
                if !waited && left < total / 2 {
                    // Half of the frame is out, its end is not: something must have arrived by now.
                    let some = seen.wait_for(|octets| *octets > 0);
                    tokio::time::timeout(STUCK, some)
                        .await
                        .context("nothing is passed on before the end")??;
                    waited = true;
                }
                if let Some(pid) = settings.pid {
                    peak.fetch_max(resident(pid)?, std::sync::atomic::Ordering::Relaxed);
                }
            }
            write.write_all(format!("\r\n-------{}$\r\n", frame.head.tid).as_bytes()).await?;
            Ok::<_, anyhow::Error>(())
        };
        let hear = async {
            let answer = reader.frame(STUCK * 30).await?;
            ensure!(answer.head.code() == 200, "answered {}", answer.head.summary());
            Ok(())
        };
        tokio::try_join!(send, hear)
    };
    let begin = std::time::Instant::now();
    let (chunks, _) = tokio::try_join!(receive, send)?;
    let seconds = begin.elapsed().as_secs_f64();
    let mut note = format!(
        "{} MB at {:.0} MB/s in {chunks} chunk(s)",
        total >> 20,
        total as f64 / 1e6 / seconds.max(1e-9)
    );
    if let Some(before) = before {
        let grown = peak.into_inner().saturating_sub(before);
        ensure!(grown < MEMORY.min(total), "the relay's memory grew by {} MB", grown >> 20);
        note.push_str(&format!(", memory grew by {} KB", grown >> 10));
    }
    Ok(note)
}

/// Takes the message in one or more chunks, answers each, compares every octet. Returns the number of chunks.
async fn receive(
    side: &mut Side,
    block: &[u8],
    total: u64,
    arrived: tokio::sync::watch::Sender<u64>,
) -> Result<u64> {
    let (mut received, mut chunks) = (0_u64, 0);
    loop {
        let Event::Head(head) = side.wire.event(STUCK).await? else {
            anyhow::bail!("a body without head");
        };
        side.check(&head)?;
        ensure!(head.method() == "SEND", "{} instead of a SEND", head.summary());
        let start = head.byte_range()?.map_or(1, |range| range.start);
        ensure!(start == received + 1, "a chunk begins at {start}, not {}", received + 1);
        chunks += 1;
        let flag = loop {
            match side.wire.event(STUCK).await? {
                Event::Body(octets) => {
                    ensure!(same(block, received, &octets), "octets changed after {received}");
                    received += octets.len() as u64;
                    arrived.send_replace(received);
                }
                Event::End(flag) => break flag,
                Event::Head(head) => anyhow::bail!("{} inside a body", head.summary()),
            }
        };
        side.respond(&head, 200).await?;
        if flag != Flag::More {
            ensure!(flag == Flag::End && received == total, "{flag:?} after {received} of {total} octets");
            return Ok(chunks);
        }
    }
}

/// Are `octets` what stands in the repeated block from `offset` on?
fn same(block: &[u8], offset: u64, mut octets: &[u8]) -> bool {
    let mut at = (offset % block.len() as u64) as usize;
    while !octets.is_empty() {
        let run = octets.len().min(block.len() - at);
        if octets[..run] != block[at..at + run] {
            return false;
        }
        octets = &octets[run..];
        at = 0;
    }
    true
}

/// Resident memory of a process in octets.
fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = text.split(' ').nth(1).context("bad statm")?.parse()?;
    // SAFETY: sysconf has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Ok(pages * u64::try_from(page)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shifted_block_is_noticed() {
        let block = pattern(7, BLOCK);
        let twice = [block.as_slice(), block.as_slice()].concat();
        assert!(same(&block, 100, &twice[100..70_000]));
        assert!(!same(&block, 100, &twice[101..70_000]));
    }
}
