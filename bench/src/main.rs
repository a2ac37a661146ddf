//! Vestibule beside other reverse proxies: the same work in alternating rounds, what it costs each
//! of them, a table, and plots. And Vestibule alone: how its cost grows, and what floods do. And three nodes of it: what they do together. `docs/performance.md` says how to read them.

mod app;
mod body;
mod certificate;
mod client;
mod floods;
mod load;
mod machine;
mod nodes;
mod peers;
mod process;
mod record;
mod report;
mod rounds;
mod scale;
mod sheet;
mod subject;
mod work;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;

use self::peers::Peer;
use self::rounds::Plan;
use self::sheet::Kind;
use self::work::Work;

/// Measures Vestibule beside nginx, HAProxy, H2O, Envoy, Caddy and Apache, those of them that are
/// there.
#[derive(Debug, Parser)]
#[command(name = "vestibule-bench", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommand>,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Makes the table and the plots of a file of measurements again
    Report {
        /// The file
        #[arg(default_value = MEASUREMENTS)]
        file: PathBuf,
    },
    /// Puts the table and the plots of a file of measurements into the documentation
    Publish {
        /// The file
        #[arg(default_value = MEASUREMENTS)]
        file: PathBuf,
    },
    /// Measures how cost grows: with connections, sessions, apps, hosts, rules, and sizes
    Scale(Alone),
    /// Measures what signed-in users notice of floods
    Floods(Alone),
    /// Shows three nodes behind HAProxy, which share a Redis with replicas and sentinels
    Nodes(nodes::Arguments),
    /// The app behind the proxies
    #[command(hide = true)]
    App,
    /// The clients of a flood
    #[command(hide = true)]
    Attack {
        flood: String,
        port: u16,
        certificate: PathBuf,
    },
}

/// Vestibule is measured alone.
#[derive(Debug, clap::Args)]
struct Alone {
    /// How often everything is measured; 3 for scale, 9 for floods if left out
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..1000))]
    rounds: Option<u32>,
    /// How long each figure is measured
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// One short round with few of everything, to see that it works; its figures mean nothing
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "publish"])]
    quick: bool,
    /// Puts the result into the documentation below this folder
    #[arg(long)]
    publish: bool,
    /// Threads that Vestibule works with
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// The Vestibule to measure, instead of the one that is built beside this program
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Where the measurements go; the table and the plots stand beside them
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Measure {
    /// How often each peer is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..1000))]
    rounds: u32,
    /// How long each piece of work is measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// One short round, to see that everything works; its figures mean nothing
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Only these peers, and the first of them is what the others are compared with
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Only this work: http1, http2, steady, full, resumed, down1m, up100m-http2, ...
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    work: Vec<String>,
    /// Threads or processes that a proxy works with
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// The Vestibule to measure, instead of the one that is built beside this program
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Another program for a peer, as in nginx=/opt/nginx/sbin/nginx
    #[arg(long, value_name = "NAME=PATH")]
    peer: Vec<String>,
    /// Where the measurements go; the table and the plots stand beside them
    #[arg(long, default_value = MEASUREMENTS)]
    output: PathBuf,
}

const MEASUREMENTS: &str = "target/bench/measurements.jsonl";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Subcommand::App) => app::run(),
        Some(Subcommand::Attack {
            flood,
            port,
            certificate,
        }) => floods::attack::run(&flood, port, &certificate),
        Some(Subcommand::Scale(alone)) => measure_alone(&alone, Kind::Scale),
        Some(Subcommand::Floods(alone)) => measure_alone(&alone, Kind::Floods),
        Some(Subcommand::Nodes(arguments)) => {
            raise_descriptor_limit();
            until_interrupted(nodes::run(&arguments, vestibule))
        }
        Some(Subcommand::Report { file }) => show(&file),
        Some(Subcommand::Publish { file }) => report::publish(&file, Path::new(".")),
        None => measure(&arguments.measure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vestibule-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Measure) -> io::Result<()> {
    let descriptors = raise_descriptor_limit();
    let plan = plan(arguments, descriptors)?;
    warn_of_others();
    let failures = until_interrupted(rounds::run(&plan))?;
    show(&plan.output)?;
    if failures > 0 {
        let failed = format!("{failures} measurements of Vestibule have failed");
        return Err(io::Error::other(failed));
    }
    Ok(())
}

fn measure_alone(arguments: &Alone, kind: Kind) -> io::Result<()> {
    let descriptors = raise_descriptor_limit() as u64;
    let (name, rounds) = match kind {
        Kind::Scale => ("target/bench/scale.jsonl", 3),
        Kind::Floods => ("target/bench/floods.jsonl", 9),
    };
    let (rounds, seconds, most) = if arguments.quick {
        (1, 0.2, 1000)
    } else {
        let seconds = arguments.seconds.clamp(0.1, 600.0);
        (arguments.rounds.unwrap_or(rounds), seconds, u64::MAX)
    };
    let output = arguments.output.clone();
    let plan = sheet::Plan {
        program: vestibule(arguments.program.as_deref())?,
        rounds,
        seconds,
        workers: arguments.workers,
        most,
        // Both ends of a connection have one, in processes of their own.
        most_connections: most.min(descriptors.saturating_sub(500)),
        output: output.unwrap_or_else(|| PathBuf::from(name)),
    };
    warn_of_others();
    match kind {
        Kind::Scale => until_interrupted(scale::run(&plan))?,
        Kind::Floods => until_interrupted(floods::run(&plan))?,
    }
    show(&plan.output)?;
    if arguments.publish {
        report::publish(&plan.output, Path::new("."))?;
    }
    Ok(())
}

/// Everything that was started is stopped then.
fn until_interrupted<T>(measured: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            done = measured => done,
            _ = tokio::signal::ctrl_c() => Err(io::Error::other("interrupted")),
            _ = terminated.recv() => Err(io::Error::other("terminated")),
        }
    })
}

fn plan(arguments: &Measure, descriptors: usize) -> io::Result<Plan> {
    let peers = peers(arguments)?;
    let mut works = Vec::new();
    for name in &arguments.work {
        let named = serde_json::from_value(serde_json::Value::from(name.as_str()));
        works.push(named.map_err(io::Error::other)?);
    }
    if works.is_empty() {
        works = Work::ALL.to_vec();
    }
    let (rounds, seconds, idle_connections) = if arguments.quick {
        (1, 0.1, 50)
    } else {
        (arguments.rounds, arguments.seconds.clamp(0.1, 600.0), 2000)
    };
    Ok(Plan {
        peers,
        works,
        rounds,
        seconds,
        workers: arguments.workers,
        // A proxy has some for other things, too.
        idle_connections: idle_connections
            .min(descriptors.saturating_sub(500) / 2)
            .max(1),
        output: arguments.output.clone(),
    })
}

/// Those that are there, in their order or in that of `--only`; says which are not.
fn peers(arguments: &Measure) -> io::Result<Vec<(&'static Peer, PathBuf)>> {
    let all = peers::ALL.iter();
    let chosen: Vec<_> = if arguments.only.is_empty() {
        all.collect()
    } else {
        let known = |name: &String| peers::ALL.iter().find(|peer| peer.name == name);
        let unknown = |name: &String| io::Error::other(format!("there is no peer {name}"));
        let chosen = arguments.only.iter();
        chosen
            .map(|name| known(name).ok_or_else(|| unknown(name)))
            .collect::<Result<_, _>>()?
    };
    let mut found = Vec::new();
    for peer in chosen {
        let given = arguments
            .peer
            .iter()
            .filter_map(|given| given.split_once('='));
        let given = given
            .filter(|(name, _)| *name == peer.program)
            .map(|(_, path)| PathBuf::from(path))
            .next_back();
        let program = match peer.program {
            "vestibule" => Some(vestibule(arguments.program.as_deref())?),
            name => given.or_else(|| peers::find(name)),
        };
        match program {
            Some(program) => found.push((peer, program)),
            None => eprintln!("not there, left out: {}", peer.title),
        }
    }
    Ok(found)
}

/// The one given, or the one beside this program; cargo builds it if it has started this.
fn vestibule(given: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(given) = given {
        return given.canonicalize();
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().unwrap_or(Path::new("."));
    if let Some(cargo) = std::env::var_os("CARGO") {
        let profile = folder.file_name().and_then(|name| name.to_str());
        let profile = profile.filter(|&name| name != "debug").unwrap_or("dev");
        let built = Command::new(cargo)
            .args([
                "build",
                "--locked",
                "--package",
                "vestibule",
                "--profile",
                profile,
            ])
            .status()?;
        if !built.success() {
            return Err(io::Error::other("Vestibule cannot be built"));
        }
    }
    let program = folder.join("vestibule");
    if program.is_file() {
        Ok(program)
    } else {
        let program = program.display();
        Err(io::Error::other(format!(
            "there is no {program}: build it, or name one with --program"
        )))
    }
}

/// Thousands of connections: each proxy inherits the limit.
fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

fn warn_of_others() {
    let load = machine::load_average();
    if load > 0.3 {
        eprintln!("warning: the machine is not quiet, its load average is {load:.2}");
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is not an optimized build, its figures mean nothing");
    }
}

/// Writes the table and the plots beside the measurements, and shows the table.
fn show(file: &Path) -> io::Result<()> {
    let table = report::write(file)?;
    io::stdout().write_all(table.as_bytes())?;
    Ok(())
}
