//! Transfers: one after the other on each connection, counted byte by byte.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::BodyExt;
use hyper::{Method, StatusCode};

use super::Tasks;
use crate::body::Bulk;
use crate::client::{Client, Connection, Template, Version};

pub(super) async fn down(
    tasks: &mut Tasks,
    bytes: &Arc<AtomicU64>,
    client: &Client,
    version: Version,
    connections: usize,
    size: u64,
) -> io::Result<()> {
    let template = client.request(version, Method::GET, &format!("/bytes/{size}"));
    for _ in 0..connections {
        let mut connection = client.connect(version).await?;
        let (template, bytes) = (template.clone(), Arc::clone(bytes));
        tasks.spawn(async move {
            loop {
                download(&mut connection, &template, &bytes, size).await?;
            }
        });
    }
    Ok(())
}

async fn download(
    connection: &mut Connection,
    template: &Template,
    bytes: &AtomicU64,
    size: u64,
) -> io::Result<()> {
    let response = connection.send(template, Bulk::empty()).await?;
    let (status, mut body) = (response.status(), response.into_body());
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        let read = frame.data_ref().map_or(0, |data| data.len() as u64);
        bytes.fetch_add(read, Ordering::Relaxed);
        length += read;
    }
    if status != StatusCode::OK || length != size {
        return Err(io::Error::other(format!(
            "answered {status} with {length} bytes"
        )));
    }
    Ok(())
}

pub(super) async fn up(
    tasks: &mut Tasks,
    bytes: &Arc<AtomicU64>,
    client: &Client,
    version: Version,
    connections: usize,
    size: u64,
) -> io::Result<()> {
    let template = client.request(version, Method::POST, "/sink");
    for _ in 0..connections {
        let mut connection = client.connect(version).await?;
        let (template, bytes) = (template.clone(), Arc::clone(bytes));
        tasks.spawn(async move {
            loop {
                let body = Bulk::counted(size, Arc::clone(&bytes));
                let response = connection.send(&template, body).await?;
                let status = response.status();
                let answer = response
                    .into_body()
                    .collect()
                    .await
                    .map_err(io::Error::other)?;
                if answer.to_bytes() != size.to_string() {
                    return Err(io::Error::other(format!(
                        "answered {status}, not all bytes came"
                    )));
                }
            }
        });
    }
    Ok(())
}
