//! Values of headers that are in files of their own.

use std::io;

use super::Finding;
use super::permission::Perspective;
use crate::proxy::AppSettings;
use crate::proxy::headers::{SecretHeader, SecretHeaderError};

pub(super) fn examine(apps: &[AppSettings], perspective: Perspective) -> Vec<Finding> {
    let headers = apps.iter().flat_map(|app| &app.request_headers.set_file);
    let found = headers.filter_map(|header| {
        let error = header.read().err()?;
        Some(finding(header, &error, perspective).at(header.line))
    });
    found.collect()
}

fn finding(header: &SecretHeader, error: &SecretHeaderError, perspective: Perspective) -> Finding {
    let subject = error.path().display().to_string();
    match error {
        SecretHeaderError::Unreadable(_, error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) && header.may_be_credential
                && perspective == Perspective::Person =>
        {
            Finding::warning(
                subject,
                "you do not see it",
                "the unit of the service has to hand it over with LoadCredential=",
            )
        }
        error => Finding::error(subject, error.message(), error.fix()),
    }
}
