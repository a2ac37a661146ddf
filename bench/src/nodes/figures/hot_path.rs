//! A request of a session that the node knows, beside one of a node that keeps its sessions on disk.

use std::io;
use std::path::Path;

use super::Figure;
use crate::load;
use crate::nodes::fleet;
use crate::nodes::redis::Redis;
use crate::peers::{PASSWORD, USER};
use crate::subject::{APP, Ground, Setup, on_disk};
use crate::work::Work;

const BAR: f64 = 1.02;

/// In alternating rounds, by HTTP/1.1 and HTTP/2.
pub(super) async fn measure(
    vestibule: &Path,
    rounds: u32,
    seconds: f64,
) -> io::Result<Vec<Figure>> {
    let missing = || io::Error::other("redis-server is missing");
    let server = Redis::start_with(&[]).ok_or_else(missing)?;
    let ground = [Ground::new(vestibule, 2)?, Ground::new(vestibule, 2)?];
    let key = ground[1].folder.path().join("redis.key");
    fleet::write(&key, &fleet::key()?)?;
    let redis = format!(
        "store = \"redis\"\n[session.redis]\nurl = \"{}\"\nkey_file = \"redis.key\"",
        server.url()
    );
    let disk = on_disk("sessions.redb");
    let mut nodes = Vec::new();
    for (ground, store) in ground.iter().zip([disk, redis]) {
        let setup = Setup {
            server: "",
            log: false,
            store,
            users: Vec::new(),
            apps: APP.to_owned(),
            host: None,
        };
        let mut node = ground.start(&setup).await?;
        let client = &mut node.client;
        client.sign_in("/.vestibule/login", USER, PASSWORD).await?;
        nodes.push(node);
    }
    let mut figures = Vec::new();
    for work in [Work::Http1, Work::Http2] {
        let load = work.load().expect("requests");
        let mut ratios = Vec::new();
        for round in 0..rounds {
            let mut cpu = [0.0; 2];
            // Each goes first in every other round.
            let first = (round % 2) as usize;
            for at in [first, 1 - first] {
                let node = &nodes[at];
                let outcome = load::run(load, &node.client(), node.running.id(), seconds).await?;
                cpu[at] = outcome.cpu / outcome.count;
            }
            ratios.push(cpu[1] / cpu[0]);
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        figures.push(Figure {
            what: format!(
                "CPU time of a request against sessions on disk, {}",
                work.title()
            ),
            bar: "<= 1.02",
            measured: format!("{median:.3} ({least:.3} to {most:.3} of {rounds} rounds)"),
            reached: Some(median <= BAR),
        });
    }
    Ok(figures)
}
