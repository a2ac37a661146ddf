//! What of an application's response the browser gets.

pub(crate) mod far_reaching;
pub(super) mod hsts;
pub(super) mod rewrite;

use http::HeaderMap;

use super::app::App;
use super::live::Permitted;
use super::{Proxy, private};
use crate::session::ChangeError;
use crate::session::cookie;
use crate::session::data::DataChange;

impl Proxy {
    /// Takes out of an application's response what is not for the browser, and puts in what is.
    pub(super) async fn clean(
        &self,
        app: &App,
        headers: &mut HeaderMap,
        public: bool,
        permitted: &Permitted,
    ) {
        let dropped = cookie::drop_ours(headers);
        if dropped > 0 {
            tracing::warn!(
                app = &*app.name,
                dropped,
                "the application tried to set our cookie"
            );
        }
        let change = DataChange::take(headers);
        let session = permitted.session.as_deref();
        if let (true, Some(change), Some(session)) = (app.session_data, change, session) {
            let kept = match change {
                Ok(change) => self.sessions.change_data(session, &app.name, change).await,
                Err(error) => Err(ChangeError::Data(error)),
            };
            if let Err(error) = kept {
                tracing::warn!(
                    app = &*app.name,
                    ?error,
                    "session data of an answer was not kept"
                );
            }
        }
        app.far_reaching.drop_from(headers, &app.name);
        app.rewriter.rewrite(headers, &permitted.authority);
        if let Some(changes) = &permitted.changes {
            changes.apply(headers);
        }
        if !public {
            private::keep_private(headers);
        }
    }
}
