//! Why the service does not start with a pair.

use std::io;
use std::path::Path;

use super::super::Finding;
use super::super::permission::Perspective;
use crate::tls::{CertificateFiles, TlsError};

pub(super) fn unusable(
    problem: &TlsError,
    files: &CertificateFiles,
    perspective: Perspective,
) -> Finding {
    let path = problem.path().unwrap_or(&files.cert).display().to_string();
    match problem {
        TlsError::Unreadable(_, error)
            if error.kind() == io::ErrorKind::PermissionDenied
                && files.may_be_credentials
                && perspective == Perspective::Person =>
        {
            Finding::warning(
                path,
                "you may not read it",
                "check as root; the unit of the service has to hand it over with LoadCredential=",
            )
        }
        TlsError::Unreadable(file, error) => Finding::error(
            path,
            unreadable(error, perspective),
            readable(file, problem, error, perspective),
        ),
        _ => Finding::error(path, problem.message(), problem.fix()),
    }
}

fn unreadable(error: &io::Error, perspective: Perspective) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => format!("{perspective} may not read it"),
        _ => format!("it cannot be read: {error}"),
    }
}

fn readable(
    path: &Path,
    problem: &TlsError,
    error: &io::Error,
    perspective: Perspective,
) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => perspective.to_own(path),
        _ => problem.fix(),
    }
}
