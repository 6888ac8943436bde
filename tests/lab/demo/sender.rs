//! UE-A's part.

use std::collections::VecDeque;

use anyhow::{Context, Result};

use super::{STUCK, message::Script};
use crate::msrp::{Endpoint, Sending};

/// Messages that may wait for their answers at the same time.
const WINDOW: usize = 8;

/// What UE-A heard.
pub(super) struct Sent {
    /// Messages of which every chunk was answered 200.
    pub(super) accepted: usize,
}

/// Sends the whole script, a few messages ahead of their answers.
pub(super) async fn send(
    media: &Endpoint,
    script: &Script,
    say: &mut impl FnMut(String) -> Result<()>,
) -> Result<Sent> {
    let mut waiting: VecDeque<Sending> = VecDeque::new();
    let mut sent = Sent { accepted: 0 };
    let step = (script.len() / 5).max(1);
    for number in 0..script.len() {
        let message = script.outgoing(number);
        script.leaves(number);
        let sending = tokio::time::timeout(STUCK, media.send(&message)).await;
        waiting.push_back(sending.context("pf takes no more octets from UE-A")??);
        if waiting.len() >= WINDOW {
            settle(&mut waiting, &mut sent).await?;
        }
        if (number + 1) % step == 0 {
            say(format!("  {} of {} sent", number + 1, script.len()))?;
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
