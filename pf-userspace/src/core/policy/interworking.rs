//! What the operator decides about sessions with interworking functions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Policy;
use crate::core::sdp::SetupAttr;

/// What ends when one of several IWFs of a session says BYE (clause 8.2.2.3 steps 3.a and 3.b).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IwfLeaves {
    /// The whole session.
    Session,
    /// Its streams only.
    Streams,
}

/// `a=setup` in the offer of a second session with the ISF (clause 8.2.2.1, 200 part step 1.b.ii; AMB-08).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IwfSetup {
    /// As RFC 6135 section 4.2.2 has it.
    Actpass,
    /// As the clause has it.
    Passive,
}

impl From<IwfSetup> for SetupAttr {
    fn from(setup: IwfSetup) -> SetupAttr {
        match setup {
            IwfSetup::Actpass => SetupAttr::Actpass,
            IwfSetup::Passive => SetupAttr::Passive,
        }
    }
}

impl Policy {
    /// May interworking be initiated after this error response to an INVITE (clause 8.2.2.1, error part step 1)?
    pub fn interworks_after(&self, status: u16) -> bool {
        self.interworking_after.contains(&status)
    }

    /// How long further IWFs may take.
    pub fn interworking_wait(&self) -> Duration {
        Duration::from_secs(self.interworking_wait_seconds.into())
    }
}
