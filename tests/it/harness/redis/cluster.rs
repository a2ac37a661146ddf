//! Clusters of three masters.

use std::path::{Path, PathBuf};

use super::{HeldPort, Redis, eventually, of_tls, redis_server};

impl Redis {
    /// The port by which nodes of a cluster talk to each other.
    fn cluster_bus(&self) -> String {
        let mut options = self.options.iter();
        options.find(|it| *it == "--cluster-port");
        options.next().expect("it is of a cluster").clone()
    }

    fn of_cluster(program: PathBuf, more: &[&str]) -> Self {
        let bus = HeldPort::new();
        let bus_port = bus.port.to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus_port];
        let timeout = ["--cluster-node-timeout", "1000"];
        Self::run(program, &[&options[..], &timeout, more].concat())
    }

    /// A replica of this master in its cluster, whose other nodes know of it.
    pub(crate) fn cluster_replica(&self, others: &[Self]) -> Self {
        let replica = Self::of_cluster(self.program.clone(), &[]);
        let port = self.port().to_string();
        replica.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &self.cluster_bus()]);
        let id = self.ask(&["CLUSTER", "MYID"]);
        eventually("a replica in the cluster", || {
            replica.ask(&["CLUSTER", "REPLICATE", id.trim()]) == "OK\n"
        });
        let own = replica.port().to_string();
        let is_known = |node: &Self| {
            let slots = node.ask(&["CLUSTER", "SLOTS"]);
            slots.lines().any(|line| line == own)
        };
        eventually("the others to know of it", || {
            let info = replica.ask(&["INFO", "replication"]);
            info.contains("master_link_status:up") && others.iter().all(is_known)
        });
        replica
    }
}

/// Three masters, each with a third of the slots.
pub(crate) fn cluster() -> Option<Vec<Redis>> {
    let program = redis_server()?;
    let nodes = (0..3).map(|_| Redis::of_cluster(program.clone(), &[]));
    Some(joined(nodes.collect()))
}

/// The same by TLS, with the files that [`Redis::start_tls`] takes.
pub(crate) fn tls_cluster(files: &Path) -> Option<Vec<Redis>> {
    let program = redis_server()?;
    let node = |_| {
        let (tls, options) = of_tls(files);
        let mut options: Vec<_> = options.iter().map(String::as_str).collect();
        options.extend(["--tls-cluster", "yes"]);
        let mut node = Redis::of_cluster(program.clone(), &options);
        node.tls = Some(tls);
        node
    };
    Some(joined((0..3).map(node).collect()))
}

/// Three masters make a cluster.
fn joined(nodes: Vec<Redis>) -> Vec<Redis> {
    let slots = ["0 5460", "5461 10922", "10923 16383"];
    for (node, slots) in nodes.iter().zip(slots) {
        let (first, last) = slots.split_once(' ').unwrap();
        assert_eq!(node.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]), "OK\n");
    }
    let (port, bus) = (nodes[0].port().to_string(), nodes[0].cluster_bus());
    for (number, node) in nodes.iter().enumerate() {
        // Two with the same epoch would have to agree first.
        node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        if number > 0 {
            let met = node.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            assert_eq!(met, "OK\n");
        }
    }
    for node in &nodes {
        eventually("the cluster to be whole", || {
            let info = node.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        });
    }
    nodes
}
