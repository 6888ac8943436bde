//! The legs of the other side: leg F, or one to each IWF that accepted, and which stream belongs to which of them.

use super::{
    Session,
    context::Context,
    leg::{A, F, LegNo},
};
use crate::core::{
    event::LegRole,
    sdp::{Sdp, SetupAttr},
};

impl Session {
    /// The legs of the other side that have an INVITE pending or a dialog that nobody has ended.
    pub(super) fn fars(&self) -> impl Iterator<Item = LegNo> + '_ {
        let legs = self.legs.iter().enumerate();
        legs.filter(|(_, leg)| leg.role == LegRole::Far && leg.is_alive()).map(|(no, _)| no)
    }

    /// The legs of the other side, however far they are.
    pub(super) fn fars_of_any_state(&self) -> Vec<LegNo> {
        let legs = self.legs.iter().enumerate();
        legs.filter(|(_, leg)| leg.role == LegRole::Far).map(|(no, _)| no).collect()
    }

    /// Those of them that have accepted.
    pub(super) fn connected_fars(&self) -> Vec<LegNo> {
        self.fars().filter(|no| self.legs[*no].is_established()).collect()
    }

    /// The other end of what the originating device and the far end say to each other. Of several IWFs it is the one
    /// that accepted first.
    pub(super) fn other(&self, no: LegNo) -> LegNo {
        match self.legs[no].role {
            LegRole::Originator => self.connected_fars().first().copied().unwrap_or(F),
            LegRole::Device | LegRole::Far => A,
        }
    }

    /// The leg of the other side that the stream of that m-line belongs to.
    pub(super) fn far_of(&self, stream: usize) -> Option<LegNo> {
        Some(self.streams.get(stream)?.as_ref()?.far)
    }

    /// The streams of a leg of the other side.
    pub(super) fn streams_of(&self, far: LegNo) -> Vec<usize> {
        (0..self.streams.len()).filter(|stream| self.far_of(*stream) == Some(far)).collect()
    }

    /// What the other side has said last, as if it were one: of every leg its own streams. `None` before it has said
    /// anything.
    pub(super) fn far_description(&self) -> Option<Sdp> {
        let mut whole: Option<Sdp> = None;
        for no in self.connected_fars() {
            let Some(theirs) = self.legs[no].their_description() else { continue };
            whole = Some(match whole {
                None => self.without_foreign(no, &theirs),
                Some(whole) => whole.with_lines(&theirs, &self.streams_of(no)),
            });
        }
        whole
    }

    /// A description by the peer of leg `far` (or for it) without the MSRP lines that belong to another leg.
    pub(super) fn without_foreign(&self, far: LegNo, sdp: &Sdp) -> Sdp {
        if !self.legs[far].iwf {
            return sdp.clone();
        }
        let foreign = |index: usize| self.far_of(index).is_some_and(|owner| owner != far);
        let lines = sdp.msrp_lines().into_iter().map(|line| line.index);
        let foreign: Vec<usize> = lines.filter(|index| foreign(*index)).collect();
        sdp.clone().rejecting(&foreign)
    }

    /// Is it the leg of an IWF that is not the whole other side, or never was?
    pub(super) fn shares(&self, no: LegNo) -> bool {
        let leg = &self.legs[no];
        leg.iwf && (leg.places.is_some() || self.connected_fars().len() > 1)
    }

    /// What the originating device shall hear of an offer of the other side. An IWF speaks of its own streams alone:
    /// the others stay as they are agreed.
    pub(super) fn as_whole(&self, far: LegNo, offered: &Sdp) -> Sdp {
        let leg = &self.legs[far];
        match Sdp::parse(&self.legs[A].ours) {
            Ok(agreed) if self.shares(far) => agreed.with_lines(&leg.inward(offered), &self.streams_of(far)),
            _ => offered.clone(),
        }
    }

    /// Streams that are offered and that nobody of the other side has accepted yet.
    pub(super) fn rejected_streams(&self) -> Vec<usize> {
        let answered = self.far_description().map(|sdp| sdp.msrp_lines()).unwrap_or_default();
        let accepted = |index: usize| answered.iter().any(|line| line.index == index && !line.is_rejected());
        let offered = self.streams.iter().enumerate().filter(|(_, stream)| stream.is_some());
        offered.map(|(index, _)| index).filter(|index| !accepted(*index)).collect()
    }

    /// Tells the media workers where each leg of the other side has its streams.
    pub(super) fn connect_fars(&mut self, cx: &mut Context<'_>, answered: &Sdp) {
        for no in self.connected_fars() {
            let setups = self.legs[no].our_setups();
            self.connect_lines(cx, no, answered, |index| {
                setups.get(index).copied().unwrap_or(SetupAttr::Actpass)
            });
        }
    }

    /// The originating device's ACK has come: the ACKs that the other side still waits for follow it.
    pub(super) fn ack_fars(&mut self, cx: &mut Context<'_>) {
        for no in self.fars_of_any_state() {
            self.ack_owed(cx, no);
        }
    }

    /// A stream goes from the leg of the other side that it was offered on to another one, with its path.
    pub(super) fn hand_over(&mut self, stream: usize, to: LegNo) {
        let Some(from) = self.far_of(stream) else { return };
        let line = self.legs[from].lines.get_mut(stream).and_then(Option::take);
        let lines = &mut self.legs[to].lines;
        if lines.len() <= stream {
            lines.resize(stream + 1, None);
        }
        lines[stream] = line;
        if let Some(Some(stream)) = self.streams.get_mut(stream) {
            stream.far = to;
        }
    }
}
