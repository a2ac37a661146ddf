//! As much of RESP2 as it takes to ask a server something.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a server anywhere answers, each part on a line of its own; `None` where it does not.
pub(crate) fn ask_at(address: SocketAddr, words: &[&str]) -> Option<String> {
    let patience = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    send(&mut stream, words);
    receive(&mut BufReader::new(stream))
}

pub(super) fn send(stream: &mut TcpStream, words: &[&str]) {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        write!(text, "${}\r\n{word}\r\n", word.len()).unwrap();
    }
    let _ = stream.write_all(text.as_bytes());
}

/// One answer of RESP2.
pub(super) fn receive(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|length| *length > 0)?;
    let (kind, rest) = line.trim_end().split_at_checked(1)?;
    let length = || rest.parse::<usize>().unwrap_or(0);
    Some(match kind {
        "$" if rest == "-1" => "nil\n".to_owned(),
        "$" => {
            let mut bytes = vec![0; length() + 2];
            reader.read_exact(&mut bytes).ok()?;
            bytes.truncate(length());
            String::from_utf8_lossy(&bytes).into_owned() + "\n"
        }
        "*" => {
            let parts = (0..length()).map(|_| receive(reader));
            parts.collect::<Option<String>>()?
        }
        "-" => format!("-{rest}\n"),
        _ => format!("{rest}\n"),
    })
}
