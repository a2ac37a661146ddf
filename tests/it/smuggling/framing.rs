//! What says where a body ends: SEC-01 to SEC-03.

use super::*;

fn post(fields: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n0\r\n\r\n{SMUGGLED}").into_bytes()
}

#[tokio::test]
async fn sec_01_content_length_with_transfer_encoding_is_refused() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "transfer-encoding: CHUNKED\r\nX: 1\r\ncontent-length: 48\r\n",
    ] {
        assert_eq!(
            assert_refused(&gate, &app, &post(fields)).await,
            400,
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn sec_02_a_content_length_is_one_number() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for value in [
        "+5",
        "-1",
        "0x5",
        "1 0",
        "",
        " ",
        "5,6",
        "5, 5",
        "5;",
        "5.0",
        "1e1",
        "five",
        "\"5\"",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        let attack = post(&format!("Content-Length: {value}\r\n"));
        assert_eq!(assert_refused(&gate, &app, &attack).await, 400, "{value:?}");
    }
    for fields in [
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nX: 1\r\ncontent-length: 0\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
    ] {
        assert_eq!(
            assert_refused(&gate, &app, &post(fields)).await,
            400,
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn sec_03_a_transfer_encoding_is_chunked_once() {
    let app = Upstream::echo().await;
    let gate = open_gate(&app).await;
    for value in [
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "\"chunked\"",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "",
        "chunked,",
        ",chunked",
        "\x0bchunked",
        "chunked\x0b",
        "chunked \x0c",
        "chun ked",
        "cow",
    ] {
        let attack = post(&format!("Transfer-Encoding: {value}\r\n"));
        let status = assert_refused(&gate, &app, &attack).await;
        assert!([400, 501].contains(&status), "{value:?}: {status}");
    }
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n",
        "Transfer-Encoding: identity\r\ntransfer-encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\n : x\r\n",
        "Transfer-Encoding:\n chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    ] {
        assert_refused(&gate, &app, &post(fields)).await;
    }
    let mut raw = gate.raw().await;
    raw.send("POST / HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding:  cHuNkEd \r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    raw.response().await.assert_status(200);
    let last = app.last();
    assert_eq!(last.value("transfer-encoding"), Some("chunked"));
    assert_eq!((last.body.as_slice(), last.complete), (&b"hello"[..], true));
}
