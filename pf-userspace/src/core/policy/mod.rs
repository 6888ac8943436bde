//! What the operator decides. One value, read by the procedures, never changed by them.

pub mod access_rules;
pub mod interworking;
pub mod media_path;
pub mod preferences;
pub mod privacy;
pub mod rejoin;
pub mod retrieval;
pub mod version;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    interworking::{IwfLeaves, IwfSetup},
    media_path::MediaPath,
    rejoin::LongLivedGroups,
};

/// Operator policy for CPM sessions. Every field has a default; the file's `[policy]` table sets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Users (CPM addresses) that may not start a session: `403` with `127 Service not authorised`
    /// (clause 8.2.2.1 step 1).
    pub barred: Vec<String>,
    /// Stay in the media path of every session, or only where that is needed (clause 8.2.2.1 step 4); else act as proxy.
    pub media_path: MediaPath,
    /// Users (CPM addresses) whose sessions need us in the media path whatever else is decided.
    pub media_path_users: Vec<String>,
    /// Copy what a user's device sends to the user's other suitable devices (clause 8.2.2.1, direct delivery).
    pub direct_delivery: bool,
    /// Refuse clients of another CPM release: `403` with `132 Version not supported`
    /// (clause 8.2.2.1 step 2). Absent: no check.
    pub client_version: Option<VersionRule>,
    /// Let a user ask for anonymity; else `403` with `119 Anonymity not allowed` (clause 8.2.2.1 step 3).
    pub allow_anonymity: bool,
    /// Copy what the far end sends to the user's other devices too.
    pub copy_far: bool,
    /// Forward what another device of the user sends to the far end, and copy it to the user's other devices.
    pub copy_devices: bool,
    /// Refuse an INVITE whose P-Asserted-Service or P-Preferred-Service is no CPM session with `403`
    /// (clause 8.2.2.1 step 4.h).
    pub refuse_other_services: bool,
    /// Invite a device that registers while a session lives into that session.
    pub late_devices: bool,
    /// Match MSRP URIs by their session-id only, where the peer's SDP had no `a=msrp-cema`
    /// (clause 5.2.1.4.1, "sessmatch").
    pub legacy_matching: bool,
    /// Session-Expires in seconds towards far end and devices (RFC 4028), at least 90.
    pub session_expires: u32,
    /// Smallest Session-Expires accepted from a peer, in seconds, at least 90; below it `422`.
    pub min_session_expires: u32,
    /// Seconds that a device may take to answer its INVITE before that leg is cancelled.
    pub device_answer_seconds: u32,
    /// `<allow-offline-storage>` of users who have said nothing themselves (clause 8.4.1).
    pub allow_offline_storage: bool,
    /// `<allow-store>` of such users.
    pub allow_store: bool,
    /// `<allow-defer>` of such users.
    pub allow_defer: bool,
    /// Users may start long-lived group sessions again (clause 8.2.2.3 step 4.d).
    pub restart_group_sessions: bool,
    /// Who decides on long-lived group sessions (clause 8.2.2.7.1).
    pub long_lived_groups: LongLivedGroups,
    /// Hosts of the controlling functions whose group sessions may be started again; empty: all.
    pub restart_controlling_functions: Vec<String>,
    /// An INVITE that starts a group session again waits for a first message (AMB-29).
    pub restart_at_first_message: bool,
    /// Seconds after which a subscription to the participants of a group session is tried again (clause 8.2.2.6).
    pub subscription_retry_seconds: u32,
    /// How the sender of an INVITE is known.
    pub identify: Identify,
    /// Shortest registration that the embedded registrar takes, in seconds; below it `423`.
    pub registration_min_seconds: u32,
    /// Longest registration that it gives, in seconds.
    pub registration_max_seconds: u32,
    /// Errors to an INVITE after which it goes to the Interworking Selection Function (clause 8.2.2.1, error
    /// response): status codes.
    pub interworking_after: Vec<u16>,
    /// Try a second session with the ISF for streams that the first one's IWFs reject (clause 8.2.2.1, 200 part
    /// step 1).
    pub interworking_rejected_streams: bool,
    /// `a=setup` in the offer of that second session (AMB-08).
    pub interworking_rejected_setup: IwfSetup,
    /// Try a new session with the ISF for a stream that all IWFs of the session refuse (clause 8.2.2.5).
    pub interworking_new_streams: bool,
    /// Seconds that further IWFs may take to accept what the first one has not, before the client is answered.
    pub interworking_wait_seconds: u32,
    /// What ends when one of several IWFs leaves (clause 8.2.2.3 step 3).
    pub interworking_leave: IwfLeaves,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            barred: Vec::new(),
            media_path: MediaPath::Always,
            media_path_users: Vec::new(),
            direct_delivery: true,
            client_version: None,
            allow_anonymity: true,
            copy_far: true,
            copy_devices: true,
            refuse_other_services: false,
            late_devices: false,
            legacy_matching: false,
            session_expires: 1800,
            min_session_expires: 90,
            device_answer_seconds: 30,
            allow_offline_storage: false,
            allow_store: false,
            allow_defer: false,
            restart_group_sessions: false,
            long_lived_groups: LongLivedGroups::Decided,
            restart_controlling_functions: Vec::new(),
            restart_at_first_message: false,
            subscription_retry_seconds: 60,
            identify: Identify::Registration,
            registration_min_seconds: 60,
            registration_max_seconds: 3600,
            interworking_after: Vec::new(),
            interworking_rejected_streams: false,
            interworking_rejected_setup: IwfSetup::Passive,
            interworking_new_streams: false,
            interworking_wait_seconds: 2,
            interworking_leave: IwfLeaves::Session,
        }
    }
}

impl Policy {
    /// How long to wait before a subscription is tried again.
    pub fn subscription_retry(&self) -> Duration {
        Duration::from_secs(self.subscription_retry_seconds.max(1).into())
    }

    /// How long a device may take to answer its INVITE.
    pub fn device_answer(&self) -> Duration {
        Duration::from_secs(self.device_answer_seconds.into())
    }
}

/// Which CPM releases a client may have, by the `CPM-client/OMA<major>.<minor>` token of its User-Agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum VersionRule {
    /// Exactly this release.
    Exact(Release),
    /// This release or a later one.
    Minimum(Release),
}

/// An OMA CPM release, written `2.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release {
    /// Before the dot.
    pub major: u32,
    /// After the dot.
    pub minor: u32,
}

impl TryFrom<String> for Release {
    type Error = String;
    fn try_from(text: String) -> Result<Release, String> {
        text.split_once('.')
            .and_then(|(major, minor)| {
                Some(Release { major: major.parse().ok()?, minor: minor.parse().ok()? })
            })
            .ok_or_else(|| format!("`{text}` is not a CPM release: write it like 2.2"))
    }
}

impl From<Release> for String {
    fn from(release: Release) -> String {
        format!("{}.{}", release.major, release.minor)
    }
}

/// How the sender of an INVITE is known. A trusted peer's P-Asserted-Identity always counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identify {
    /// Digest authentication of every INVITE (`407`).
    Digest,
    /// The request comes from the address, or over the connection, of a registered device whose user it claims
    /// in From or P-Preferred-Identity; else digest authentication.
    Registration,
}
