//! Options by which the operator decides about sessions.

use super::{OptionDoc, option};
use crate::config::kind::Kind;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "policy.barred",
        Kind::List(&Kind::CpmAddress),
        "[\"sip:mallory@example.org\"]",
        "Users that may not start a session: they get `403` with `127 Service not authorised`.",
    ),
    option(
        "policy.media_path",
        Kind::Choice(&["always", "when-needed"]),
        "\"when-needed\"",
        "Whether `pf` stays in the media path. `always`: it is a back-to-back user agent and MSRP relay for every \
         session. `when-needed`: only for sessions that `direct_delivery`, `interworking_after`, `legacy_matching`, storage \
         (`allow_offline_storage`, `allow_store`, `allow_defer`) or `media_path_users` need it for; for all others it is a SIP proxy, and messages go directly between the two ends.",
    ),
    option(
        "policy.media_path_users",
        Kind::List(&Kind::CpmAddress),
        "[\"sip:alice@example.org\"]",
        "Users whose sessions `pf` stays in the media path of, whatever `media_path` says.",
    ),
    option(
        "policy.direct_delivery",
        Kind::Bool,
        "false",
        "Copy what one device of a user sends to the user's other suitable devices, so that they all show the \
         conversation.",
    ),
    option(
        "policy.client_version",
        Kind::VersionRule,
        "{ minimum = \"2.2\" }",
        "CPM release that a client must have, read from the `CPM-client/OMA` token of its User-Agent. Others get \
         `403` with `132 Version not supported`, and are not invited as another device. Without it nothing is checked.",
    ),
    option(
        "policy.allow_anonymity",
        Kind::Bool,
        "false",
        "Let a user ask for anonymity (`Privacy: id`). If not: `403` with `119 Anonymity not allowed`.",
    ),
    option(
        "policy.copy_far",
        Kind::Bool,
        "false",
        "Copy what the far end sends to the user's other devices in the session too. Needs `direct_delivery`.",
    ),
    option(
        "policy.copy_devices",
        Kind::Bool,
        "false",
        "Forward what another device of the user sends to the far end, and copy it to the user's other devices. \
         Needs `direct_delivery`.",
    ),
    option(
        "policy.refuse_other_services",
        Kind::Bool,
        "true",
        "Refuse with `403` an INVITE whose P-Preferred-Service or P-Asserted-Service names another service than a \
         CPM session. If not, it is treated as any other and goes on.",
    ),
    option(
        "policy.late_devices",
        Kind::Bool,
        "true",
        "Invite a device that registers while a session lives into that session. Needs `direct_delivery`.",
    ),
    option(
        "policy.legacy_matching",
        Kind::Bool,
        "true",
        "Match MSRP URIs by their session-id alone where the peer's SDP had no `a=msrp-cema`: for clients and \
         border controllers that rewrite SDP but not paths.",
    ),
    option(
        "policy.session_expires",
        Kind::Integer(90, 86_400, "seconds"),
        "1800",
        "Session-Expires of the invitations `pf` sends (RFC 4028).",
    ),
    option(
        "policy.min_session_expires",
        Kind::Integer(90, 86_400, "seconds"),
        "90",
        "Smallest Session-Expires that a peer may ask for; below it `pf` answers `422`.",
    ),
    option(
        "policy.device_answer_seconds",
        Kind::Integer(1, 180, "seconds"),
        "30",
        "How long another device may take to answer its invitation before that leg is cancelled. The session \
         itself never waits for it.",
    ),
    option(
        "policy.identify",
        Kind::Choice(&["digest", "registration"]),
        "\"digest\"",
        "How `pf` knows who sends an INVITE, where no trusted node says so. `digest`: every INVITE is challenged \
         (`407`). `registration`: an INVITE from the UDP address, or over the TCP connection, of a registered device \
         counts as that user's; others are challenged. Over UDP that trusts the source address: take `digest` \
         where others could forge it.",
    ),
    option(
        "policy.allow_offline_storage",
        Kind::Bool,
        "true",
        "`<allow-offline-storage>` of users who have said nothing themselves: the history of their sessions is \
         recorded in the store (`[store]`). A user's own line in the users file counts before this.",
    ),
    option(
        "policy.allow_store",
        Kind::Bool,
        "true",
        "`<allow-store>` of users who have said nothing themselves: messages of a group session that come while the \
         user's last device is lost are kept in the store.",
    ),
    option(
        "policy.allow_defer",
        Kind::Bool,
        "true",
        "`<allow-defer>` of users who have said nothing themselves: messages of a group session that come while the \
         user's last device is lost are kept for a later delivery.",
    ),
    option(
        "policy.restart_group_sessions",
        Kind::Bool,
        "true",
        "Users may start long-lived group sessions again: a client that joins an inactive one is not refused with `403` \
         and `127 Service not authorised` (clause 8.2.2.7.2). `pf` then also stays in a group session whose last device of the \
         user is lost (clause 8.2.2.3 step 4.d). What is said there meanwhile is not kept for that alone.",
    ),
    option(
        "policy.long_lived_groups",
        Kind::Choice(&["decided", "undecided"]),
        "\"undecided\"",
        "Who decides when a client joins a group session again that it was in (clause 8.2.2.7). `decided`: you, by the \
         three `restart_` options. `undecided`: the controlling function alone; `pf` answers the client and asks the \
         controlling function when the client sends a first message. A session that `pf` has stayed in for a lost \
         client is joined at once either way.",
    ),
    option(
        "policy.restart_controlling_functions",
        Kind::List(&Kind::Text),
        "[\"focus.example.net\"]",
        "Hosts of the controlling functions whose inactive group sessions may be started again, as they stand in the \
         URI of the session; others get `403` with `127 Service not authorised`. Empty: all. Without \
         `restart_group_sessions` none.",
    ),
    option(
        "policy.restart_at_first_message",
        Kind::Bool,
        "true",
        "A client that starts an inactive group session again is answered by `pf`; the controlling function gets the \
         INVITE when the client sends a first message.",
    ),
    option(
        "policy.subscription_retry_seconds",
        Kind::Integer(1, 86_400, "seconds"),
        "120",
        "While a group session goes on for a lost client, `pf` subscribes to its participants. A subscription that fails \
         in a way that may pass (408, 481, 5xx), or that the controlling function takes back for a while, is tried \
         again after so long.",
    ),
    option(
        "policy.registration_min_seconds",
        Kind::Integer(1, 86_400, "seconds"),
        "60",
        "Shortest registration that is accepted; a REGISTER that asks for less gets `423` (RFC 3261 section 10.3).",
    ),
    option(
        "policy.registration_max_seconds",
        Kind::Integer(60, 31_536_000, "seconds"),
        "3600",
        "Longest registration: a REGISTER that asks for more, or for nothing, gets this.",
    ),
    option(
        "policy.interworking_after",
        Kind::List(&Kind::Integer(300, 699, "status code")),
        "[404, 488, 606]",
        "Answers to an INVITE after which it goes to `sip.isf`, once, before the client hears of them. Empty: no \
         interworking for SIP and tel addresses. A far end that does not answer counts as 408, one that cannot be \
         reached as 503.",
    ),
    option(
        "policy.interworking_rejected_streams",
        Kind::Bool,
        "true",
        "Invite through `sip.isf` a second time, for those streams of a session that its interworking functions \
         have rejected. The session itself lives, whatever comes of it.",
    ),
    option(
        "policy.interworking_rejected_setup",
        Kind::Choice(&["actpass", "passive"]),
        "\"actpass\"",
        "`a=setup` in the offer of that second invitation: `passive` as CPM has it, or `actpass` for interworking \
         functions that follow RFC 6135 strictly.",
    ),
    option(
        "policy.interworking_new_streams",
        Kind::Bool,
        "true",
        "Invite through `sip.isf` for a stream that a client adds to an interworked session and that all \
         interworking functions of the session refuse. If not, the client gets `488`.",
    ),
    option(
        "policy.interworking_wait_seconds",
        Kind::Integer(1, 10, "seconds"),
        "2",
        "How long the client's answer waits for further interworking functions when the first one has rejected \
         streams; once more for a second invitation.",
    ),
    option(
        "policy.interworking_leave",
        Kind::Choice(&["session", "streams"]),
        "\"streams\"",
        "What ends when one of several interworking functions leaves a session: all of it, or its streams only.",
    ),
];
