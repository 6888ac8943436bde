//! The lab: actors and networks that test `pf` from outside.
