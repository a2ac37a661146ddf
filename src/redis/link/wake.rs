//! Messages of channels, which only wake.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::connect::open_pub_sub;
use super::node::Pause;
use super::{Generation, Shared};
use crate::redis::{Address, Settings};

/// After so long without a message, the server is asked whether it is there.
const QUIET: Duration = Duration::from_secs(5);

/// Passes on what comes, until nobody listens or the link is gone.
pub(super) async fn keep(shared: Weak<Shared>, channel: String, wake: mpsc::Sender<()>) {
    let mut pause = Pause::default();
    while let Some(link) = shared.upgrade().filter(|_| !wake.is_closed()) {
        let routes = link.routes.load_full();
        let mut members = routes.members.iter();
        let connection = members.find_map(|member| member.node.current());
        let (settings, generation) = (Arc::clone(&link.settings), link.generation.subscribe());
        drop((link, routes)); // not to keep it
        if let Some(connection) = connection {
            let address = connection.address.clone();
            drop(connection);
            if listen(&settings, &address, &channel, &wake, generation).await {
                pause = Pause::default();
            }
        }
        tokio::select! {
            () = pause.wait() => {}
            () = wake.closed() => return,
        }
    }
}

/// Gives whether there was a subscription. It ends with the connection, and when other servers have
/// taken the place of these.
async fn listen(
    settings: &Settings,
    address: &Address,
    channel: &str,
    wake: &mpsc::Sender<()>,
    mut generation: watch::Receiver<Generation>,
) -> bool {
    let Ok(pub_sub) = open_pub_sub(settings, address).await else {
        return false;
    };
    let (mut sink, mut messages) = pub_sub.split();
    let subscribed = timeout(settings.timeout, sink.subscribe(channel)).await;
    if !matches!(subscribed, Ok(Ok(()))) {
        return false;
    }
    // Something may have come before. One that was not heard yet is enough.
    let _ = wake.try_send(());
    let run_id = generation.borrow_and_update().run_id.clone();
    let mut replaced = std::pin::pin!(async {
        let _ = generation
            .wait_for(|generation| generation.run_id != run_id)
            .await;
    });
    loop {
        tokio::select! {
            () = wake.closed() => return true,
            () = &mut replaced => return true,
            message = timeout(QUIET, messages.next()) => match message {
                Ok(Some(_)) => {
                    let _ = wake.try_send(());
                }
                Ok(None) => return true,
                Err(_) => {
                    let ping = timeout(settings.timeout, sink.ping::<::redis::Value>()).await;
                    if !matches!(ping, Ok(Ok(_))) {
                        return true;
                    }
                }
            },
        }
    }
}
