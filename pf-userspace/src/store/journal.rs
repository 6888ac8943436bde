//! The journal: a file of JSON lines, one for each object, only ever appended to. An object counts as stored when its
//! line is on the disk. While lines are written the file is locked (flock(2)): another program that takes the lock sees
//! whole lines and holds the store up meanwhile.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    num::NonZeroU32,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    StoreOptions,
    clock::rfc3339,
    record::{Record, Row, Rows},
};
use crate::core::store::{Object, StoreError, Uid};

/// The longest line that is read, in octets.
const MAX_LINE: u64 = 64 << 20;

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A line is no record of this version.
    #[error("{path}: line {line} is not a record: {error}; move the file away, or mend the line")]
    Line {
        /// The journal.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        error: String,
    },
    /// The file system refused.
    #[error("{path}: {error}")]
    Io {
        /// The journal.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No thread for it.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    options: StoreOptions,
    /// The last UID given; 0: none.
    last: u32,
    /// Octets of whole lines.
    length: u64,
}

impl Journal {
    /// Opens the file, makes it (mode 0600) if there is none, and reads what is there: UIDs go on from the last. A last
    /// line that was not written whole, as by a power cut, is taken away: nobody was told that it is stored.
    pub(super) fn open(options: StoreOptions) -> Result<(Journal, Rows), JournalError> {
        let refused = |error| JournalError::Io { path: options.path.clone(), error };
        if let Some(folder) = options.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&options.path)
            .map_err(refused)?;
        if !file.metadata().map_err(refused)?.is_file() {
            return Err(refused(io::Error::other("this is not a file")));
        }
        let (mut last, mut length, mut rows) = (0, 0, Rows::default());
        let mut reader = BufReader::new(&mut file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let octets =
                io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line).map_err(refused)?;
            if !line.ends_with(b"\n") {
                if octets as u64 == MAX_LINE {
                    let error = format!("it is longer than {MAX_LINE} octets");
                    return Err(JournalError::Line { path: options.path.clone(), line: number, error });
                }
                break;
            }
            let record: Record = serde_json::from_slice(&line).map_err(|error| JournalError::Line {
                path: options.path.clone(),
                line: number,
                error: error.to_string(),
            })?;
            last = record.uid.0.get().max(last);
            rows.push(record.row());
            length += octets as u64;
        }
        if file.metadata().map_err(refused)?.len() > length {
            tracing::warn!(path = %options.path.display(), "the last line was not written whole: it is taken away");
            file.set_len(length).map_err(refused)?;
        }
        file.seek(SeekFrom::End(0)).map_err(refused)?;
        // A new file's name has to be on the disk as well.
        let folder = options.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(refused)?;
        Ok((Journal { file, options, last, length }, rows))
    }

    /// Writes these objects. All of them are on the disk when it returns `Ok` for them.
    pub(super) fn append(&mut self, objects: Vec<Object>) -> Vec<Result<Row, StoreError>> {
        let mut text = Vec::new();
        let mut last = self.last;
        let prepared: Vec<Result<Row, StoreError>> = objects
            .into_iter()
            .map(|object| {
                let record = self.record(object, last)?;
                let line =
                    serde_json::to_vec(&record).map_err(|error| StoreError::Failed(error.to_string()))?;
                let length = text.len() as u64 + line.len() as u64 + 1;
                if self.length + length > self.options.max_octets {
                    return Err(StoreError::Full);
                }
                text.extend_from_slice(&line);
                text.push(b'\n');
                last = record.uid.0.get();
                Ok(record.row())
            })
            .collect();
        if text.is_empty() {
            return prepared;
        }
        match self.write(&text) {
            Ok(()) => {
                self.last = last;
                self.length += text.len() as u64;
                prepared
            }
            Err(error) => {
                let failed = StoreError::Failed(format!("{}: {error}", self.options.path.display()));
                prepared.into_iter().map(|prepared| prepared.and(Err(failed.clone()))).collect()
            }
        }
    }

    fn record(&self, object: Object, last: u32) -> Result<Record, StoreError> {
        let uid = last.checked_add(1).and_then(NonZeroU32::new).ok_or(StoreError::Full)?;
        let Object { user, folder, at, body } = object;
        let time = rfc3339(self.options.epoch + at.since_start());
        Ok(Record { uid: Uid(uid), time, user, folder, body })
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.lock()?;
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        // What stands there in part is no line; the next one must not be joined to it.
        let mended = if written.is_err() { self.file.set_len(self.length) } else { Ok(()) };
        let unlocked = self.file.unlock();
        written.and(mended).and(unlocked)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::UNIX_EPOCH};

    use super::*;
    use crate::core::{
        Time,
        store::{Body, Folder, SessionEnd},
    };

    struct Temp(PathBuf);

    impl Temp {
        fn new(name: &str) -> Temp {
            let path = std::env::temp_dir().join(format!("pf-journal-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Temp(path)
        }

        fn options(&self, max_octets: u64) -> StoreOptions {
            StoreOptions {
                path: self.0.join("store.jsonl"),
                max_octets,
                epoch: UNIX_EPOCH,
                recording_octets: 0,
            }
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn object() -> Object {
        let folder = Folder { conversation: "conv".to_owned(), session: "contrib".to_owned() };
        let body = Body::SessionEnd(SessionEnd { reason: None, lasted_seconds: 7 });
        let user = "sip:ann@example.org".to_owned();
        Object { user, folder, at: Time::ZERO, body }
    }

    fn uids(outcomes: &[Result<Row, StoreError>]) -> Vec<Result<u32, StoreError>> {
        outcomes.iter().map(|o| o.as_ref().map(|row| row.uid.0.get()).map_err(Clone::clone)).collect()
    }

    #[test]
    fn uids_go_on_after_a_restart_and_half_a_line_is_taken_away() {
        let folder = Temp::new("restart");
        let options = folder.options(1 << 20);
        let (mut journal, _) = Journal::open(options.clone()).unwrap();
        assert_eq!(uids(&journal.append(vec![object(), object()])), [Ok(1), Ok(2)]);
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&options.path).unwrap();
        file.write_all(b"{\"uid\":3,\"time\"").unwrap();
        let (mut journal, rows) = Journal::open(options.clone()).unwrap();
        assert_eq!(rows.total(), 2);
        assert_eq!(uids(&journal.append(vec![object()])), [Ok(3)]);
        let text = fs::read_to_string(&options.path).unwrap();
        let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.iter().map(|r| r.uid.0.get()).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(records[0].body, object().body);
        assert_eq!(records[0].time, "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn a_full_journal_takes_nothing_and_gives_no_uid_away() {
        let folder = Temp::new("full");
        let (mut journal, _) = Journal::open(folder.options(1 << 20)).unwrap();
        journal.append(vec![object()]);
        let one = journal.length;
        drop(journal);
        let (mut journal, _) = Journal::open(folder.options(2 * one)).unwrap();
        assert_eq!(uids(&journal.append(vec![object(), object()])), [Ok(2), Err(StoreError::Full)]);
        assert_eq!(fs::metadata(&journal.options.path).unwrap().len(), 2 * one);
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let folder = Temp::new("foreign");
        let options = folder.options(1 << 20);
        fs::create_dir_all(&folder.0).unwrap();
        fs::write(&options.path, "hello\n").unwrap();
        let error = Journal::open(options).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}
