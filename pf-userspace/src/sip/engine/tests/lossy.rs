//! Two engines and a network between them that loses what it likes.

use proptest::prelude::*;

use super::*;

/// What the cores of both sides have seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    requests: Vec<Method>,
    finals: Vec<u16>,
    acks: usize,
    cancelled: usize,
}

struct Pair {
    a: Bench,
    b: Bench,
    lost: Vec<bool>,
    seen: Seen,
    answer: u16,
    cancel: bool,
}

impl Pair {
    /// Carries octets and events until both sides have nothing more to say at this time.
    fn settle(&mut self) {
        loop {
            let (from_a, from_b) = (self.a.sent(), self.b.sent());
            for text in &from_a {
                if !self.lost.pop().unwrap_or(false) {
                    self.b.arrive(UDP, text);
                }
            }
            for text in &from_b {
                if !self.lost.pop().unwrap_or(false) {
                    self.a.arrive(UDP, text);
                }
            }
            let quiet = from_a.is_empty() && from_b.is_empty();
            if !self.cores() && quiet {
                return;
            }
        }
    }

    /// Lets both cores act on their events; false when there were none.
    fn cores(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.b.event() {
            any = true;
            match event {
                SipEvent::Request { tx, request, .. } => {
                    self.seen.requests.push(request.method);
                    let ringing = request.method == Method::Invite && self.cancel;
                    let status = if ringing { 180 } else { self.answer };
                    self.b.engine.respond(self.b.now, tx, Response::new(status));
                }
                SipEvent::Ack { .. } => self.seen.acks += 1,
                SipEvent::Cancelled { tx, .. } => {
                    self.seen.cancelled += 1;
                    self.b.engine.respond(self.b.now, tx, Response::new(487));
                }
                other => panic!("{other:?}"),
            }
        }
        while let Some(event) = self.a.event() {
            any = true;
            match event {
                SipEvent::Response { response, .. } if response.status < 200 => {}
                SipEvent::Response { tx, response, .. } => {
                    self.seen.finals.push(response.status);
                    if response.is_success() && response.cseq().unwrap().1 == Method::Invite {
                        let mut ack = request(Method::Ack);
                        ack.headers.set("To", response.headers.get("To").unwrap());
                        self.a.engine.acknowledge(tx, &ack, &[Bench::udp()]);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        any
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever of the first messages is lost: the request arrives once, its answer arrives once, the ACK of a
    /// 2xx arrives once, and in the end nothing is left.
    #[test]
    fn every_transaction_ends_the_same_way_whatever_is_lost(
        // Eight losses in a row would be timer B; these are made good.
        lost in proptest::collection::vec(any::<bool>(), 0..6),
        invite in any::<bool>(),
        success in any::<bool>(),
        cancel in any::<bool>(),
    ) {
        let cancel = cancel && invite;
        let answer = if success { 200 } else { 603 };
        let method = if invite { Method::Invite } else { Method::Message };
        let (mut a, mut b) = (Bench::new(), Bench::new());
        (b.begin, b.now) = (a.begin, a.now);
        a.start(1, method, &[Bench::udp()]);
        if cancel {
            a.engine.cancel(a.now, ClientTx(1), None);
        }
        let mut pair = Pair { a, b, lost, seen: Seen::default(), answer, cancel };
        pair.settle();
        while let Some(at) = [pair.a.engine.deadline(), pair.b.engine.deadline()].into_iter().flatten().min() {
            prop_assert!(at < pair.a.begin + Duration::from_secs(300));
            (pair.a.now, pair.b.now) = (at, at);
            pair.a.engine.tick(at);
            pair.b.engine.tick(at);
            pair.settle();
        }
        let expected = Seen {
            requests: vec![method],
            finals: vec![if cancel { 487 } else { answer }],
            acks: usize::from(invite && success && !cancel),
            cancelled: usize::from(cancel),
        };
        prop_assert_eq!(pair.seen, expected);
        prop_assert_eq!((pair.a.engine.len(), pair.b.engine.len()), ((0, 0), (0, 0)));
        prop_assert!(pair.b.engine.server_keys.is_empty() && pair.b.engine.merge_keys.is_empty());
        prop_assert!(pair.b.engine.acks.is_empty() && pair.a.engine.branches.is_empty());
        prop_assert!(pair.a.engine.client_txs.is_empty() && pair.a.engine.on_flow.is_empty());
    }
}
