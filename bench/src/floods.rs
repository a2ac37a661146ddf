//! What signed-in users notice of floods: their response times, in each round quiet and then beside
//! the flood, one flood after the other.

pub(crate) mod attack;

use std::io;

use serde::{Deserialize, Serialize};

use self::attack::{Attack, Flood};
use crate::load;
use crate::peers::{PASSWORD, USER};
use crate::process::Cpu;
use crate::record::{Writer, rounded};
use crate::sheet::{Header, Kind, Noise, Plan};
use crate::subject::{APP, Ground, Setup, on_disk};
use crate::work::Load;

/// Requests of users in a second.
pub(crate) const RATE: u32 = 1000;

/// Beside one flood, in one round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) round: u32,
    pub(crate) flood: Flood,
    /// Response times of users without the flood, in microseconds.
    pub(crate) quiet_p50: u32,
    pub(crate) quiet_p99: u32,
    pub(crate) p50: u32,
    pub(crate) p99: u32,
    /// Attempts of the flood that were answered in a second, and that were turned away.
    pub(crate) answered: f64,
    pub(crate) refused: f64,
    /// Cores that Vestibule kept busy beside it.
    pub(crate) cores: f64,
    #[serde(flatten)]
    pub(crate) noise: Noise,
}

/// Measures until the end.
///
/// # Errors
/// Something does not work, or users were not served.
pub(crate) async fn run(plan: &Plan) -> io::Result<()> {
    let ground = Ground::new(&plan.program, plan.workers)?;
    let mut writer = Writer::create(&plan.output, &Header::new(Kind::Floods, plan))?;
    let mut measured = 0;
    for round in 1..=plan.rounds {
        let setup = Setup {
            server: "",
            log: true,
            store: on_disk(&format!("sessions-{round}.redb")),
            users: Vec::new(),
            apps: APP.to_owned(),
            host: None,
        };
        let mut started = ground.start(&setup).await?;
        let login = "/.vestibule/login";
        started.client.sign_in(login, USER, PASSWORD).await?;
        let (client, id) = (started.client(), started.running.id());
        for flood in Flood::ALL {
            let users = Load::Open(RATE);
            let quiet = load::run(users, &client, id, plan.seconds).await?;
            let attack = Attack::begin(flood, &started.client, ground.folder.path()).await?;
            let cpu = Cpu::of(id);
            let began = tokio::time::Instant::now();
            let beside = load::run(users, &client, id, plan.seconds).await?;
            let cores = Cpu::of(id).since(cpu) / began.elapsed().as_secs_f64();
            let came = attack.end().await?;
            if came.answered + came.refused == 0.0 {
                // On a machine that has no time for the lowest priority.
                eprintln!(
                    "{round}/{}  {}: left out, it did nothing",
                    plan.rounds,
                    flood.title()
                );
                continue;
            }
            let late = || io::Error::other("no user was answered");
            let figure = Figure {
                round,
                flood,
                quiet_p50: quiet.p50.ok_or_else(late)?,
                quiet_p99: quiet.p99.ok_or_else(late)?,
                p50: beside.p50.ok_or_else(late)?,
                p99: beside.p99.ok_or_else(late)?,
                answered: rounded(came.answered),
                refused: rounded(came.refused),
                cores: rounded(cores),
                noise: beside.foreign.into(),
            };
            eprintln!(
                "{round}/{}  {:42} p99 {:>7.2} ms, {:>7.2} quiet; {:>6.0} answered and {:>6.0} refused a second",
                plan.rounds,
                flood.title(),
                f64::from(figure.p99) / 1000.0,
                f64::from(figure.quiet_p99) / 1000.0,
                figure.answered,
                figure.refused,
            );
            writer.line(&figure)?;
            measured += 1;
        }
    }
    if measured == 0 {
        return Err(io::Error::other("no flood did anything"));
    }
    Ok(())
}
