//! Behaviour of `pf` over real sockets, one file each.

mod the_lab_itself_works;
