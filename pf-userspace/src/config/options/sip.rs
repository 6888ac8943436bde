//! Options of SIP and of registration.

use super::{OptionDoc, option};
use crate::config::kind::Kind;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "sip.listen",
        Kind::List(&Kind::SipListen),
        "[\"udp:10.0.0.1:5060\", \"tcp:[2001:db8::1]:5060\"]",
        "Addresses to listen on. Port 0 lets the system choose; the `pf ready:` line says which it chose.",
    ),
    option(
        "sip.advertise",
        Kind::Host,
        "\"pf.example.org\"",
        "Host that `pf` writes into Via and Contact, where peers reach it by another name than the address it \
         listens on. Needed when it listens on a wildcard address.",
    ),
    option(
        "sip.trusted",
        Kind::List(&Kind::Ip),
        "[\"10.0.0.5\"]",
        "Nodes of the core whose P-Asserted-Identity is believed, and their P-Asserted-Service and charging header \
         fields with it: they must check or remove what their users write there (RFC 3325). A request from any \
         other address has to prove who sent it (`policy.identify`).",
    ),
    option(
        "sip.registrars",
        Kind::List(&Kind::Ip),
        "[\"10.0.0.7\"]",
        "S-CSCFs whose third-party REGISTERs (TS 24.229 clause 5.4.1.7) are believed: they enter and remove the \
         devices of every user without a password. Name no address from which users' own requests come. Any other \
         REGISTER is answered with a challenge, one from `trusted` too.",
    ),
    option(
        "sip.core",
        Kind::SipUri,
        "\"sip:10.0.0.5:5060;transport=tcp\"",
        "Next hop for every request towards the far end. Without it the Request-URI decides.",
    ),
    option(
        "sip.isf",
        Kind::SipUri,
        "\"sip:10.0.0.6:5060\"",
        "The Interworking Selection Function. Invitations to addresses that are neither SIP nor tel URIs go there \
         directly; without it they are refused. Others go there where `policy.interworking_after` says so.",
    ),
    option(
        "sip.own_uri",
        Kind::SipUri,
        "\"sip:cpm-pf@example.org\"",
        "`pf`'s own SIP URI (such as CPMDeferredMsgMgmtURI): From of the SUBSCRIBE by which it asks who takes part in a \
         group session. Without it, the address that `pf` is reached at.",
    ),
    option(
        "sip.outside_trust_domain",
        Kind::Bool,
        "true",
        "`pf` is in another domain than the users' core, outside of its trust domain (TS 24.229 clause 4.4): that \
         SUBSCRIBE then has P-Preferred-Service instead of P-Asserted-Service.",
    ),
    option(
        "sip.product",
        Kind::Product,
        "\"CPM-serv/OMA2.2 pf/0.1.0\"",
        "User-Agent of requests and Server of responses. The first token is the CPM release.",
    ),
    option(
        "sip.connections",
        Kind::Integer(1, 1_000_000, "connections"),
        "20000",
        "TCP connections at once; one more is closed when it is accepted.",
    ),
    option(
        "sip.connections_per_peer",
        Kind::Integer(1, 1_000_000, "connections"),
        "64",
        "TCP connections at once from one address. Lower it where no proxy or gateway connects on behalf of many.",
    ),
    option(
        "sip.transactions",
        Kind::Integer(100, 10_000_000, "transactions"),
        "400000",
        "SIP transactions at once; requests above it get `503` with Retry-After.",
    ),
    option(
        "sip.transactions_per_source",
        Kind::Integer(10, 10_000_000, "transactions"),
        "1000",
        "SIP transactions at once that one source address may begin; requests above it get `503` with Retry-After. \
         Without it a quarter of `transactions`. Addresses under `trusted` and `registrars` have no such bound.",
    ),
    option(
        "sip.idle_seconds",
        Kind::Integer(10, 86_400, "seconds"),
        "3600",
        "A TCP connection without traffic for this long is closed. Devices that register over TCP are reached by \
         that connection: longer than their keep-alive interval.",
    ),
    option(
        "registrar.domains",
        Kind::List(&Kind::Domain),
        "[\"example.org\"]",
        "Domains whose users `pf` registers. The first one is the realm of digest authentication.",
    ),
    option(
        "registrar.users",
        Kind::Path,
        "\"users.toml\"",
        "The users file; a relative path counts from the folder of this file. Its form is at the end of this page.",
    ),
    option(
        "registrar.digest",
        Kind::List(&Kind::Choice(&["SHA-256", "MD5"])),
        "[\"MD5\", \"SHA-256\"]",
        "Algorithms of digest authentication: each is offered in a header field of `401` and `407` of its own, in \
         this order, and no other is accepted. A client takes the first that it knows (RFC 8760 section 2.4), so the \
         best stands first; but some old clients read the first header field alone: for them put `MD5` first. \
         Without `MD5` clients that know nothing else stay out.",
    ),
];
