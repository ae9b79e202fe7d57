//! Fetches many pages at once as one task group, over real sockets.
//!
//! What it shows of `taskgroup`:
//!
//! - one task a page, each with a name; the first failure cancels the others, or with `--keep-going` none;
//! - a runner: Ctrl-C and SIGTERM cancel the group, and give the exit code;
//! - a *background* task that does not keep the group open: the example's own server;
//! - `start`, which returns when the server says that it listens, with its address;
//! - a group inside a task: the server's connections, which end when the server is cancelled;
//! - failures handled by type with `except`, the rest shown as a tree;
//! - of each page that was cancelled, why;
//! - a limit on the whole run: the runner's future is dropped, and with it every task.

mod client;
pub mod exit;
mod options;
mod report;
mod server;
mod url;

use std::ffi::OsString;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use taskgroup::{Runner, StartError, TaskGroup};

use client::HttpError;
pub use options::{Options, Request, UsageError, help, parse};
pub use report::Report;
use server::Site;
pub use url::{BadUrl, Url};

/// The program: reads the arguments (without its own name), fetches, and gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let report = Report::of_process();
    let options = match parse(arguments) {
        Ok(Request::Fetch(options)) => options,
        Ok(Request::Help) => {
            report.line(format_args!("{}", help().trim_end()));
            return exit::FETCHED;
        }
        Err(error) => {
            report.error(format_args!("fetch: {error}\nTry --help."));
            return exit::USAGE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report.error(format_args!("fetch: cannot start the runtime: {error}"));
            return exit::IO_FAILURE;
        }
    };
    let code = runtime.block_on(fetch(&options, 1.0, Runner::new(), report));
    // The system's lookup of a name cannot be cut: a thread of tokio's may still be at one. Nobody waits
    // for its answer any more.
    runtime.shutdown_background();
    code
}

/// Fetches what the options say, until it is done, fails, is out of time, or `runner` is told to stop. Gives
/// the exit code.
///
/// `pace` stretches the delays of the example's own server.
pub async fn fetch(options: &Options, pace: f64, runner: Runner, report: Report) -> u8 {
    let begin = Instant::now();
    let report = Arc::new(report);
    // Every failure is told, so every failure is kept.
    let runner = runner.name("fetch").on_failure(options.on_failure).max_failures(usize::MAX);
    // The handles outlive the run: of each page they say what became of it.
    let mut tasks = Vec::new();
    let run = runner.supervise(async |group: &TaskGroup| {
        let urls = match &options.source {
            options::Source::Urls(urls) => urls.clone(),
            options::Source::OwnServer { seed } => {
                let address = start_server(group, Site::new(*seed, pace)).await?;
                report.line(format_args!("the server of this example is http://{address}/, its seed {seed}"));
                pages_of(address)
            }
        };
        for (number, url) in (1..).zip(urls) {
            let name = format!("page {number}");
            let page = fetch_page(name.clone(), url, Arc::clone(&report));
            tasks.push(group.task().name(name).spawn(page));
        }
        group.wait_idle().await;
        Ok(())
    });
    let code = match within(options.limit, run).await {
        Ok(outcome) => report.outcome(outcome),
        Err(limit) => {
            report.error(format_args!("timed out: the run took longer than {} s", limit.as_secs_f64()));
            exit::TIMED_OUT
        }
    };
    report.summary(tasks, begin.elapsed());
    code
}

/// One page: an answer with an error status arrives like any other, and then fails the task.
async fn fetch_page(name: String, url: Url, report: Arc<Report>) -> anyhow::Result<()> {
    let begin = Instant::now();
    let answer = client::get(&url).await?;
    report.arrived(&name, &url, &answer, begin.elapsed());
    if !(200..300).contains(&answer.status) {
        return Err(HttpError { url, status: answer.status, reason: answer.reason }.into());
    }
    Ok(())
}

/// Returns when the server listens. It is cancelled when no page is left.
async fn start_server(group: &TaskGroup, site: Site) -> anyhow::Result<SocketAddr> {
    let server = group.task().name("server").background();
    match server.start(|ready| server::serve(site, ready)).await {
        Ok((address, _task)) => Ok(address),
        Err(StartError::Failed(error)) => Err(error),
        Err(other) => Err(other.into()),
    }
}

fn pages_of(address: SocketAddr) -> Vec<Url> {
    let (host, port) = (address.ip().to_string(), address.port());
    (1..=server::PAGES).map(|number| Url::new(&*host, port, format!("/page/{number}"))).collect()
}

/// The future's output, or the limit if that has passed: then the future has been dropped.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Result<T, Duration> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.map_err(|_elapsed| limit),
        None => Ok(future.await),
    }
}
