//! Keys that take turns: one is published before it signs, and after it has signed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::KeysError;
use super::key::{Key, NoKey};
use crate::clock::Timestamp;
use crate::regular_file::{self, Owners};

/// How long a key signs. It is published for as long before and after that, which is far longer than
/// a token is good for, and than anybody may keep what is published.
pub(super) const TURN: Duration = Duration::from_hours(30 * 24);

/// What is further ahead than this, the clock was wrong about: it would sign for ever.
const AHEAD: Duration = Duration::from_hours(24);

const VERSION: u32 = 1;

/// The key that signs, and those around it.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    /// When `current` began to sign.
    pub(super) since: Timestamp,
    pub(super) next: Arc<Key>,
    pub(super) current: Arc<Key>,
    pub(super) previous: Option<Arc<Key>>,
}

/// The same as the file has it: PKCS #8 in Base64.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    version: u32,
    since: Timestamp,
    next: &'a str,
    current: &'a str,
    previous: Option<&'a str>,
}

impl Ring {
    pub(super) fn new(now: Timestamp) -> Result<Self, NoKey> {
        Ok(Self {
            since: now,
            next: Arc::new(Key::generate()?),
            current: Arc::new(Key::generate()?),
            previous: None,
        })
    }

    /// The next turn.
    pub(super) fn turned(&self, now: Timestamp) -> Result<Self, NoKey> {
        Ok(Self {
            since: now,
            next: Arc::new(Key::generate()?),
            current: Arc::clone(&self.next),
            previous: Some(Arc::clone(&self.current)),
        })
    }

    /// When the next turn is due.
    pub(super) fn due(&self, now: Timestamp) -> Timestamp {
        let since = if self.since.since(now) > AHEAD {
            now
        } else {
            self.since
        };
        since.plus(TURN)
    }

    /// As they are published.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        let keys = [&self.next, &self.current]
            .into_iter()
            .chain(&self.previous);
        keys.map(Arc::as_ref)
    }

    /// From the file; `None` where there is none.
    pub(super) fn read_trusted(path: &Path) -> Result<Option<Self>, KeysError> {
        regular_file::trust(path, &Owners::own()).map_err(KeysError::Untrusted)?;
        Self::read(path)
    }

    /// The same, whoever it belongs to.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, KeysError> {
        let cannot = |error| KeysError::Io(path.to_owned(), error);
        let file = match regular_file::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot(error)),
        };
        let mode = file.metadata().map_err(cannot)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeysError::TooOpen(path.to_owned(), mode));
        }
        let content = Zeroizing::new(regular_file::read(&file).map_err(cannot)?);
        let ring = Self::decode(&content);
        ring.map(Some)
            .ok_or_else(|| KeysError::Damaged(path.to_owned()))
    }

    /// Makes the file, unless somebody else has just made it: then it is theirs that counts.
    pub(super) fn make(path: &Path, now: Timestamp) -> Result<Self, KeysError> {
        let ring = Self::new(now).map_err(|NoKey| KeysError::NoRandomness)?;
        match regular_file::create(path, &ring.encode()?) {
            Ok(()) => Ok(ring),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let theirs = Self::read_trusted(path)?;
                theirs.ok_or_else(|| KeysError::Io(path.to_owned(), error))
            }
            Err(error) => Err(KeysError::Io(path.to_owned(), error)),
        }
    }

    /// Replaces the file.
    pub(super) fn write(&self, path: &Path) -> Result<(), KeysError> {
        let cannot = |error| KeysError::Io(path.to_owned(), error);
        // Not where somebody has moved it away: there is no telling what they want to have instead.
        fs::metadata(path).map_err(cannot)?;
        regular_file::replace(path, &self.encode()?).map_err(cannot)
    }

    /// Replaces the file, or makes it.
    pub(super) fn keep(&self, path: &Path) -> Result<(), KeysError> {
        match self.write(path) {
            Err(KeysError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                let created = regular_file::create(path, &self.encode()?);
                created.map_err(|error| KeysError::Io(path.to_owned(), error))
            }
            written => written,
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        let ids = |ring: &Self| {
            ring.keys()
                .map(|key| key.id().to_owned())
                .collect::<Vec<_>>()
        };
        self.since == other.since && ids(self) == ids(other)
    }

    pub(super) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let encode = |key: &Key| {
            let key = key.to_pkcs8().map_err(|NoKey| KeysError::NoRandomness)?;
            Ok::<_, KeysError>(Zeroizing::new(STANDARD.encode(&*key)))
        };
        let (next, current) = (encode(&self.next)?, encode(&self.current)?);
        let previous = self.previous.as_deref().map(encode).transpose()?;
        let kept = Kept {
            version: VERSION,
            since: self.since,
            next: &next,
            current: &current,
            previous: previous.as_ref().map(|previous| previous.as_str()),
        };
        let mut content = Zeroizing::new(Vec::with_capacity(1024)); // never moved as it grows
        serde_json::to_writer_pretty(&mut *content, &kept).expect("texts and numbers are JSON");
        content.push(b'\n');
        Ok(content)
    }

    pub(super) fn decode(content: &[u8]) -> Option<Self> {
        let kept: Kept<'_> = serde_json::from_slice(content).ok()?;
        if kept.version != VERSION {
            return None;
        }
        let decode = |text: &str| {
            let der = Zeroizing::new(STANDARD.decode(text).ok()?);
            Some(Arc::new(Key::from_der(&der).ok()?))
        };
        Some(Self {
            since: kept.since,
            next: decode(kept.next)?,
            current: decode(kept.current)?,
            previous: match kept.previous {
                Some(previous) => Some(decode(previous)?),
                None => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_millis(1_764_000_000_000)
    }

    fn ids(ring: &Ring) -> Vec<String> {
        ring.keys().map(|key| key.id().to_owned()).collect()
    }

    #[test]
    fn a_key_is_published_a_turn_before_it_signs_and_a_turn_after() {
        let first = Ring::new(start()).unwrap();
        let now = first.due(start());
        assert_eq!(now, start().plus(TURN));
        let second = first.turned(now).unwrap();
        let third = second.turned(second.due(now)).unwrap();
        assert_eq!(second.current.id(), first.next.id());
        assert_eq!(ids(&second)[1..], ids(&first)[..]);
        assert_eq!(ids(&third)[1..], ids(&second)[..2]);
        assert_eq!(ids(&third).len(), 3);
    }

    #[test]
    fn rel_08_a_time_that_lies_ahead_keeps_no_key_for_ever() {
        let ring = Ring::new(start().plus(TURN * 100)).unwrap();
        assert_eq!(ring.due(start()), start().plus(TURN));
        let a_little = Ring::new(start().plus(Duration::from_hours(1))).unwrap();
        assert_eq!(a_little.due(start()), a_little.since.plus(TURN));
    }

    #[test]
    fn sec_79_keys_are_kept_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let read = || Ring::read_trusted(&path);
        assert!(read().unwrap().is_none());
        let made = Ring::make(&path, start()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(ids(&read().unwrap().unwrap()), ids(&made));
        assert_eq!(
            ids(&Ring::make(&path, start()).unwrap()),
            ids(&made),
            "theirs"
        );
        let turned = made.turned(start().plus(TURN)).unwrap();
        turned.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let kept = read().unwrap().unwrap();
        assert_eq!((ids(&kept), kept.since), (ids(&turned), turned.since));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read().unwrap_err();
            assert!(matches!(error, KeysError::TooOpen(_, found) if found == mode));
            assert!(error.is_invalid() && error.to_string().contains("chmod 600"));
        }
        fs::remove_file(&path).unwrap();
        assert!(turned.write(&path).is_err(), "it was taken away");
    }

    #[test]
    fn a_damaged_file_is_no_file_of_keys_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        Ring::make(&path, start()).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let key = whole.split('"').nth(9).unwrap();
        for damaged in [
            "",
            "{}",
            &whole[..whole.len() / 2],
            &whole.replacen("\"version\": 1", "\"version\": 2", 1),
            &whole.replace(key, &key[..key.len() - 4]),
            &whole.replace(key, "AAAA"),
        ] {
            assert_ne!(damaged, whole);
            fs::write(&path, damaged).unwrap();
            let error = Ring::read_trusted(&path).unwrap_err();
            let said = error.to_string();
            assert!(error.is_invalid() && said.contains("is damaged"), "{said}");
            let moved = format!("mv {0} {0}.damaged", path.display());
            assert!(said.contains(&moved), "{said}");
            assert!(Ring::make(&path, start()).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }
}
