//! The fixtures of `tests/it/config` and `config.example.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use super::Config;
use crate::access;
use crate::admin::PathSetting;
use crate::redis::Servers;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = top().join("tests/it/config").join(folder);
    let mut files: Vec<_> = (fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Place, message and help of each problem, without the lines of the file in between.
fn report(text: &str) -> Vec<String> {
    let report = match Config::parse(text, Path::new("x.toml")) {
        Ok(_) => return vec!["ok".to_owned()],
        Err(error) => error.to_string(),
    };
    let mut lines: Vec<_> = report
        .lines()
        .filter_map(|line| {
            let place = line.strip_prefix("x.toml:").map(str::trim_start);
            place.or_else(|| {
                line.strip_prefix("      ")
                    .filter(|rest| rest.starts_with("help: "))
            })
        })
        .map(str::to_owned)
        .collect();
    lines.pop(); // how many problems there are
    lines
}

#[test]
fn rel_06_the_unit_leaves_room_for_what_the_defaults_may_take() {
    const UNIT: &str = include_str!("../../packaging/vestibule.service");
    let limit = UNIT
        .lines()
        .find_map(|line| line.strip_prefix("MemoryMax="));
    let limit: u64 = limit.unwrap().strip_suffix('M').unwrap().parse().unwrap();
    let smallest = top().join("tests/it/config/valid/smallest.toml");
    let config = Config::load(&smallest).unwrap();
    let mib = |hashing: u64| config.memory_ceiling(hashing << 20, 0).total() >> 20;
    assert_eq!((mib(19), mib(2 * 256)), (903, 1396), "as the unit says");
    assert!(mib(2 * 256) * 105 / 100 < limit, "{limit}");
}

#[test]
fn valid_files_are_taken() {
    for file in fixtures("valid") {
        let problems = report(&fs::read_to_string(&file).unwrap());
        assert_eq!(problems, ["ok"], "{}", file.display());
    }
}

/// The comment at the head of each file is everything that is reported about it, no more.
#[test]
fn sec_80_invalid_files_are_refused_with_everything_that_is_wrong() {
    for file in fixtures("invalid") {
        let text = fs::read_to_string(&file).unwrap();
        let expected: Vec<_> = (text.lines())
            .map_while(|line| line.strip_prefix("# "))
            .collect();
        assert!(!expected.is_empty(), "{} expects nothing", file.display());
        assert_eq!(report(&text), expected, "{}", file.display());
    }
}

const MINIMUM: &str = "[tls]\ncert = \"c\"\nkey = \"k\"\n[[app]]\nupstream = \"http://a:1\"\n";

fn parsed(text: &str) -> Config {
    match Config::parse(text, Path::new("/etc/vestibule/config.toml")) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

fn every_key() -> Config {
    parsed(&fs::read_to_string(top().join("tests/it/config/valid/every-key.toml")).unwrap())
}

#[test]
fn sec_79_a_key_in_place_of_a_path_is_not_repeated() {
    let pem = "-----BEGIN PRIVATE KEY-----\\\\nMIGHAgEA\\\\n-----END PRIVATE KEY-----";
    let problems = report(&MINIMUM.replace("\"k\"", &format!("\"{pem}\"")));
    let expected = [
        "3:7: [tls] key: this is PEM, not the path of a file",
        "help: put it into a file that nobody else can read, and write its path here",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_store_is_named_by_the_schemes_of_redis_and_of_valkey() {
    for (url, address) in [
        ("redis://cache", "redis://cache:6379"),
        ("valkey://cache:7000", "redis://cache:7000"),
        ("rediss://cache", "rediss://cache:6379"),
        ("valkeys://cache", "rediss://cache:6379"),
        ("unix:/run/valkey.sock", "unix:/run/valkey.sock"),
    ] {
        let session = "[session]\nstore = \"redis\"\n[session.redis]\nkey_file = \"redis.key\"\n";
        let config = parsed(&format!("{session}url = \"{url}\"\n{MINIMUM}"));
        let settings = config.session.backend.shared().unwrap();
        let Servers::One(found) = &settings.servers else {
            panic!("{url}: {:?}", settings.servers);
        };
        assert_eq!(found.to_string(), address, "{url}");
    }
}

#[test]
fn paths_start_from_the_folder_of_the_file() {
    let config = every_key();
    assert_eq!(
        config.after_logout.as_ref().unwrap(),
        "https://wiki.example.org/goodbye?a=1#b"
    );
    let shown = |path: &Path| path.display().to_string();
    let in_folder = |name: &str| format!("/etc/vestibule/{name}");
    assert_eq!(
        shown(config.users.file().unwrap()),
        in_folder("people/users.toml")
    );
    assert_eq!(
        config.branding.logo.as_deref().map(shown),
        Some(in_folder("logo.SVG"))
    );
    assert_eq!(
        config.apps[0].upstream.ca.as_deref().map(shown),
        Some(in_folder("ca.pem"))
    );
    let pairs: Vec<_> = (config.tls.certificates.iter())
        .map(|pair| (shown(&pair.cert), shown(&pair.key)))
        .collect();
    let expected = [
        (in_folder("cert.pem"), "/run/key.pem".to_owned()),
        (in_folder("git.pem"), in_folder("git.key")),
    ];
    assert_eq!(pairs, expected);
    let here = Config::parse(MINIMUM, Path::new("config.toml")).unwrap();
    assert_eq!(shown(here.users.file().unwrap()), "users.toml");
}

#[test]
fn the_admin_socket_is_wanted_where_somebody_names_it() {
    let socket = |section: &str| parsed(&format!("{MINIMUM}{section}")).admin;
    let default = || PathSetting::Default("/run/vestibule/admin.sock".into());
    assert_eq!(socket(""), default());
    assert_eq!(socket("[admin]"), default());
    assert_eq!(socket("[admin]\nsocket = \"\""), PathSetting::Off);
    assert_eq!(
        socket("[admin]\nsocket = \"admin.sock\""),
        PathSetting::Configured("/etc/vestibule/admin.sock".into())
    );
    assert_eq!(
        socket("[admin]\nsocket = \"/run/vestibule/admin.sock\""),
        PathSetting::Configured("/run/vestibule/admin.sock".into())
    );
}

#[test]
fn durations_and_sizes_mean_what_their_units_say() {
    let config = every_key();
    let millis = |duration: std::time::Duration| duration.as_millis();
    assert_eq!(millis(config.timeouts.handshake), 500);
    assert_eq!(millis(config.timeouts.headers), 1000);
    assert_eq!(millis(config.timeouts.body_idle), 120_000);
    assert_eq!(millis(config.timeouts.keep_alive), 3_600_000);
    assert_eq!(millis(config.timeouts.write), 86_400_000);
    assert_eq!(millis(config.drain_timeout), 0);
    assert_eq!(config.limits.head, 16_384);
    assert_eq!(config.limits.target, 4000);
    assert_eq!(config.limits.cookie, 1_048_576);
    assert_eq!(config.kept_forms, 2_097_152);
    assert_eq!(config.listener.limits.max_per_address, 16);
}

#[test]
fn an_app_is_read_as_it_stands() {
    let config = every_key();
    let [wiki, files, git] = config.apps.as_slice() else {
        panic!("{:?}", config.apps)
    };
    assert_eq!(files.name, "wiki.example.org/files");
    assert_eq!(files.part.path(), "/files/");
    assert_eq!(files.part.stripped(), Some("/files"));
    assert_eq!(wiki.name, "wiki");
    assert_eq!(
        wiki.hosts.to_string(),
        "wiki.example.org, *.wiki.example.org"
    );
    assert_eq!(
        format!("{:?}", wiki.upstream.addresses),
        r#"[Https { host: "wiki.internal", port: 443 }, Http { host: "::1", port: 3000 }, Unix("/run/wiki.sock")]"#
    );
    assert_eq!(
        wiki.websocket_origins.others,
        ["https://other.example.org", "http://127.0.0.1:8080"]
    );
    assert!(wiki.websocket_origins.absent && !git.websocket_origins.absent);
    let paths: Vec<_> = wiki.rules.iter().map(access::Rule::path).collect();
    assert_eq!(paths, ["/saml/acs", "/public", "/public", "/a%2Fb", "/"]);
    let origins: Vec<_> = wiki
        .rules
        .iter()
        .map(access::Rule::cross_site_posts)
        .collect();
    let expected = ["https://idp.example.org", "http://127.0.0.1:8080"];
    assert_eq!(origins.concat(), expected);
    assert_eq!(git.name, "git.example.org");
    assert!(git.identity.names().next().is_none());
}

#[test]
fn names_and_titles_that_are_left_out_come_from_the_app() {
    let other = "[[app]]\nhost = \"git\"\nupstream = \"http://b:1\"\n";
    let hosted = MINIMUM.replace("[[app]]", "[[app]]\nhost = \"wiki\"");
    for (text, name, title) in [
        (MINIMUM.to_owned(), "app", "app"),
        (hosted.clone(), "wiki", "wiki"),
        (format!("{hosted}{other}"), "wiki", "Vestibule"),
        (
            MINIMUM.replace("[[app]]", "[[app]]\ntitle = \"W\""),
            "app",
            "W",
        ),
        (format!("[login]\ntitle = \"T\"\n{MINIMUM}"), "app", "T"),
    ] {
        let config = parsed(&text);
        assert_eq!(config.apps[0].name, name, "{text}");
        assert_eq!(config.branding.title, title, "{text}");
    }
}

#[test]
fn a_file_that_breaks_off_or_holds_odd_characters_is_an_error_and_no_panic() {
    let text = fs::read_to_string(top().join("tests/it/config/valid/every-key.toml")).unwrap();
    for (at, c) in text.char_indices() {
        report(&text[..at]);
        for odd in ["é*", "\u{1b}\u{2028}", "\"", "%"] {
            report(&format!(
                "{}{odd}{}",
                &text[..at],
                &text[at + c.len_utf8()..]
            ));
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nowhere/config.toml")).unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.starts_with("/nowhere/config.toml: cannot read this file: "),
        "{shown}"
    );
}

/// The lines of the example, each with its section; with the defaults, as if the `#` before them
/// were taken away, or with everything that looks like a key or header.
fn example(everything: bool) -> Vec<(String, String)> {
    let text = fs::read_to_string(top().join("config.example.toml")).unwrap();
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let plain = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
        let prose = line.strip_prefix("# ").filter(|_| everything);
        let line = plain.or(prose).unwrap_or(line);
        if line.starts_with('[') && line.ends_with(']') {
            section = line.trim_matches(['[', ']']).to_owned();
        }
        lines.push((section.clone(), line.to_owned()));
    }
    lines
}

/// Everything but whether the admin socket was named, and on which lines things are.
fn settings(mut config: Config) -> String {
    if let PathSetting::Configured(path) = config.admin {
        config.admin = PathSetting::Default(path);
    }
    config.lines = super::Lines::default();
    for app in &mut config.apps {
        app.line = 0;
    }
    for pair in &mut config.tls.certificates {
        pair.line = 0;
    }
    format!("{config:#?}")
}

#[test]
fn every_default_in_the_example_is_the_real_one() {
    let smallest = fs::read_to_string(top().join("tests/it/config/valid/smallest.toml")).unwrap();
    let as_it_stands = fs::read_to_string(top().join("config.example.toml")).unwrap();
    let lines: Vec<_> = example(false).into_iter().map(|(_, line)| line).collect();
    let uncommented = lines.join("\n");
    assert!(uncommented.contains("\nmax_connections = 10000\n"));
    assert_eq!(settings(parsed(&as_it_stands)), settings(parsed(&smallest)));
    assert_eq!(settings(parsed(&uncommented)), settings(parsed(&smallest)));
}

#[test]
fn the_example_explains_every_key() {
    // A key that nothing resembles makes each section list its keys.
    let odd = "0123456789 = 1\n";
    let mut text = odd.to_owned();
    let sections = [
        "[server]",
        "[server.timeouts]",
        "[server.limits]",
        "[tls]",
        "[[tls.extra]]",
        "[session]\nstore = \"redis\"",
        "[session.redis]",
        "[session.redis.sentinel]",
        "[login]",
        "[login.throttle]",
        "[admin]",
        "[log]",
        "[[app]]",
        "[app.request_headers]",
        "[app.response_headers]",
        "[[app.rule]]",
    ];
    for section in sections {
        text.extend([section, "\n", odd]);
    }
    let report = report(&text);
    let explained = example(true);
    let mut checked = 0;
    for (problem, help) in report.iter().zip(&report[1..]) {
        let Some((place, _)) = problem.split_once("unknown key") else {
            continue;
        };
        let section = place.split_once(": ").unwrap().1.trim_end_matches(": ");
        let section = section.trim_matches(['[', ']']);
        for key in help.split('`').skip(1).step_by(2) {
            let nested = format!("{section}.{key}");
            let nested = nested.trim_start_matches('.');
            let stands = |(at, line): &(String, String)| {
                at == nested || (at == section && line.starts_with(&format!("{key} = ")))
            };
            assert!(explained.iter().any(stands), "{key} of [{section}]");
            checked += 1;
        }
    }
    assert!(checked > 60, "only {checked} keys were found");
}
