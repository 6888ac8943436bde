//! MSRP as the lab's actors speak it (RFC 4975): strict to the octet, and independent of pf.

mod cpim;
mod endpoint;
mod frame;
mod reader;
mod side;
mod uri;
mod wire;

pub use cpim::{Cpim, cpim};
pub use endpoint::{Answer, Endpoint, Incoming, Media, Negotiated, Outgoing, Received, Role, Sending};
pub use frame::{ByteRange, Flag, Frame, Head, Kind};
pub use reader::{Event, Reader};
pub use side::{Got, Side};
pub use uri::MsrpUri;
pub use wire::{Closed, Wire, WireReader};
