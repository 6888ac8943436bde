//! The server side of the admin socket.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

use super::protocol::{Answer, MAX_REQUEST, Reply, Request, VERSION};

/// Clients at once; one more is told so and sent away.
const MAX_CLIENTS: usize = 16;

/// How long a client may stay without a question.
const IDLE: Duration = Duration::from_secs(30);

/// How long a client may take to read an answer, and the process to make one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who knows the answers.
pub trait Source: Send + Sync + 'static {
    /// Answers one question.
    fn answer(&self, request: Request) -> impl Future<Output = Answer> + Send;
}

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another process answers on it.
    #[error("{0} is in use: another pf is running with it")]
    InUse(PathBuf),
    /// Something that is not a socket has that name.
    #[error("{0} exists and is not a socket: remove it or choose another path")]
    NotASocket(PathBuf),
    /// The file system refused.
    #[error("cannot make {0}: {1}")]
    Make(PathBuf, io::Error),
}

/// A running admin socket. Dropping it ends it and removes the socket.
#[derive(Debug)]
pub struct AdminServer {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Makes the socket (mode 0600) and answers on it with what `source` knows. A socket left behind by a process
    /// that is gone is replaced.
    pub fn start(path: &Path, source: impl Source) -> Result<AdminServer, AdminError> {
        let listener = listen(path)?;
        let task = tokio::spawn(accept(listener, Arc::new(source)));
        Ok(AdminServer { path: path.to_owned(), task })
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
        // Gone already is as good.
        let _ = fs::remove_file(&self.path);
    }
}

fn listen(path: &Path) -> Result<UnixListener, AdminError> {
    let make = |error| AdminError::Make(path.to_owned(), error);
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(make)?;
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(AdminError::NotASocket(path.to_owned())),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(AdminError::InUse(path.to_owned()));
        }
        _ => {}
    }
    // Bound under another name and renamed when nobody else can open it: at no time does `path` let others in.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let _ = fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).map_err(make)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&fresh, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })
        .map_err(make)?;
    Ok(listener)
}

async fn accept<S: Source>(listener: UnixListener, source: Arc<S>) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                // Out of file descriptors, most likely: let others give some back.
                tracing::warn!(%error, "the admin socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let source = source.clone();
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                tokio::spawn(async move {
                    serve(client, source.as_ref()).await;
                    drop(place);
                });
            }
            Err(_) => {
                let message = format!("{MAX_CLIENTS} clients are connected: try again");
                refuse(&client, &Answer::Error { message });
            }
        }
    }
}

/// Says why, if the client's socket takes it at once.
fn refuse(client: &UnixStream, answer: &Answer) {
    let _ = client.try_write(&line(answer.clone()));
}

async fn serve<S: Source>(client: UnixStream, source: &S) {
    let (reader, mut writer) = client.into_split();
    let mut reader = BufReader::with_capacity(MAX_REQUEST, reader);
    let mut text = Vec::new();
    loop {
        text.clear();
        let mut bounded = (&mut reader).take(MAX_REQUEST as u64);
        match timeout(IDLE, bounded.read_until(b'\n', &mut text)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return,
        }
        let whole = text.ends_with(b"\n");
        let answer = match (whole, read(&text)) {
            (false, _) => error(format!("a question is one line of at most {MAX_REQUEST} octets")),
            (true, Err(message)) => error(message),
            (true, Ok(request)) => match timeout(PATIENCE, source.answer(request)).await {
                Ok(answer) => answer,
                Err(_) => error("no answer in time: the process is overloaded".to_owned()),
            },
        };
        match timeout(PATIENCE, writer.write_all(&line(answer))).await {
            Ok(Ok(())) if whole => {}
            _ => return,
        }
    }
}

fn error(message: String) -> Answer {
    Answer::Error { message }
}

fn read(text: &[u8]) -> Result<Request, String> {
    let request: Request =
        serde_json::from_slice(text).map_err(|e| format!("this is not a question: {e}"))?;
    if request.version == VERSION {
        Ok(request)
    } else {
        Err(format!("this pf speaks version {VERSION}, the question is in version {}", request.version))
    }
}

fn line(answer: Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Reply { version: VERSION, answer }).unwrap_or_else(|e| {
        format!("{{\"version\":{VERSION},\"answer\":\"error\",\"message\":\"{e}\"}}").into()
    });
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, Read, Write},
        os::unix::net::UnixStream as Client,
    };

    use super::*;
    use crate::admin::{Query, client};

    struct Numbers;

    impl Source for Numbers {
        async fn answer(&self, request: Request) -> Answer {
            match request.query {
                Query::Sessions => Answer::Sessions { total: 7, sessions: Vec::new() },
                _ => Answer::Devices { total: request.rows(), devices: Vec::new() },
            }
        }
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("pf-admin-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("pf.sock")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn ask_raw(socket: &Path, question: &[u8]) -> String {
        let mut stream = Client::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(question).unwrap();
        let mut answer = String::new();
        std::io::BufReader::new(stream).read_line(&mut answer).unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answers_and_removes_its_socket() {
        let folder = Folder::new("answers");
        let server = AdminServer::start(&folder.socket(), Numbers).unwrap();
        assert_eq!(fs::metadata(folder.socket()).unwrap().permissions().mode() & 0o777, 0o600);
        let path = folder.socket();
        let reply =
            tokio::task::spawn_blocking(move || client::ask(&path, Request::new(Query::Sessions, None)))
                .await
                .unwrap()
                .unwrap();
        assert!(matches!(reply, Answer::Sessions { total: 7, .. }), "{reply:?}");
        drop(server);
        assert!(!folder.socket().exists());
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bad_questions_get_an_error_and_cost_nobody_else() {
        let folder = Folder::new("bad");
        let _server = AdminServer::start(&folder.socket(), Numbers).unwrap();
        let path = folder.socket();
        tokio::task::spawn_blocking(move || {
            for (question, word) in [
                (&b"sessions\n"[..], "not a question"),
                (b"{\"version\":99,\"query\":\"sessions\"}\n", "version 1"),
                (b"{\"version\":1,\"query\":\"secrets\"}\n", "not a question"),
                (&[b'x'; MAX_REQUEST + 10][..], "one line"),
            ] {
                let answer = ask_raw(&path, question);
                assert!(answer.contains("\"error\"") && answer.contains(word), "{answer}");
            }
            let limited = ask_raw(&path, b"{\"version\":1,\"query\":\"devices\",\"limit\":999999}\n");
            assert!(
                limited.contains(&format!("\"total\":{}", crate::admin::protocol::MAX_LIMIT)),
                "{limited}"
            );
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn silent_clients_fill_their_places_and_no_more() {
        let folder = Folder::new("silent");
        let _server = AdminServer::start(&folder.socket(), Numbers).unwrap();
        let path = folder.socket();
        tokio::task::spawn_blocking(move || {
            let silent: Vec<Client> = (0..MAX_CLIENTS).map(|_| Client::connect(&path).unwrap()).collect();
            let mut refused = String::new();
            Client::connect(&path).unwrap().read_to_string(&mut refused).unwrap();
            assert!(refused.contains("try again"), "{refused}");
            drop(silent);
            let answered = (0..50).any(|_| {
                std::thread::sleep(Duration::from_millis(20));
                client::ask(&path, Request::new(Query::Sessions, None)).is_ok()
            });
            assert!(answered, "places are given back");
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_living_socket_is_kept_and_a_dead_one_replaced() {
        let folder = Folder::new("dead");
        let first = AdminServer::start(&folder.socket(), Numbers).unwrap();
        assert!(matches!(AdminServer::start(&folder.socket(), Numbers), Err(AdminError::InUse(_))));
        drop(first);
        drop(std::os::unix::net::UnixListener::bind(folder.socket()).unwrap());
        assert!(folder.socket().exists(), "a socket without a listener stays in the file system");
        let second = AdminServer::start(&folder.socket(), Numbers).unwrap();
        drop(second);
        fs::write(folder.socket(), "precious").unwrap();
        assert!(matches!(AdminServer::start(&folder.socket(), Numbers), Err(AdminError::NotASocket(_))));
        assert_eq!(fs::read_to_string(folder.socket()).unwrap(), "precious");
    }
}
