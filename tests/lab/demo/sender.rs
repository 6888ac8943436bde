//! UE-A's part.

use std::{collections::VecDeque, ops::Range, time::Duration};

use anyhow::{Context, Result};

use super::{STUCK, message::Script};
use crate::msrp::{Endpoint, Sending};

/// What UE-A heard.
pub(super) struct Sent {
    /// Messages of which every chunk was answered 200.
    pub(super) accepted: usize,
}

/// Sends these messages of the script, at most `window` of them ahead of their answers.
pub(super) async fn send(
    media: &Endpoint,
    script: &Script,
    messages: Range<usize>,
    window: usize,
    say: &mut impl FnMut(String) -> Result<()>,
) -> Result<Sent> {
    let mut waiting: VecDeque<Sending> = VecDeque::new();
    let mut sent = Sent { accepted: 0 };
    let step = (messages.len() / 5).max(1);
    for (count, number) in (1..).zip(messages.clone()) {
        let message = script.outgoing(number);
        script.leaves(number);
        let sending = tokio::time::timeout(STUCK, media.send(&message)).await;
        waiting.push_back(sending.context("pf takes no more octets from UE-A")??);
        if waiting.len() >= window {
            settle(&mut waiting, &mut sent).await?;
        }
        if window == 1 {
            // Nobody types faster.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if count % step == 0 {
            say(format!("  {count} of {} sent", messages.len()))?;
        }
    }
    while !waiting.is_empty() {
        settle(&mut waiting, &mut sent).await?;
    }
    Ok(sent)
}

async fn settle(waiting: &mut VecDeque<Sending>, sent: &mut Sent) -> Result<()> {
    let Some(sending) = waiting.pop_front() else { return Ok(()) };
    let codes = sending.answers(STUCK).await?;
    if codes.iter().all(|code| *code == 200) {
        sent.accepted += 1;
    }
    Ok(())
}
