//! The client side of the admin socket, as the command line uses it.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::protocol::{Answer, Reply, Request, VERSION};

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no answer. Each is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no such socket, or nobody listens on it.
    #[error(
        "nobody answers on {0}: is pf running? (another socket: --socket PATH, see `socket` under [admin])"
    )]
    NotRunning(PathBuf),
    /// The file system does not let this user in.
    #[error("{0} may be opened by the user that pf runs as only: run this as that user or as root")]
    NotAllowed(PathBuf),
    /// The connection broke, or took too long.
    #[error("no answer on {0}: {1}")]
    Broken(PathBuf, io::Error),
    /// The answer is in no form that this program knows.
    #[error("the answer on {0} is not understood: is it another version of pf? ({1})")]
    Strange(PathBuf, String),
    /// `pf` says why it does not answer.
    #[error("pf answers: {0}")]
    Refused(String),
}

/// Asks one question.
pub fn ask(socket: &Path, request: Request) -> Result<Answer, AskError> {
    let broken = |error| AskError::Broken(socket.to_owned(), error);
    let strange = |why: String| AskError::Strange(socket.to_owned(), why);
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => AskError::NotAllowed(socket.to_owned()),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::NotRunning(socket.to_owned()),
        _ => broken(error),
    })?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let mut question = serde_json::to_vec(&request).map_err(|e| strange(e.to_string()))?;
    question.push(b'\n');
    stream.write_all(&question).map_err(broken)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(broken)?;
    let reply: Reply = serde_json::from_str(&line).map_err(|e| strange(e.to_string()))?;
    match reply.answer {
        Answer::Error { message } => Err(AskError::Refused(message)),
        answer if reply.version == VERSION => Ok(answer),
        _ => Err(strange(format!("version {}", reply.version))),
    }
}
