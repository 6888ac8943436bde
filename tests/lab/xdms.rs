//! An XDMS: a small HTTP server that keeps a document for each path, as `pf` sees one, and writes down what it is asked.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{lock, net::Place, wait};

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET` and such.
    pub method: String,
    /// The path as it stood in the request, percent-encoded.
    pub path: String,
    /// The status that it was answered with; 0 while it waits.
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Asked {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A running XDMS. Ends with its owner, and its connections with it.
pub struct Xdms {
    /// Where it listens.
    pub address: SocketAddr,
    place: Place,
    state: Arc<Mutex<State>>,
    open: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// ETag and document by path.
    documents: BTreeMap<String, (String, String)>,
    /// Answered to everything, where set.
    status: Option<u16>,
    asked: Vec<Asked>,
    changes: u32,
}

impl Xdms {
    /// An XDMS without documents.
    pub fn start(place: &Place) -> Result<Xdms> {
        let listener = place.listen(0)?;
        let (open, _) = watch::channel(true);
        let mut xdms = Xdms {
            address: listener.local_addr()?,
            place: place.clone(),
            state: Arc::default(),
            open,
            task: None,
        };
        xdms.serve(listener);
        Ok(xdms)
    }

    fn serve(&mut self, listener: TcpListener) {
        let (state, open) = (self.state.clone(), self.open.clone());
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, open) = (state.clone(), open.subscribe());
                connections.spawn(async move {
                    // A connection that breaks is its client's business.
                    let _ = attend(stream, state, open).await;
                });
            }
        }));
    }

    /// Its XCAP root.
    pub fn root(&self) -> String {
        format!("http://{}/xcap", self.address)
    }

    /// A user's access rules, for a path below the root; they get a new ETag.
    pub fn put(&self, path: &str, document: &str) {
        let mut state = lock(&self.state);
        state.changes += 1;
        let etag = format!("\"{}\"", state.changes);
        state.documents.insert(format!("/xcap{path}"), (etag, document.to_owned()));
    }

    /// Takes a document away.
    pub fn delete(&self, path: &str) {
        lock(&self.state).documents.remove(&format!("/xcap{path}"));
    }

    /// Answers everything with this status from now on, or as documents are.
    pub fn refuse(&self, status: Option<u16>) {
        lock(&self.state).status = status;
    }

    /// Leaves requests unanswered from now on, or answers them all.
    pub fn hold(&self, held: bool) {
        self.open.send_replace(!held);
    }

    /// Ends, as a host that is switched off: connections break, and there is nobody at the port.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Is there again, at the same port and with the same documents.
    pub fn start_again(&mut self) -> Result<()> {
        let listener = self.place.listen(self.address.port())?;
        self.serve(listener);
        Ok(())
    }

    /// Everything it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    /// Waits until it was asked so often.
    pub async fn asked_times(&self, count: usize) -> Result<Vec<Asked>> {
        wait::until(wait::SOON, &format!("{count} requests at the XDMS"), || self.asked().len() >= count)
            .await?;
        let asked = self.asked();
        ensure!(asked.len() == count, "asked {} times: {asked:?}", asked.len());
        Ok(asked)
    }
}

impl Drop for Xdms {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn attend(stream: TcpStream, state: Arc<Mutex<State>>, mut open: watch::Receiver<bool>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let Some(mut asked) = read(&mut stream).await? else { return Ok(()) };
        let number = {
            let mut state = lock(&state);
            state.asked.push(asked.clone());
            state.asked.len() - 1
        };
        open.wait_for(|open| *open).await?;
        let answer = {
            let mut state = lock(&state);
            let answer = answer(&state, &asked);
            asked.status = answer.0;
            state.asked[number] = asked;
            answer
        };
        let (status, etag, body) = answer;
        let etag = etag.map(|etag| format!("ETag: {etag}\r\n")).unwrap_or_default();
        let length = match status {
            304 => String::new(),
            _ => format!("Content-Type: application/auth-policy+xml\r\nContent-Length: {}\r\n", body.len()),
        };
        let text = format!("HTTP/1.1 {status} So\r\n{etag}{length}\r\n{body}");
        stream.write_all(text.as_bytes()).await?;
    }
}

fn answer(state: &State, asked: &Asked) -> (u16, Option<String>, String) {
    if let Some(status) = state.status {
        return (status, None, String::new());
    }
    let Some((etag, document)) = state.documents.get(&asked.path) else { return (404, None, String::new()) };
    match asked.header("If-None-Match") {
        Some(known) if known == etag => (304, Some(etag.clone()), String::new()),
        _ => (200, Some(etag.clone()), document.clone()),
    }
}

/// The next request without body; `None` at the end.
async fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Asked>> {
    let Some(first) = line(stream).await? else { return Ok(None) };
    let [method, path, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else { bail!("`{first}`") };
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut headers = Vec::new();
    while let Some(line) = line(stream).await?.filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else { bail!("`{line}`") };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Some(Asked { method, path, status: 0, headers }))
}

async fn line(stream: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    let mut line = String::new();
    let octets = stream.read_line(&mut line).await?;
    Ok((octets > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Access rules with one rule of these conditions, whose actions say this of `allow-offline-storage`, if anything.
pub fn rules(conditions: &str, offline_storage: Option<bool>) -> String {
    let action = offline_storage
        .map(|value| format!("<oxe:allow-offline-storage>{value}</oxe:allow-offline-storage>"))
        .unwrap_or_default();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <cr:ruleset xmlns:cr=\"urn:ietf:params:xml:ns:common-policy\" \
         xmlns:oxe=\"urn:oma:xml:xdm:extensions\">\n\
         <cr:rule id=\"a7c\"><cr:conditions>{conditions}</cr:conditions><cr:actions>{action}</cr:actions>\
         <cr:transformations/></cr:rule>\n</cr:ruleset>\n"
    )
}
