//! What survives a restart: the key of the mapped Contacts.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, bail};

use crate::core::Entropy;

/// The key of the mapped Contacts (clause 8.2.2.1, 200 OK step 5), made at the first start with mode 0600.
pub(super) fn contact_key(state_dir: &Path, entropy: &mut dyn Entropy) -> anyhow::Result<[u8; 32]> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .with_context(|| format!("state_dir: cannot make {}", state_dir.display()))?;
    let path = state_dir.join("contact.key");
    if !path.exists() {
        make(state_dir, &path, entropy).with_context(|| format!("cannot make {}", path.display()))?;
    }
    let key = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mode = fs::metadata(&path).map(|meta| meta.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others can read the key of the mapped Contacts: chmod 0600");
    }
    match <[u8; 32]>::try_from(key) {
        Ok(key) => Ok(key),
        Err(key) => bail!(
            "{} holds {} octets instead of 32: restore it from a backup, or remove it (clients then cannot re-join \
             sessions by the address they remember)",
            path.display(),
            key.len()
        ),
    }
}

/// Writes the key under another name and links it to its own when it is whole: neither a crash nor a second process
/// that starts at the same time can leave half a key or replace one.
fn make(folder: &Path, path: &Path, entropy: &mut dyn Entropy) -> std::io::Result<()> {
    let mut key = [0; 32];
    entropy.fill(&mut key);
    let fresh = folder.join(format!("contact.key.{}", std::process::id()));
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    let linked = file.write_all(&key).and_then(|()| file.sync_all()).and_then(|()| {
        match fs::hard_link(&fresh, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    let _ = fs::remove_file(&fresh);
    linked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::entropy::{OsEntropy, SeededEntropy};

    #[test]
    fn the_key_is_made_once_and_private() {
        let folder = std::env::temp_dir().join(format!("pf-state-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let first = contact_key(&folder, &mut OsEntropy).unwrap();
        let again = contact_key(&folder, &mut SeededEntropy(1)).unwrap();
        assert_eq!(first, again);
        assert_ne!(first, [0; 32]);
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["contact.key"]);
        let mode = fs::metadata(folder.join("contact.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.join("contact.key"), "short").unwrap();
        let error = contact_key(&folder, &mut OsEntropy).unwrap_err().to_string();
        assert!(error.contains("5 octets"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
