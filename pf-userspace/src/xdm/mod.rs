//! The XDMS: asks by XCAP (RFC 4825) what users want, and hands the core what was found.
//!
//! Each question is one conditional GET. Questions run beside each other, a bounded number of them at a time, each in
//! a bounded time; every one is answered.

mod address;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{ACCEPT, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, USER_AGENT},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::{Semaphore, mpsc::UnboundedSender},
    time::timeout,
};

use crate::core::policy::{
    access_rules::{AccessRules, MAX_DOCUMENT, RulesError},
    retrieval::{Found, Question, Retrieved},
};

/// Questions that may wait for their answers; one more is answered as failed.
const WAITING: usize = 4096;
/// Of these, how many are being asked at a time.
const AT_ONCE: usize = 64;
/// Connections that are kept for the next question.
const IDLE: usize = 16;
/// Octets of a response that may be held before they are read: its head has to fit.
const MAX_HEAD: usize = 32 << 10;
/// The longest ETag that is kept, in octets.
const MAX_ETAG: usize = 256;
/// What the document is (OMA XDM, `application/auth-policy+xml`).
const DOCUMENT: HeaderValue = HeaderValue::from_static("application/auth-policy+xml");

/// What is told at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdmsOptions {
    /// The XCAP root, an `http` URI.
    pub root: String,
    /// The header field that says for which user we ask.
    pub identity_header: String,
    /// How long an answer may take.
    pub patience: Duration,
    /// Value of User-Agent.
    pub product: String,
}

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum XdmsError {
    /// The document did not come whole, or is too long.
    #[error("the document did not come: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// Too many questions wait.
    #[error("too many questions wait")]
    Busy,
    /// No connection, or it broke.
    #[error("no answer: {0}")]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// The root, the header field or a user's address cannot be put in a request.
    #[error("no request can be made: {0}")]
    Request(#[from] hyper::http::Error),
    /// The document says nothing that can be relied on.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Another status than those of a document that is there, is not, or has not changed.
    #[error("answered {0}")]
    Status(StatusCode),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
}

/// A client of the XDMS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Xdms(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client<HttpConnector, Empty<Bytes>>,
    root: String,
    identity_header: HeaderName,
    product: HeaderValue,
    patience: Duration,
    answers: UnboundedSender<Retrieved>,
    /// Room for questions.
    room: Arc<Semaphore>,
    /// Turns to ask.
    turns: Semaphore,
    /// Has the last question failed? A change of that is worth a line in the log.
    failing: AtomicBool,
}

impl Xdms {
    /// Takes note of where to ask and where answers go; connects when the first question comes.
    ///
    /// # Errors
    /// [`XdmsError::Request`]: the root, the product or the name of the header field cannot be used.
    pub fn start(options: XdmsOptions, answers: UnboundedSender<Retrieved>) -> Result<Xdms, XdmsError> {
        let XdmsOptions { root, identity_header, patience, product } = options;
        root.parse::<Uri>().map_err(hyper::http::Error::from)?;
        let identity_header =
            HeaderName::from_bytes(identity_header.as_bytes()).map_err(hyper::http::Error::from)?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(patience));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(MAX_HEAD)
            .build(connector);
        Ok(Xdms(Arc::new(Shared {
            client,
            root,
            identity_header,
            product: HeaderValue::try_from(product).map_err(hyper::http::Error::from)?,
            patience,
            answers,
            room: Arc::new(Semaphore::new(WAITING)),
            turns: Semaphore::new(AT_ONCE),
            failing: AtomicBool::new(false),
        })))
    }

    /// Takes a question. Its answer follows as an event, in any case, and does not take longer than the patience.
    /// Needs a running tokio runtime.
    pub fn ask(&self, question: Question) {
        let Ok(room) = self.0.room.clone().try_acquire_owned() else {
            return self.0.answer(question.user, Err(XdmsError::Busy));
        };
        let shared = self.0.clone();
        tokio::spawn(async move {
            let found = match timeout(shared.patience, shared.retrieve(&question)).await {
                Ok(found) => found,
                Err(_) => Err(XdmsError::TimedOut),
            };
            drop(room);
            shared.answer(question.user, found);
        });
    }
}

impl Shared {
    fn answer(&self, user: String, found: Result<Found, XdmsError>) {
        let failed = found.is_err();
        let was_failing = self.failing.swap(failed, Ordering::Relaxed);
        match &found {
            Err(error) if was_failing => tracing::debug!(%error, "the XDMS was asked in vain"),
            Err(error) => {
                tracing::warn!(%error, root = self.root, "the XDMS was asked in vain: its last answers count, else what is configured");
            }
            Ok(_) if was_failing => tracing::info!(root = self.root, "the XDMS answers again"),
            Ok(_) => {}
        }
        // Without a core nobody wants to know.
        let _ = self.answers.send(Retrieved { user, found: found.unwrap_or(Found::Failed) });
    }

    async fn retrieve(&self, question: &Question) -> Result<Found, XdmsError> {
        let _turn = self.turns.acquire().await;
        let response = self.client.request(self.request(question)?).await?;
        match response.status() {
            StatusCode::OK => document(response).await,
            StatusCode::NOT_MODIFIED if question.etag.is_some() => Ok(Found::Unchanged),
            // No document, or no such user.
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Found::Nothing),
            other => Err(XdmsError::Status(other)),
        }
    }

    fn request(&self, question: &Question) -> Result<Request<Empty<Bytes>>, XdmsError> {
        let uri = address::access_rules(&self.root, &question.user);
        // Identities stand in quotation marks there (3GPP TS 24.109).
        let identity = format!("\"{}\"", question.user.replace(['"', '\\'], ""));
        let mut request = Request::get(uri)
            .header(&self.identity_header, identity)
            .header(ACCEPT, DOCUMENT)
            .header(USER_AGENT, &self.product);
        if let Some(etag) = &question.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        Ok(request.body(Empty::new())?)
    }
}

async fn document(response: Response<Incoming>) -> Result<Found, XdmsError> {
    let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
    let etag = etag.filter(|etag| etag.len() <= MAX_ETAG).map(str::to_owned);
    let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await.map_err(XdmsError::Body)?;
    let octets = body.to_bytes();
    Ok(Found::Document { rules: AccessRules::parse(&octets)?, octets: octets.len(), etag })
}
