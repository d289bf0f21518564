// SPDX-License-Identifier: GPL-2.0

//! `exitprof exporter`: lets Prometheus and the like read what is counted, over HTTP.

mod negotiation;
mod scrape;
mod server;

use super::tell::tell;
use crate::{series::By, source::Choice};
use anyhow::{Context, Result};
use listenfd::ListenFd;
use scrape::Scraper;
use server::{Listener, serve};
use std::{
    net::{self, SocketAddr},
    os::unix,
};
use tokio::{
    net::{TcpListener, UnixListener},
    runtime,
    signal::unix::{SignalKind, signal},
};

/// Arguments of `exitprof exporter`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Address and port to listen on, unless systemd passes a socket
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:10777")]
    listen: SocketAddr,
    /// Whose exits have series of their own, besides those of all guests
    #[arg(long, value_name = "WHAT", default_value = "vm")]
    by: By,
    /// Give at most N VMs or vCPUs series of their own; others are summed up as "other"
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Leave out when each series was zero (_created), which doubles the series in a Prometheus
    /// that does not know what that is
    #[arg(long)]
    no_created: bool,
    #[command(flatten)]
    choice: Choice,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// If it cannot listen.
pub fn run(arguments: &Arguments) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let listener = listen(arguments.listen)?;
        let mut terminate = signal(SignalKind::terminate()).context("signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
        let end = async {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
            }
        };
        let series = (arguments.by, arguments.limit);
        let scraper = Scraper::new(arguments.choice.clone(), series, !arguments.no_created);
        tell(format_args!("listening on {listener}"));
        serve(listener, scraper, end).await;
        Ok(())
    })
}

/// The socket that systemd passed, or a new one at `address`.
fn listen(address: SocketAddr) -> Result<Listener> {
    let mut passed = ListenFd::from_env();
    let wrong = "the socket that was passed is not one to listen on";
    if passed.len() > 0 {
        if let Ok(Some(socket)) = passed.take_tcp_listener(0) {
            socket.set_nonblocking(true).context(wrong)?;
            return tcp(socket).context(wrong);
        }
        let socket: Option<unix::net::UnixListener> =
            passed.take_unix_listener(0).context(wrong)?;
        let socket = socket.context(wrong)?;
        socket.set_nonblocking(true).context(wrong)?;
        return Ok(Listener::Unix(
            UnixListener::from_std(socket).context(wrong)?,
        ));
    }
    let failed = || format!("cannot listen on {address}: choose another with --listen");
    let socket = net::TcpListener::bind(address).with_context(failed)?;
    socket.set_nonblocking(true).with_context(failed)?;
    tcp(socket).with_context(failed)
}

fn tcp(socket: net::TcpListener) -> Result<Listener> {
    Ok(Listener::Tcp(TcpListener::from_std(socket)?))
}
