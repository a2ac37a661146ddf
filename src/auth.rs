//! Verifies passwords.
