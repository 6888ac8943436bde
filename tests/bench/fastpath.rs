//! `pf-bench fastpath`: the in-kernel path beside `pf`'s own userspace path, Kamailio and plain routing.

use anyhow::{Context, Result};

use crate::{
    contender::{Contender, Direct},
    ground,
    kamailio::Kamailio,
    pf::{self, Pf},
    relay::{self, Mode, Options, Plan, mode},
};

/// A chat at a moderate rate.
const PACED: Mode = Mode { connections: 64, depth: 1, per_second: 3000, generators: 1 };
/// All that the machine can do.
const BOTH: Mode = Mode { connections: 64, depth: 1, per_second: 0, generators: 2 };

/// Runs the matrix in namespaces; an error if any message was lost, changed or refused.
pub(crate) fn run(options: &Options) -> Result<()> {
    ground::route().context("the namespaces of the benchmark (needs root)")?;
    let binary = pf::binary(options.pf.as_deref());
    let all: Vec<Box<dyn Contender>> = vec![
        Box::new(Direct),
        Box::new(Kamailio),
        Box::new(Pf { name: "pf-userspace", binary: binary.clone(), fast_path: "off" }),
        Box::new(Pf { name: "pf", binary, fast_path: "required" }),
    ];
    let plan = Plan {
        name: "fastpath",
        bodies: [&[100, 1_024], &[100, 1_024, 10_240]],
        fanouts: [&[1, 4], &[1, 4, 8]],
        modes: [&const { [mode(16, 1)] }, &const { [mode(64, 1), BOTH, PACED, mode(8, 16)] }],
        floor: true,
    };
    relay::matrix(options, all, &plan)
}
