//! The counters of the programs, all processors together.

use aya::{Ebpf, maps::PerCpuArray};
use pf_common::{
    maps::{Count, Total, names},
    splice::{Cause, KernelVerdict, PeerVerdict},
    whole::Content,
};

use super::{FastPathError, load};

/// What the programs counted, in the order of the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatapathCounts {
    /// Packets from peers, by their fate.
    pub peer: Vec<(PeerVerdict, u64)>,
    /// Packets of kernel sockets, by their fate.
    pub kernel: Vec<(KernelVerdict, u64)>,
    /// Why sources left the fast path, messages missed legs, and legs left.
    pub cause: Vec<(Cause, u64)>,
    /// What the parser made of payloads.
    pub content: Vec<(Content, u64)>,
    /// Sums.
    pub total: Vec<(Total, u64)>,
}

impl DatapathCounts {
    /// One of the counters.
    pub fn get(&self, count: Count) -> u64 {
        fn of<T: PartialEq>(list: &[(T, u64)], wanted: &T) -> u64 {
            list.iter().find(|(which, _)| which == wanted).map_or(0, |(_, value)| *value)
        }
        match count {
            Count::Peer(verdict) => of(&self.peer, &verdict),
            Count::Kernel(verdict) => of(&self.kernel, &verdict),
            Count::Cause(cause) => of(&self.cause, &cause),
            Count::Content(content) => of(&self.content, &content),
            Count::Total(total) => of(&self.total, &total),
        }
    }

    /// One of the sums.
    pub fn total(&self, total: Total) -> u64 {
        self.get(Count::Total(total))
    }
}

/// How many counters the programs have.
pub(super) fn counters(ebpf: &Ebpf) -> Result<usize, FastPathError> {
    let map: PerCpuArray<_, u64> = load::typed(ebpf, names::SPLICE_COUNTS)?;
    Ok(usize::try_from(map.len()).unwrap_or(usize::MAX))
}

pub(super) fn read(ebpf: &Ebpf) -> Result<DatapathCounts, FastPathError> {
    let map: PerCpuArray<_, u64> = load::typed(ebpf, names::SPLICE_COUNTS)?;
    let one = |count: Count| {
        let values = map.get(&count.index(), 0).map_err(|error| load::fault(names::SPLICE_COUNTS, &error))?;
        Ok::<u64, FastPathError>(values.iter().sum())
    };
    Ok(DatapathCounts {
        peer: PeerVerdict::ALL
            .iter()
            .map(|v| Ok((*v, one(Count::Peer(*v))?)))
            .collect::<Result<_, FastPathError>>()?,
        kernel: KernelVerdict::ALL
            .iter()
            .map(|v| Ok((*v, one(Count::Kernel(*v))?)))
            .collect::<Result<_, FastPathError>>()?,
        cause: Cause::ALL
            .iter()
            .map(|v| Ok((*v, one(Count::Cause(*v))?)))
            .collect::<Result<_, FastPathError>>()?,
        content: Content::ALL
            .iter()
            .map(|v| Ok((*v, one(Count::Content(*v))?)))
            .collect::<Result<_, FastPathError>>()?,
        total: Total::ALL
            .iter()
            .map(|v| Ok((*v, one(Count::Total(*v))?)))
            .collect::<Result<_, FastPathError>>()?,
    })
}
