//! Sessions by SIP: the probe registers as a user's device, and is the far end as well.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::target::{Pair, PairFuture, Target};
use crate::{
    actor::{Party, Ue},
    net::Place,
    sip::SdpOptions,
    trace::Trace,
    wait::SOON,
};

/// A B2BUA such as `pf`, reached through its SIP port.
pub struct SipTarget {
    msrp: SocketAddr,
    ue: Ue,
    far: Party,
    target: String,
}

impl SipTarget {
    /// `ue` must be registered; `far` answers what goes to `target`.
    pub fn new(msrp: SocketAddr, ue: Ue, far: Party, target: &str) -> SipTarget {
        SipTarget { msrp, ue, far, target: target.to_owned() }
    }

    async fn establish(&self) -> Result<Pair> {
        let mut calling = self.ue.invite(&self.target).await?;
        let answered = async {
            let answer = calling.last(SOON).await?;
            anyhow::ensure!(answer.code() == 200, "INVITE answered {}", answer.summary());
            calling.negotiate(answer).await
        };
        let accepted = async {
            let invited = self.far.invited(SOON).await.context("the far end")?;
            let offer = invited.offer()?;
            invited.negotiate(offer, &SdpOptions::setup("passive"), |_| {}).await
        };
        let (near, far) = tokio::try_join!(answered, accepted)?;
        let (near, far) = tokio::try_join!(near.wire(), far.wire())?;
        let keep = Box::new((near.dialog, far.dialog));
        Ok(Pair { sender: near.media, receiver: far.media, keep })
    }
}

impl Target for SipTarget {
    fn pair(&mut self) -> PairFuture<'_> {
        Box::pin(self.establish())
    }

    fn end_to_end(&self) -> bool {
        true
    }

    fn address(&self) -> SocketAddr {
        self.msrp
    }

    fn place(&self) -> &Place {
        &self.ue.party.place
    }

    fn trace(&self) -> &Trace {
        &self.ue.party.trace
    }
}
