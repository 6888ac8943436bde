//! Who takes part in a test: the user's devices, the far end, and the scene that they meet in.

mod call;
mod interworking;
mod party;
mod scene;
mod streams;
mod ue;

pub use call::{Call, Calling, Invited, Session};
pub use interworking::{Interworking, talk};
pub use party::Party;
pub use scene::{Scene, SceneOptions};
pub use streams::{CallingStreams, Streams, description, endpoint};
pub use ue::{Device, ICSI_GROUP, ICSI_SESSION, Ue, icsi_tag};
