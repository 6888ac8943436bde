//! Early dialogs of INVITEs of ours. Reliable provisional responses (RFC 3262 section 4): PRACK in the early dialog that
//! each of them belongs to, in order and once; a session description in one is the answer, where the 2xx has none.
//! Requests of the peer, which in each of these dialogs have an order of their own (RFC 3261 section 12.2.2).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Client, Session, Work, context::Context, leg::LegNo, media::read_answer};
use crate::core::{
    event::ClientTx,
    sip::{Dialog, DialogError, Method, Request, Response},
};

/// The most early dialogs of a session; forks beyond that get no PRACK.
const MAX_EARLY: usize = 16;

/// An early dialog with reliable provisional responses or requests of the peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Early {
    /// The INVITE that it comes from.
    tx: ClientTx,
    dialog: Dialog,
    /// RSeq of the last response that has its PRACK.
    number: Option<u32>,
    /// Content-Type and session description of the first that had one.
    answer: Option<(String, Vec<u8>)>,
}

impl Session {
    /// A provisional response to an INVITE of ours. `false` if it is a reliable one that was here before, or comes
    /// before its turn.
    pub(super) fn acknowledge_progress(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        response: &Response,
    ) -> bool {
        let headers = &response.headers;
        let number = headers.get("RSeq").and_then(|number| number.trim().parse::<u32>().ok());
        let Some(number) = number.filter(|_| headers.has_token("Require", "100rel")) else { return true };
        let tag = response.to_tag();
        let known = self.early.iter().position(|early| early.tx == tx && early.dialog.remote_tag == tag);
        let at = match known {
            Some(at) if self.early[at].number.is_some_and(|last| number.checked_sub(1) != Some(last)) => {
                return false;
            }
            known => {
                let full = known.is_none() && self.early.len() >= MAX_EARLY;
                let dialog = Dialog::from_answer(response).filter(|_| tag.is_some() && !full);
                let Some(mut dialog) = dialog else { return false };
                dialog.flow = self.legs[no].dialog.flow;
                self.enter_early(tx, known, dialog)
            }
        };
        let Some(early) = self.early.get_mut(at) else { return false };
        early.number = Some(number);
        if early.answer.is_none() && read_answer(headers.get("Content-Type"), &response.body).is_some() {
            let content_type = headers.get("Content-Type").unwrap_or_default().to_owned();
            early.answer = Some((content_type, response.body.to_vec()));
        }
        let (mut prack, hop) = early.dialog.request(Method::Prack);
        let invite = response.cseq().map(|(number, _)| number).unwrap_or_default();
        prack.headers.push("RAck", format!("{number} {invite} INVITE"));
        prack.headers.push("User-Agent", cx.config.product.as_str());
        self.send(cx, no, Work::Prack, (prack, hop));
        true
    }

    /// Takes note of an early dialog as a response describes it.
    fn enter_early(&mut self, tx: ClientTx, known: Option<usize>, mut dialog: Dialog) -> usize {
        match known.and_then(|at| Some((at, self.early.get_mut(at)?))) {
            Some((at, early)) => {
                dialog.remote_cseq = early.dialog.remote_cseq;
                dialog.local_cseq = dialog.local_cseq.max(early.dialog.local_cseq);
                early.dialog = dialog;
                at
            }
            None => {
                self.early.push(Early { tx, dialog, number: None, answer: None });
                self.early.len() - 1
            }
        }
    }

    /// Takes a request of the peer in a dialog of leg `no`, which may be an early one.
    pub(super) fn receive_in_dialog(&mut self, no: LegNo, request: &Request) -> Result<(), DialogError> {
        let dialog = &self.legs[no].dialog;
        if dialog.remote_tag.is_some() {
            return self.legs[no].dialog.receive(request);
        }
        let invite = |client: &Client| client.leg == no && matches!(client.work, Work::Invite(_));
        let tx = self.clients.iter().find(|(_, client)| invite(client)).map(|(tx, _)| *tx);
        let tag = request.from_tag().ok_or(DialogError::Incomplete)?;
        let tx = tx.ok_or(DialogError::Tag)?;
        let known = self.early_at(no, &tag);
        if known.is_none() && self.early.len() >= MAX_EARLY {
            return Err(DialogError::Tag);
        }
        let at = known.unwrap_or_else(|| {
            // A request that has overtaken the response that makes its dialog, or that was lost.
            let dialog = Dialog { remote_tag: Some(tag), ..self.legs[no].dialog.clone() };
            self.enter_early(tx, None, dialog)
        });
        self.early.get_mut(at).map_or(Err(DialogError::Tag), |early| early.dialog.receive(request))
    }

    fn early_at(&self, no: LegNo, tag: &str) -> Option<usize> {
        let of_leg = |tx: &ClientTx| self.clients.get(tx).is_some_and(|client: &Client| client.leg == no);
        let fits = |early: &Early| early.dialog.remote_tag.as_deref() == Some(tag) && of_leg(&early.tx);
        self.early.iter().position(fits)
    }

    /// The peer's description in the early dialog with this tag, where it has answered our offer already.
    pub(super) fn early_answer(&self, no: LegNo, tag: &str) -> Option<&[u8]> {
        let early = self.early.get(self.early_at(no, tag)?)?;
        early.answer.as_ref().map(|(_, body)| body.as_slice())
    }

    /// A 2xx with the answer that came before it, if it has none of its own.
    pub(super) fn with_early_answer<'a>(&self, tx: ClientTx, response: &'a Response) -> Cow<'a, Response> {
        let tag = response.to_tag();
        let early = self.early.iter().find(|early| early.tx == tx && early.dialog.remote_tag == tag);
        let Some((content_type, body)) = early.and_then(|early| early.answer.as_ref()) else {
            return Cow::Borrowed(response);
        };
        if !response.is_success() || !response.body.is_empty() {
            return Cow::Borrowed(response);
        }
        let mut whole = response.clone();
        whole.headers.set("Content-Type", content_type.as_str());
        whole.body = body.clone().into();
        Cow::Owned(whole)
    }

    /// A 2xx makes a dialog: its CSeq numbers go on from those of the early one.
    pub(super) fn counted_on(&self, tx: ClientTx, response: &Response, mut dialog: Dialog) -> Dialog {
        let tag = response.to_tag();
        let early = self.early.iter().find(|early| early.tx == tx && early.dialog.remote_tag == tag);
        if let Some(early) = early.map(|early| &early.dialog) {
            dialog.local_cseq = early.local_cseq.max(dialog.local_cseq);
            dialog.remote_cseq = early.remote_cseq;
        }
        dialog
    }

    /// Forgets those whose INVITE nobody waits for any more.
    pub(super) fn forget_early(&mut self) {
        let clients = &self.clients;
        self.early.retain(|early| clients.contains_key(&early.tx));
    }
}
