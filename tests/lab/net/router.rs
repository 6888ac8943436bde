//! A router between the network of most hosts and a second one.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::Result;

use super::{Host, Namespace, Network};

/// Its addresses in the second network.
const INSIDE: [&str; 2] = ["10.78.0.254", "fd78::fe"];

/// A host that forwards.
pub(super) struct Router {
    hosts: BTreeSet<String>,
    /// Its addresses in the network of the others.
    at: [IpAddr; 2],
}

impl Router {
    /// Does this host live behind it?
    pub(super) fn serves(&self, name: &str) -> bool {
        self.hosts.contains(name)
    }

    /// A host learns the way to the other network.
    pub(super) fn tell(&self, host: &Namespace, routed: bool) -> Result<()> {
        let routes = if routed {
            INSIDE.map(|router| format!("route add default via {router}"))
        } else {
            let [v4, v6] = self.at;
            [format!("route add 10.78.0.0/24 via {v4}"), format!("-6 route add fd78::/64 via {v6}")]
        };
        routes.iter().try_for_each(|route| host.ip(route))
    }
}

impl Network {
    /// Hosts of these names, added later like all others, live in a second network behind the host `router`.
    pub fn put_behind_router(&mut self, names: &[&str]) -> Result<()> {
        let Host { v4, v6 } = self.host("router")?;
        let inside = self.inside("router")?.clone();
        self.hub.ip("link add br1 type bridge")?;
        self.hub.ip("link set br1 up")?;
        self.hub.ip(&format!("link add router type veth peer name eth1 netns {}", inside.thread()))?;
        self.hub.ip("link set router master br1 up")?;
        for (address, how) in INSIDE.iter().zip(["/24 dev eth1", "/64 dev eth1 nodad"]) {
            inside.ip(&format!("addr add {address}{how}"))?;
        }
        inside.ip("link set eth1 up")?;
        inside.sysctl("ipv4/ip_forward", "1")?;
        inside.sysctl("ipv6/conf/all/forwarding", "1")?;
        let hosts = names.iter().map(ToString::to_string).collect();
        self.router = Some(Router { hosts, at: [v4.ip, v6.ip] });
        Ok(())
    }
}
