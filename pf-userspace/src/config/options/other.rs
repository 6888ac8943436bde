//! Options of the top of the file, of store, XDMS, admin socket and log.

use super::{OptionDoc, option};
use crate::config::kind::Kind;

pub(super) const OPTIONS: &[OptionDoc] = &[
    option(
        "state_dir",
        Kind::Path,
        "\"/var/lib/pf\"",
        "Folder for what must survive a restart: the key (`contact.key`, made at the first start, mode 0600) that \
         lets `pf` recognise the Contacts it gave out before. Keep it: with another key, clients can no longer \
         re-join sessions by the address they remember.",
    ),
    option(
        "fast_path",
        Kind::Choice(&["auto", "off", "required"]),
        "\"auto\"",
        "Whether messages are forwarded inside the kernel. `auto`: where this build and this host can, else in \
         userspace; one line at the start says which and why. `off`: always in userspace. `required`: do not start \
         without it. It needs Linux 6.8, CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and `workers = 1` under [msrp]. \
         Whatever it cannot carry goes through userspace: `pf stats` counts that by reason.",
    ),
    option(
        "store.kind",
        Kind::Choice(&["journal", "none"]),
        "\"journal\"",
        "`journal`: a file of JSON lines, one for each object that a message store would hold, each on the disk before \
         it counts as stored. `none`: nothing is recorded, whatever users want. `pf store` lists what is there.",
    ),
    option(
        "store.path",
        Kind::Path,
        "\"/var/lib/pf/store.jsonl\"",
        "The journal, made with mode 0600; `store.jsonl` in `state_dir` where it is left out. It is locked (flock) \
         while lines are written: take that lock to copy it whole. Do not cut it while `pf` runs.",
    ),
    option(
        "store.max_octets",
        Kind::Integer(1 << 10, 1 << 50, "octets"),
        "10737418240",
        "How large the journal may grow; what would make it larger is not stored, which `pf stats` counts.",
    ),
    option(
        "store.wait_seconds",
        Kind::Integer(1, 20, "seconds"),
        "3",
        "How long the end of a session waits for the store before it goes on without. The object may still be stored \
         later.",
    ),
    option(
        "store.held_octets",
        Kind::Integer(1 << 10, 1 << 30, "octets"),
        "4194304",
        "What is said in a group session whose last client is lost is kept where the user wants that. So much of it is \
         held of one stream at once until it is in the store; a message that is larger gets `413`.",
    ),
    option(
        "store.deferred_octets",
        Kind::Integer(1 << 10, 1 << 32, "octets"),
        "16777216",
        "What a lost client of a user with `allow_defer` missed is held in memory, apart from the store, until it joins \
         the session again. So much of one session at most; what goes beyond gets `408`, and is counted in `pf stats`.",
    ),
    option(
        "store.session_octets",
        Kind::Integer(1 << 10, 1 << 40, "octets"),
        "1073741824",
        "How much of it is stored of one session; what goes beyond gets `408`, and is counted in `pf stats`.",
    ),
    option(
        "store.recorded_octets",
        Kind::Integer(1 << 10, 8 << 20, "octets"),
        "262144",
        "Messages of recorded sessions are put together from their chunks in memory. Of one that is longer than this, parts \
         are stored as they come, each an object with its `byte_range`. All incomplete messages of a stream together \
         take four times as much.",
    ),
    option(
        "store.recording_octets",
        Kind::Integer(1 << 10, 1 << 40, "octets"),
        "67108864",
        "How much of what is recorded may wait for the store, of all sessions together. When it is more, recorded sessions \
         wait until half of it is written: nothing is lost, their peers are slowed by TCP. `pf stats` counts it.",
    ),
    option(
        "xdms.root",
        Kind::HttpRoot,
        "\"http://10.0.0.9:8080/services\"",
        "Its XCAP root. Of each session's originator the document \
         `<root>/org.openmobilealliance.access-rules/users/<address of record>/access-rules` is fetched when the session \
         is asked for, and its actions `allow-offline-storage`, `allow-store` and `allow-defer` count: those of all \
         rules whose conditions hold, one `true` is enough, and what none says is `false`. The last answer of each user \
         is kept, asked for by its ETag, and counts while there is no other. Left out: no XDMS is asked.",
    ),
    option(
        "xdms.wait_seconds",
        Kind::Integer(1, 20, "seconds"),
        "3",
        "How long an answer may take. The beginning of a session's record waits for it, and nothing else does; what is said \
         meanwhile is kept in memory (`store.recording_octets`). Then what was answered last counts, else the users file \
         and `[policy]`.",
    ),
    option(
        "xdms.identity_header",
        Kind::HeaderName,
        "\"X-XCAP-Asserted-Identity\"",
        "The header field that tells the XDMS for which user `pf` asks: the XDMS has to trust it when `pf` sends it.",
    ),
    option(
        "admin.socket",
        Kind::Path,
        "\"/run/pf/pf.sock\"",
        "Path of the Unix socket, made with mode 0600 at the start and removed at the end.",
    ),
    option(
        "log.level",
        Kind::LogFilter,
        "\"info,pf::sip=debug\"",
        "`error`, `warn`, `info`, `debug`, `trace`, or filter directives per module. Addresses of users appear at \
         `debug` and below only, message contents never.",
    ),
    option(
        "log.format",
        Kind::Choice(&["text", "json"]),
        "\"json\"",
        "One line for people, or one JSON object a line.",
    ),
];
