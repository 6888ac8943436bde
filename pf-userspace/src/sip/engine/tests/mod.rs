//! The state machines under a clock of the test: T1 is 500 ms, as in life.

mod client;
mod forward;
mod lossy;
mod server;

use std::{
    collections::HashSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    core::{
        event::{NoAnswer, Peer},
        sip::{Method, Request},
    },
    sip::{
        preparse::{self, Message},
        via::{self, Via},
    },
};

const UDP: Transport = Transport::Udp;
const TCP: Transport = Transport::Tcp;

/// Sockets that only remember which connections are open.
#[derive(Default)]
struct Ports {
    next: Mutex<u64>,
    /// A connection from before.
    old: Mutex<Option<FlowId>>,
    dead: Mutex<HashSet<SocketAddr>>,
}

impl Network for Ports {
    fn open(&self, route: &Route) -> Result<Opened, String> {
        let old = self.old.lock().unwrap().filter(|_| matches!(route, Route::To(Transport::Tcp, _)));
        let (way, protocol) = match *route {
            _ if old.is_some() => (Way::Flow { flow: old.unwrap(), back: None }, "TCP"),
            Route::To(_, to) if self.dead.lock().unwrap().contains(&to) => return Err("dead".to_owned()),
            Route::To(Transport::Udp, to) => (Way::Udp { socket: 0, to }, "UDP"),
            Route::To(..) => {
                let mut next = self.next.lock().unwrap();
                *next += 1;
                (Way::Flow { flow: FlowId(*next), back: None }, "TCP")
            }
            Route::Flow(flow) => (Way::Flow { flow, back: None }, "TCP"),
        };
        let fresh = old.is_none() && !matches!(route, Route::Flow(_));
        Ok(Opened { way, sent: format!("SIP/2.0/{protocol} 10.0.0.1:5060"), fresh })
    }
}

struct Bench {
    engine: Engine,
    ports: Arc<Ports>,
    counters: Arc<Counters>,
    begin: Instant,
    now: Instant,
    sent: Vec<(Way, String)>,
    events: Vec<SipEvent>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with_room(1000)
    }

    fn with_room(max_transactions: usize) -> Bench {
        let settings = Settings {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            trying_after: Duration::from_millis(200),
            invite_timeout: Duration::from_secs(180),
            max_transactions,
            max_transactions_per_source: max_transactions,
            trusted: vec!["10.0.0.9".parse().unwrap()],
            product: "pf".to_owned(),
        };
        let (ports, counters) = (Arc::new(Ports::default()), Arc::new(Counters::default()));
        let engine = Engine::new(settings, ports.clone(), counters.clone());
        let now = Instant::now();
        Bench { engine, ports, counters, begin: now, now, sent: Vec::new(), events: Vec::new() }
    }

    fn collect(&mut self) {
        let (outgoing, events) = self.engine.take();
        let text = |o: Outgoing| (o.way, String::from_utf8_lossy(&o.octets).into_owned());
        self.sent.extend(outgoing.into_iter().map(text));
        self.events.extend(events);
    }

    /// Lets time pass and says when (in milliseconds from the beginning) what was sent.
    fn until(&mut self, ms: u64) -> Vec<(u64, String)> {
        let end = self.begin + Duration::from_millis(ms);
        let mut log = Vec::new();
        while let Some(at) = self.engine.deadline().filter(|at| *at <= end) {
            self.now = at;
            self.engine.tick(at);
            self.collect();
            let ms = (at - self.begin).as_millis() as u64;
            log.extend(self.sent.drain(..).map(|(_, m)| (ms, m.lines().next().unwrap().to_owned())));
        }
        self.now = end;
        log
    }

    fn sent(&mut self) -> Vec<String> {
        self.collect();
        self.sent.drain(..).map(|(_, m)| m).collect()
    }

    fn one(&mut self) -> String {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.into_iter().next().unwrap()
    }

    fn event(&mut self) -> Option<SipEvent> {
        self.collect();
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    fn arrive(&mut self, transport: Transport, text: &str) {
        let source: SocketAddr = "10.0.0.9:5062".parse().unwrap();
        let flow = (transport == TCP).then_some(FlowId(900));
        let peer = Peer { transport, addr: source, local: "10.0.0.1:5060".parse().unwrap(), flow };
        let reply = match flow {
            Some(flow) => Way::Flow { flow, back: None },
            None => Way::Udp { socket: 0, to: source },
        };
        match preparse::datagram(&Bytes::copy_from_slice(text.as_bytes())).unwrap().unwrap() {
            Message::Request(mut request) => {
                let via = via::stamp_received(&mut request.headers, source).unwrap();
                self.engine.request(self.now, request, &via, peer, reply, true);
            }
            Message::Response(response) => {
                let via = Via::top(&response.headers).unwrap();
                self.engine.response(self.now, response, &via, peer);
            }
        }
    }

    fn new_request(&mut self) -> ServerTx {
        match self.event() {
            Some(SipEvent::Request { tx, .. }) => tx,
            other => panic!("{other:?}"),
        }
    }

    fn start(&mut self, tx: u64, method: Method, routes: &[Route]) {
        let id = self.engine.start(self.now, ClientTx(tx), request(method));
        self.engine.routes(self.now, id, routes.to_vec(), "no route");
    }

    fn udp() -> Route {
        Route::To(UDP, "10.0.0.2:5060".parse().unwrap())
    }

    fn tcp() -> Route {
        Route::To(TCP, "10.0.0.2:5060".parse().unwrap())
    }
}

fn request(method: Method) -> Request {
    let mut request = Request::new(method, "sip:far@far.example");
    request.headers.push("Route", "<sip:core;lr>");
    request.headers.push("From", "<sip:a@x>;tag=1");
    request.headers.push("To", "<sip:far@far.example>");
    request.headers.push("Call-ID", "c1");
    request.headers.push("CSeq", format!("7 {method}"));
    request
}

fn text(method: &str, branch: &str, to_tag: &str) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:pf@x SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5062;branch=z9hG4bK{branch}\r\n\
         From: <sip:a@x>;tag=1\r\nTo: <sip:pf@x>{to_tag}\r\nCall-ID: c\r\nCSeq: 3 {method}\r\n\r\n"
    )
}

fn field<'a>(message: &'a str, name: &str) -> &'a str {
    message.lines().find_map(|l| l.split_once(": ").filter(|(n, _)| *n == name)).map(|(_, v)| v).unwrap()
}

fn reply(request: &str, status: &str, tag: &str) -> String {
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag={tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\r\n",
        field(request, "Via"),
        field(request, "From"),
        field(request, "To"),
        field(request, "Call-ID"),
        field(request, "CSeq")
    )
}

fn times(log: &[(u64, String)]) -> Vec<u64> {
    log.iter().map(|(at, _)| *at).collect()
}
