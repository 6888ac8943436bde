//! Behaviour of `pf` over real sockets, one file each.
