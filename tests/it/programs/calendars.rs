//! Calendars on a phone and on a computer.

use super::*;

/// A phone, by the library of Python: makes the calendar if there is none, adds an event, and tells
/// all events.
const PHONE: &str = "
import sys, caldav
url, user, password, ca, event = sys.argv[1:]
if user:
    client = caldav.DAVClient(url, username=user, password=password, ssl_verify_cert=ca)
else:
    fields = {'Authorization': 'Bearer ' + password}
    client = caldav.DAVClient(url, headers=fields, ssl_verify_cert=ca)
me = client.principal()
found = [calendar for calendar in me.calendars() if str(calendar.url).endswith('/work/')]
work = found[0] if found else me.make_calendar(name='Work', cal_id='work')
work.save_event(open(event).read())
print(sorted(str(one.icalendar_component['summary']) for one in work.events()))
";

fn event(n: u32, summary: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:{n}\r\n\
         DTSTAMP:20260101T000000Z\r\nDTSTART:2026010{n}T100000Z\r\nSUMMARY:{summary}\r\n\
         END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

/// The settings of vdirsyncer.
fn settings(gate: &Gate, password: &str) -> String {
    format!(
        "[general]\nstatus_path = \"~/.status/\"\n\
         [pair calendars]\na = \"here\"\nb = \"there\"\ncollections = [\"work\"]\n\
         [storage here]\ntype = \"filesystem\"\npath = \"~/calendars/\"\nfileext = \".ics\"\n\
         [storage there]\ntype = \"caldav\"\nurl = \"{}/ada/\"\nusername = \"ada\"\n\
         password = \"{password}\"\nverify = \"{}\"\n",
        origin(gate),
        gate.certificate()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn calendars_of_a_phone_and_of_a_computer_are_the_same() {
    let Some(radicale) = real::find("radicale") else {
        return;
    };
    let (Some(python), Some(vdirsyncer)) = (real::find("python3"), real::find("vdirsyncer")) else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let mut command = Command::new(radicale);
    command
        .args(["--server-hosts", &address.to_string()])
        .args(["--auth-type", "http_x_remote_user"])
        .arg("--storage-filesystem-folder")
        .arg(folder.path().join("data"));
    let app = real::App::start(command, address, folder).await;
    let gate = before(&app.url()).app("[app.identity]\n\"X-Remote-User\" = \"{user}\"");
    let mut gate = gate.start().await;
    let of_phone = token(&mut gate, &["--name", "phone"]);
    let of_computer = token(&mut gate, &["--name", "computer"]);
    let (phone, computer) = (Home::of(&gate), Home::of(&gate));
    let (url, ca) = (format!("{}/", origin(&gate)), gate.certificate());
    let add = async |user: &str, secret: &str, n: u32, summary: &str| {
        phone.write("event", event(n, summary));
        let args = ["-c", PHONE, &url, user, secret, &ca, "event"];
        phone.run(&python, &args).await
    };
    let (done, said) = add("ada", &of_phone, 1, "Breakfast").await;
    if said.contains("No module named") {
        return real::missing("caldav, a package of Python,");
    }
    assert!(done && said.contains("['Breakfast']\n"), "{said}");

    computer.write(".config/vdirsyncer/config", settings(&gate, &of_computer));
    let yes = format!("yes | {} discover", vdirsyncer.display());
    computer.done(Path::new("/bin/sh"), &["-c", &yes]).await;
    let sync = async || computer.run(&vdirsyncer, &["sync"]).await;
    let (done, said) = sync().await;
    assert!(done, "{said}");
    let files = || {
        fs::read_dir(computer.path("calendars/work"))
            .unwrap()
            .flatten()
    };
    let texts = files().map(|file| fs::read_to_string(file.path()).unwrap());
    assert!(texts.collect::<String>().contains("SUMMARY:Breakfast"));

    computer.write("calendars/work/2.ics", event(2, "Lunch"));
    let (done, said) = sync().await;
    assert!(done, "{said}");
    let (done, said) = add("", &of_phone, 3, "Dinner").await;
    let all = "['Breakfast', 'Dinner', 'Lunch']";
    assert!(done && said.contains(all), "{said}");

    // A phone that was lost.
    let tokens = command_done(&mut gate, &["token", "list"]);
    let mut lines = tokens.lines();
    let lost = lines.find(|line| line.contains(" phone ")).unwrap();
    command_done(&mut gate, &["token", "revoke", &lost[..8]]);
    let (done, said) = add("ada", &of_phone, 4, "Theft").await;
    assert!(!done && said.contains("AuthorizationError"), "{said}");
    let (done, said) = sync().await;
    assert!(done, "{said}");
    assert_eq!(files().count(), 3);
}
