//! Requests outside of any dialog of ours: an INVITE begins a session, a REGISTER enters a device.

use super::{Rejoin, Shard};
use crate::core::{
    Command, Time,
    event::{Peer, ServerTx, SipCommand},
    policy::media_path::media_path,
    session::{self, Context, Session},
    sip::{Method, NameAddr, Request},
};

/// Methods that we take outside of a dialog.
const ALLOW: &str = "ACK, CANCEL, INVITE, OPTIONS, REGISTER";

impl Shard {
    /// A request that belongs to no dialog of ours.
    pub(super) fn request(
        &mut self,
        now: Time,
        tx: ServerTx,
        from: &Peer,
        request: &Request,
    ) -> Vec<Command> {
        if matches!(request.method, Method::Other(_)) {
            // The method is looked at before anything else (RFC 3261 section 8.2.1).
            return self.answer(now, |cx| {
                let response = cx.refusal(request, 501).with("Allow", Method::known());
                cx.respond(tx, response);
            });
        }
        if request.to_tag().is_some() {
            let last = request.method == Method::Notify && self.last_notifications.takes(now, request);
            return self.answer(now, |cx| cx.refuse(tx, request, if last { 200 } else { 481 }));
        }
        match request.method {
            Method::Invite => self.invite(now, tx, from, request),
            Method::Options => self.answer(now, |cx| session::options(cx, tx, request)),
            Method::Register => self.register(now, tx, from, request),
            // They belong into a dialog.
            Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Notify
            | Method::Other(_)
            | Method::Prack
            | Method::Update => self.answer(now, |cx| cx.refuse(tx, request, 481)),
            Method::Info | Method::Message | Method::Publish | Method::Refer | Method::Subscribe => self
                .answer(now, |cx| {
                    let response = cx.refusal(request, 405).with("Allow", ALLOW);
                    cx.respond(tx, response);
                }),
        }
    }

    fn invite(&mut self, now: Time, tx: ServerTx, from: &Peer, request: &Request) -> Vec<Command> {
        // A proxy may forget a session: it goes on all the same.
        let full = self.session_count() >= self.limits.sessions && !self.proxy.forget_one();
        if self.closing || full {
            return self.answer(now, |cx| {
                let response = cx.refusal(request, 503).with("Retry-After", "10");
                cx.respond(tx, response);
            });
        }
        let mut cx = context!(self, now);
        let originator = match session::admit(&mut cx, from, request) {
            Ok(originator) => originator,
            Err(mut refusal) => {
                cx.tagged(request, &mut refusal);
                cx.respond(tx, *refusal);
                return cx.commands;
            }
        };
        let (hold, mut commands) = match self.rejoin(now, tx, from, request, &originator) {
            Rejoin::Done(commands) => return commands,
            Rejoin::Go { hold, commands } => (hold, commands),
            Rejoin::None => (false, Vec::new()),
        };
        let mut cx = context!(self, now);
        let preferences = cx.wishes(&originator.user, &request.uri);
        let unsure = cx.preferences.may_want_more(&originator.user);
        let wanted = originator.wants_media_path(&cx);
        let needed = unsure || media_path(&cx.config.policy, &preferences, wanted).is_some();
        if !hold && !needed {
            // For the next session: of this one nothing is stored.
            cx.ask_wishes(&originator.user);
            self.proxy.invite(&mut cx, tx, from, request, originator);
            commands.extend(cx.commands);
            return commands;
        }
        let session = session::invite(&mut cx, tx, from, request, originator, hold);
        commands.extend(cx.commands);
        if let Some(session) = session {
            let id = session.id();
            self.sessions.insert(id, session);
            self.index_anew(id);
        }
        commands
    }

    fn register(&mut self, now: Time, tx: ServerTx, from: &Peer, request: &Request) -> Vec<Command> {
        let response = self.registry.register(now, self.entropy.as_mut(), request, from);
        let registered = response.is_success();
        let mut commands = vec![Command::Sip(SipCommand::Respond { tx, response })];
        if registered && self.config.policy.late_devices && !self.closing {
            commands.extend(self.invite_late(now, request));
        }
        commands
    }

    /// A device of a user may be new: sessions of that user invite it (policy `late_devices`).
    fn invite_late(&mut self, now: Time, request: &Request) -> Vec<Command> {
        let to = request.headers.get("To").and_then(|to| NameAddr::parse(to).ok());
        let user = to.and_then(|to| self.registry.known_user(&to.uri).or(Some(to.uri)));
        let sessions = user.and_then(|user| self.index.users.get(&user).cloned()).unwrap_or_default();
        let mut commands = Vec::new();
        for id in sessions {
            commands.extend(self.with_session(now, id, Session::deliver_directly));
        }
        commands
    }
}
