//! Reliable provisional responses to INVITEs of ours (RFC 3262 section 4): PRACK in the early dialog that each of
//! them belongs to, in order and once. A session description in one is the answer, where the 2xx has none.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Session, Work, context::Context, leg::LegNo, media::read_answer};
use crate::core::{
    event::ClientTx,
    sip::{Dialog, Method, Response},
};

/// The most early dialogs of a session; forks beyond that get no PRACK.
const MAX_EARLY: usize = 16;

/// An early dialog with reliable provisional responses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Early {
    /// The INVITE that it comes from.
    tx: ClientTx,
    dialog: Dialog,
    /// RSeq of the last response that has its PRACK.
    number: u32,
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
            Some(at) if number.checked_sub(1) != Some(self.early[at].number) => return false,
            Some(at) => at,
            None => {
                let dialog = Dialog::from_answer(response).filter(|_| tag.is_some());
                let Some(mut dialog) = dialog.filter(|_| self.early.len() < MAX_EARLY) else { return false };
                dialog.flow = self.legs[no].dialog.flow;
                self.early.push(Early { tx, dialog, number, answer: None });
                self.early.len() - 1
            }
        };
        let Some(early) = self.early.get_mut(at) else { return false };
        early.number = number;
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

    /// The last CSeq number that we have used in the dialog of a 2xx before there was one; `least` without PRACKs.
    pub(super) fn used_before(&self, tx: ClientTx, response: &Response, least: u32) -> u32 {
        let tag = response.to_tag();
        let early = self.early.iter().find(|early| early.tx == tx && early.dialog.remote_tag == tag);
        early.map_or(least, |early| early.dialog.local_cseq.max(least))
    }

    /// Forgets those whose INVITE nobody waits for any more.
    pub(super) fn forget_early(&mut self) {
        let clients = &self.clients;
        self.early.retain(|early| clients.contains_key(&early.tx));
    }
}
