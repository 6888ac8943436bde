//! Clause 8.2.2.7: an INVITE for a group session that its user was in, or still is.

use super::Shard;
use crate::core::{
    Command, Time,
    event::{Peer, ServerTx},
    policy::rejoin::{Decision, Stands},
    session::{self, GroupEnd, Originator, Session, Standing},
    sip::Request,
};

/// What becomes of an INVITE.
pub(super) enum Rejoin {
    /// It is none.
    None,
    /// It goes on like any other INVITE.
    Go {
        /// The client is answered before the controlling function is asked.
        hold: bool,
        /// To be carried out first.
        commands: Vec<Command>,
    },
    /// It is answered.
    Done(Vec<Command>),
}

impl Shard {
    /// Is it a re-join, and what comes of it?
    pub(super) fn rejoin(
        &mut self,
        now: Time,
        tx: ServerTx,
        from: &Peer,
        request: &Request,
        originator: &Originator,
    ) -> Rejoin {
        let mut focus = None;
        self.answer(now, |cx| focus = session::focus(cx, request));
        let Some(focus) = focus else { return Rejoin::None };
        // AMB-27: it has to be this user's session. Of several the one that waits for a client counts.
        let sessions = self.index.users.get(&originator.user).into_iter().flatten();
        let standing = |id: &u64| Some((*id, self.sessions.get(id)?.standing(&focus)?));
        let mut live: Vec<(u64, Standing)> = sessions.filter_map(standing).collect();
        live.sort_by_key(|(id, standing)| (*standing != Standing::Connected, *id));
        let ended = || self.groups.get(&originator.user, &focus).map(|group| group.end);
        let stands = match live.first() {
            Some((id, Standing::Connected)) => {
                let (id, originator) = (*id, originator.clone());
                return Rejoin::Done(self.with_session(now, id, |session, cx| {
                    session.rejoin(cx, tx, from, request, originator);
                }));
            }
            Some((_, Standing::Attended)) => Stands::Active,
            Some((_, Standing::Inactive)) => Stands::Inactive,
            None => match ended() {
                Some(GroupEnd::Gone) => Stands::Gone,
                Some(GroupEnd::Inactive) => Stands::Inactive,
                Some(GroupEnd::Expired | GroupEnd::Left | GroupEnd::Other) => Stands::Active,
                None => return Rejoin::None,
            },
        };
        let decision = self.config.policy.rejoins(stands, &focus);
        if decision == Decision::Refuse {
            return Rejoin::Done(self.answer(now, |cx| {
                let refusal = cx.warning(request, 403, session::NOT_AUTHORISED);
                cx.respond(tx, refusal);
            }));
        }
        let commands = self.give_way(now, &originator.user, &focus);
        Rejoin::Go { hold: decision == Decision::Hold, commands }
    }

    /// Sessions of the user with this identity that are inactive end when it is started again.
    fn give_way(&mut self, now: Time, user: &str, focus: &str) -> Vec<Command> {
        let sessions = self.index.users.get(user).into_iter().flatten();
        let inactive =
            |id: &&u64| self.sessions.get(id).is_some_and(|s| s.standing(focus) == Some(Standing::Inactive));
        let sessions: Vec<u64> = sessions.filter(inactive).copied().collect();
        let mut commands = Vec::new();
        for id in sessions {
            commands.extend(self.with_session(now, id, Session::give_way));
        }
        commands
    }
}
