//! A WebSocket client through the gate.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::tls::{self, HOST};
use super::within;

/// An open WebSocket.
pub(crate) struct WebSocket(WebSocketStream<TlsStream<TcpStream>>);

/// Opens one with these further headers; the error is the status that came instead of 101.
pub(crate) async fn open_websocket(
    stream: TcpStream,
    target: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocket, u16> {
    open_websocket_of(HOST, stream, target, headers).await
}

/// The same at another host.
pub(crate) async fn open_websocket_of(
    host: &str,
    stream: TcpStream,
    target: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocket, u16> {
    let stream = tls::connect(stream, host, &["http/1.1"]).await.unwrap();
    let mut request = format!("wss://{host}{target}")
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let opened = Box::pin(tokio_tungstenite::client_async(request, stream));
    match within("a WebSocket", opened).await {
        Ok((socket, _)) => Ok(WebSocket(socket)),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("no WebSocket: {error}"),
    }
}

impl WebSocket {
    /// Sends a text, and gives the text that comes back.
    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.next().await
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next text.
    pub(crate) async fn next(&mut self) -> String {
        match within("a message", self.0.next()).await {
            Some(Ok(message)) => message.into_text().unwrap().to_string(),
            other => panic!("no message but {other:?}"),
        }
    }

    /// Sends a binary message, and gives what comes back.
    pub(crate) async fn ask_binary(&mut self, data: Vec<u8>) -> Vec<u8> {
        self.0.send(Message::binary(data)).await.unwrap();
        match within("a message", self.0.next()).await {
            Some(Ok(message)) => message.into_data().to_vec(),
            other => panic!("no message but {other:?}"),
        }
    }

    /// Waits for the end; gives the code of the close frame, if there was one.
    pub(crate) async fn closed(mut self) -> Option<u16> {
        within("the end of a WebSocket", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(frame))) => {
                        return frame.map(|CloseFrame { code, .. }| code.into());
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        })
        .await
    }

    /// Says goodbye properly.
    pub(crate) async fn close(mut self) {
        self.0.close(None).await.unwrap();
        while let Some(Ok(_)) = self.0.next().await {}
    }
}
