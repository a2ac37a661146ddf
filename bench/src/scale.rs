//! How cost grows: with connections, sessions, apps, hosts, rules, and the size of requests.
//!
//! One Vestibule after the other, each with more of something; all sizes of it in each round, so that
//! their ratios are those of the same round.

pub(crate) mod series;

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::{COOKIE, HeaderName, HeaderValue};
use tokio::time::sleep;

use self::series::{Figure, Measure, Series};
use crate::client::{Client, Version};
use crate::load::ask::{Kept, Question};
use crate::load::{Outcome, SMALL};
use crate::machine::{Foreign, Moment};
use crate::peers::{PASSWORD, USER};
use crate::process;
use crate::record::{Writer, rounded};
use crate::sheet::{Header, Kind, Plan};
use crate::subject::{APP, Ground, Setup, Vestibule, on_disk, remove};

/// Connections that requests come over where something else is counted, and requests in flight.
const CONNECTIONS: usize = 64;

/// Requests in flight that are large: of more of them, most would be cut at the end of the time.
const LARGE_AT_ONCE: usize = 8;

/// Until it has given back what connections do not need while they idle.
const REST: Duration = Duration::from_millis(1500);

/// So many sessions are listed in each round.
const LISTED: u64 = 100_000;

const LOGIN: &str = "/.vestibule/login";

/// More than the defaults, for connections of one address.
const SERVER: &str = "max_connections = 12000\nmax_connections_per_address = 12000";

/// Of each user, in the files of many sessions, up to a thousand.
const USERS: usize = 1000;

struct Scale<'p> {
    plan: &'p Plan,
    ground: Ground,
    writer: Writer,
    round: u32,
    /// What the cookies of the sessions hold that were written into a file, by their number.
    written: Vec<(u64, Arc<Vec<String>>)>,
}

/// Measures until the end.
///
/// # Errors
/// Something does not work.
pub(crate) async fn run(plan: &Plan) -> io::Result<()> {
    let mut scale = Scale {
        plan,
        ground: Ground::new(&plan.program, plan.workers)?,
        writer: Writer::create(&plan.output, &Header::new(Kind::Scale, plan))?,
        round: 0,
        written: Vec::new(),
    };
    scale.write_sessions().await?;
    for round in 1..=plan.rounds {
        scale.round = round;
        for at in 0..scale.written.len() {
            scale.sessions(at).await?;
        }
        for series in [Series::Hosts, Series::Apps, Series::Rules] {
            for size in scale.sizes(series) {
                scale.many(series, size).await?;
            }
        }
        scale.sizes_of_requests().await?;
        for log in [0, 1] {
            scale.access_log(log).await?;
        }
        scale.connections().await?;
        sleep(REST).await; // the end of ten thousand connections is no part of what comes next
    }
    Ok(())
}

impl Scale<'_> {
    fn sizes(&self, series: Series) -> Vec<u64> {
        let most = match series {
            Series::Connections => self.plan.most_connections,
            Series::Head | Series::Response | Series::Upload => u64::MAX,
            _ => self.plan.most,
        };
        let sizes = series.sizes().iter().copied();
        sizes.filter(|size| *size <= most).collect()
    }

    /// Files of sessions, by the program's own code: as many logins would take an hour of hashing.
    async fn write_sessions(&mut self) -> io::Result<()> {
        for size in self.sizes(Series::Session) {
            let path = self.ground.folder.path().join(sessions_file(size));
            let count = usize::try_from(size).map_err(io::Error::other)?;
            let users = users();
            let store = vestibule::benchmark::Store::open(&path);
            let filled = store.fill(count, "localhost", &users, &self.ground.hash);
            let cookies = Arc::new(filled.await);
            store.close().await;
            eprintln!("written: a file of {size} sessions");
            self.written.push((size, cookies));
        }
        Ok(())
    }

    async fn connections(&mut self) -> io::Result<()> {
        let mut started = self.start(APP.to_owned(), None).await?;
        started.client.sign_in(LOGIN, USER, PASSWORD).await?;
        let (client, id) = (started.client(), started.running.id());
        let question = small(&client);
        sleep(REST * 2).await; // the login has taken memory for a moment
        let mut kept = Kept::default();
        for size in self.sizes(Series::Connections) {
            let moment = Moment::now();
            let count = usize::try_from(size).map_err(io::Error::other)?;
            kept = kept.grow(&client, count, question.clone()).await?;
            sleep(REST).await;
            let foreign = moment.until(&Moment::now());
            self.add(Series::Connections, Measure::Memory, size, mib(id), foreign)?;
            let question = question.clone();
            let (outcome, _) = kept
                .ask(CONNECTIONS, move |_| question(), id, self.plan.seconds)
                .await?;
            self.cpu(Series::Connections, size, &outcome)?;
        }
        Ok(())
    }

    async fn sessions(&mut self, at: usize) -> io::Result<()> {
        let (size, cookies) = self.written[at].clone();
        let moment = Moment::now();
        let setup = Setup {
            server: SERVER,
            log: false,
            store: on_disk(&sessions_file(size)),
            users: users(),
            apps: APP.to_owned(),
            host: None,
        };
        let mut started = self.ground.start(&setup).await?;
        let foreign = moment.until(&Moment::now());
        let id = started.running.id();
        self.add(
            Series::Session,
            Measure::Start,
            size,
            milliseconds(started.took),
            foreign,
        )?;
        started.client.sign_in_with(&cookie(&cookies[0]))?;
        let client = started.client();
        let question = small(&client);
        let kept = Kept::default();
        let kept = kept.grow(&client, CONNECTIONS, question.clone()).await?;
        self.add(Series::Session, Measure::Memory, size, mib(id), foreign)?;
        let one = {
            let question = question.clone();
            let asked = kept.ask(CONNECTIONS, move |_| question(), id, self.plan.seconds);
            asked.await?.0
        };
        self.cpu(Series::Session, size, &one)?;

        // Each request has the next session, in no order of their keys.
        let before = process::memory(id);
        let (count, stride, ended) = (cookies.len(), 7_368_787, self.round as usize);
        let each = move |nth: usize| {
            let place = nth.wrapping_mul(stride) % count;
            // Those of a user that an earlier round has ended make room for those of user0.
            let of = place % USERS;
            let place = if of <= ended { place - of } else { place };
            let text = cookie(&cookies[place]);
            let mut question = question();
            let value = HeaderValue::try_from(text).expect("a cookie");
            question.template = question.template.field(COOKIE, value);
            question
        };
        let (outcome, asked) = kept.ask(CONNECTIONS, each, id, self.plan.seconds).await?;
        self.cpu(Series::EachSession, size, &outcome)?;
        let opened = asked.min(count);
        if opened >= 5000 {
            let more = process::memory(id).saturating_sub(before);
            let each = float(more) / float(opened as u64);
            self.add(Series::EachSession, Measure::Each, size, each, foreign)?;
        }

        // A list of a million takes a while, and once is enough to see that it does.
        if size <= LISTED || self.round == 1 {
            let moment = Moment::now();
            let (shown, took) = started.command(&["session", "list"])?;
            let lines = String::from_utf8_lossy(&shown).lines().count();
            if lines < count / 2 {
                return Err(io::Error::other(format!("{lines} of {count} were listed")));
            }
            let foreign = moment.until(&Moment::now());
            self.add(
                Series::Session,
                Measure::List,
                size,
                milliseconds(took),
                foreign,
            )?;
        }
        // Another one in each round; user0 has the session that the requests came with.
        let user = format!("user{}", self.round);
        let (_, took) = started.command(&["session", "revoke", "--user", &user])?;
        self.add(
            Series::Session,
            Measure::End,
            size,
            milliseconds(took),
            foreign,
        )
    }

    /// Many hosts, apps or rules; the last one is asked for.
    async fn many(&mut self, series: Series, size: u64) -> io::Result<()> {
        let (mut apps, mut path, mut host) = (String::new(), SMALL.0.to_owned(), None);
        let last = size - 1;
        match series {
            Series::Hosts => {
                for n in 0..last {
                    let _ = write!(
                        apps,
                        "[[app]]\nhost = \"app{n}.test\"\nupstream = \"http://<app>\"\n"
                    );
                }
                apps.push_str("[[app]]\nhost = \"last.test\"\nupstream = \"http://<app>\"\n");
                host = Some("last.test");
            }
            Series::Apps => {
                for n in 0..size {
                    let _ = write!(
                        apps,
                        "[[app]]\nhost = \"localhost\"\npath = \"/app{n}\"\nstrip_path = true\nupstream = \"http://<app>\"\n"
                    );
                }
                path = format!("/app{last}{path}");
            }
            _ => {
                apps.push_str(APP);
                for n in 0..last {
                    let _ = write!(
                        apps,
                        "[[app.rule]]\npath = \"/part{n}/of\"\nallow = {{ users = [\"{USER}\"] }}\n"
                    );
                }
                let _ = write!(
                    apps,
                    "[[app.rule]]\npath = \"/bytes\"\nallow = {{ users = [\"{USER}\"] }}\n"
                );
            }
        }
        let moment = Moment::now();
        let mut started = self.start(apps, host).await?;
        let foreign = moment.until(&Moment::now());
        let id = started.running.id();
        self.add(
            series,
            Measure::Start,
            size,
            milliseconds(started.took),
            foreign,
        )?;
        // Before there is a login, which takes memory for a moment.
        self.add(series, Measure::Memory, size, mib(id), foreign)?;
        started.client.sign_in(LOGIN, USER, PASSWORD).await?;
        let client = started.client();
        let template = client.request(Version::Http1, Method::GET, &path);
        let question = move || Question {
            template: template.clone(),
            upload: 0,
            answer: SMALL.1,
        };
        let kept = Kept::default();
        let kept = kept.grow(&client, CONNECTIONS, question.clone()).await?;
        let (outcome, _) = kept
            .ask(CONNECTIONS, move |_| question(), id, self.plan.seconds)
            .await?;
        self.cpu(series, size, &outcome)
    }

    async fn sizes_of_requests(&mut self) -> io::Result<()> {
        let mut started = self.start(APP.to_owned(), None).await?;
        started.client.sign_in(LOGIN, USER, PASSWORD).await?;
        let (client, id) = (started.client(), started.running.id());
        let kept = Kept::default();
        let kept = kept.grow(&client, CONNECTIONS, small(&client)).await?;
        for series in [Series::Head, Series::Response, Series::Upload] {
            for size in self.sizes(series) {
                let question = sized(&client, series, size)?;
                let at_once = if size < 100_000 {
                    CONNECTIONS
                } else {
                    LARGE_AT_ONCE
                };
                let asked = kept.ask(at_once, move |_| question(), id, self.plan.seconds);
                let (outcome, _) = asked.await?;
                self.cpu(series, size, &outcome)?;
            }
        }
        Ok(())
    }

    async fn access_log(&mut self, log: u64) -> io::Result<()> {
        let setup = Setup {
            server: SERVER,
            log: log == 1,
            store: on_disk("sessions.redb"),
            users: Vec::new(),
            apps: APP.to_owned(),
            host: None,
        };
        let mut started = self.ground.start(&setup).await?;
        started.client.sign_in(LOGIN, USER, PASSWORD).await?;
        let (client, id) = (started.client(), started.running.id());
        let question = small(&client);
        let kept = Kept::default();
        let kept = kept.grow(&client, CONNECTIONS, question.clone()).await?;
        let (outcome, _) = kept
            .ask(CONNECTIONS, move |_| question(), id, self.plan.seconds)
            .await?;
        self.cpu(Series::AccessLog, log, &outcome)
    }

    /// One with an empty file of sessions.
    async fn start(&self, apps: String, host: Option<&'static str>) -> io::Result<Vestibule> {
        let sessions = "sessions.redb";
        remove(&self.ground.folder.path().join(sessions))?;
        let setup = Setup {
            server: SERVER,
            log: false,
            store: on_disk(sessions),
            users: Vec::new(),
            apps,
            host,
        };
        self.ground.start(&setup).await
    }

    fn cpu(&mut self, series: Series, size: u64, outcome: &Outcome) -> io::Result<()> {
        let each = outcome.cpu / outcome.count * 1e6;
        self.add(series, Measure::Cpu, size, each, outcome.foreign)
    }

    /// Writes it down, and says it.
    fn add(
        &mut self,
        series: Series,
        measure: Measure,
        size: u64,
        value: f64,
        foreign: Foreign,
    ) -> io::Result<()> {
        let figure = Figure {
            round: self.round,
            series,
            measure,
            size,
            value: rounded(value),
            noise: foreign.into(),
        };
        eprintln!(
            "{}/{}  {:28} {:>10}  {}",
            self.round,
            self.plan.rounds,
            series.title(),
            series.shown(size),
            measure.show(value)
        );
        self.writer.line(&figure)
    }
}

fn users() -> Vec<String> {
    (0..USERS).map(|n| format!("user{n}")).collect()
}

fn sessions_file(size: u64) -> String {
    format!("sessions-{size}.redb")
}

fn cookie(text: &str) -> String {
    format!("__Host-Http-vestibule={text}")
}

fn small(client: &Client) -> impl Fn() -> Question + Clone + Send + Sync + use<> {
    let template = client.request(Version::Http1, Method::GET, SMALL.0);
    move || Question {
        template: template.clone(),
        upload: 0,
        answer: SMALL.1,
    }
}

/// A request whose head, response or body has about so many bytes.
fn sized(
    client: &Client,
    series: Series,
    size: u64,
) -> io::Result<impl Fn() -> Question + Send + Sync + use<>> {
    let length = usize::try_from(size).map_err(io::Error::other)?;
    let (method, path, upload, answer) = match series {
        Series::Response => (Method::GET, format!("/bytes/{size}"), 0, length),
        Series::Upload => (
            Method::POST,
            "/sink".to_owned(),
            size,
            size.to_string().len(),
        ),
        _ => (Method::GET, SMALL.0.to_owned(), 0, SMALL.1),
    };
    let mut template = client.request(Version::Http1, method, &path);
    if series == Series::Head {
        let filling = HeaderValue::try_from("x".repeat(length)).map_err(io::Error::other)?;
        template = template.field(HeaderName::from_static("x-filling"), filling);
    }
    Ok(move || Question {
        template: template.clone(),
        upload,
        answer,
    })
}

fn mib(process: u32) -> f64 {
    float(process::memory(process)) / 1_048_576.0
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}
