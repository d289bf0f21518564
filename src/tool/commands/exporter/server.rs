// SPDX-License-Identifier: GPL-2.0

//! Answers HTTP requests.
//!
//! Each connection has one request and half a minute. One thread does all, so there is one
//! reading at a time.

use super::{negotiation, scrape::Scraper};
use crate::commands::tell::tell;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{cell::RefCell, convert::Infallible, fmt, io, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    task::{JoinSet, LocalSet},
    time::{sleep, timeout},
};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long connections may still take after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How many connections there are at most; others wait.
const CONNECTIONS: usize = 32;

/// What clients connect to.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Listener::Tcp(listener) => Box::new(listener.accept().await?.0),
            Listener::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}/metrics"),
                Err(_) => f.write_str("a socket"),
            },
            Listener::Unix(_) => f.write_str("a Unix socket"),
        }
    }
}

/// Serves until `end`, and then finishes what has begun.
pub async fn serve(listener: Listener, scraper: Scraper, end: impl Future<Output = ()>) {
    let scraper = Rc::new(RefCell::new(scraper));
    let mut connections = JoinSet::new();
    let local = LocalSet::new();
    let accept = async {
        loop {
            while connections.len() >= CONNECTIONS {
                connections.join_next().await;
            }
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok(stream) => {
                    let scraper = Rc::clone(&scraper);
                    connections.spawn_local(timeout(PATIENCE, converse(stream, scraper)));
                }
                Err(e) => {
                    // Such as too many open files: others may close theirs.
                    tell(format_args!("cannot accept a connection: {e}"));
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    };
    local
        .run_until(async {
            tokio::select! {
                () = accept => (),
                () = end => (),
            }
        })
        .await;
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    let _ = local.run_until(timeout(GRACE, rest)).await;
}

/// Serves one request. Clients that go away or talk nonsense are nobody's fault.
async fn converse(stream: Box<dyn Stream>, scraper: Rc<RefCell<Scraper>>) {
    let service = service_fn(|request| {
        let response = respond(&request, &mut scraper.borrow_mut());
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    let connection = http
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}

/// The answer to a request.
fn respond(request: &Request<Incoming>, scraper: &mut Scraper) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let all = request.headers().get_all(ACCEPT).iter();
            let all: Vec<&str> = all.filter_map(|value| value.to_str().ok()).collect();
            let format = negotiation::format(&all.join(","));
            match scraper.page(format) {
                Ok(page) => answer(StatusCode::OK, format.content_type(), page),
                Err(e) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{e:#}\n")),
            }
        }
        "/" => answer(
            StatusCode::OK,
            "text/html; charset=utf-8",
            welcome(scraper.fault()),
        ),
        _ => plain(StatusCode::NOT_FOUND, "There is only /metrics.\n"),
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", text)
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The page for people who look for the metrics.
fn welcome(fault: Option<&str>) -> String {
    let state = match fault {
        Some(fault) => format!("The counters cannot be read: {}", escaped(fault)),
        None => "VM exits of this host, by reason.".into(),
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<title>exitprof</title>\n<h1>exitprof {}</h1>\n\
         <p>{state}</p>\n<p><a href=\"/metrics\">Metrics</a></p>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
    )
}

/// Text without what HTML would take for its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
