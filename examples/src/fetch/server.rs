//! The example's own HTTP server: pages that take their time, and some that fail.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use taskgroup::{Ready, TaskGroup};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How many pages the server has: `/page/1` and so on.
pub(super) const PAGES: usize = 20;

/// The pages, drawn from a seed.
pub(super) struct Site {
    pages: Vec<Page>,
}

#[derive(Clone, Copy)]
struct Page {
    status: (u16, &'static str),
    delay: Duration,
    size: usize,
    framing: Framing,
}

/// How the client is told where the body ends. All three, since servers out there use all three.
#[derive(Clone, Copy)]
enum Framing {
    Length,
    Chunked,
    Close,
}

const NOT_FOUND: (u16, &str) = (404, "Not Found");

impl Site {
    /// `pace` stretches the delays: they are 0.5 to 1.5 seconds at 1.
    pub(super) fn new(seed: u64, pace: f64) -> Self {
        let mut random = Random(seed);
        let page = |_| {
            let seconds = 0.5 + random.below(1001) as f64 / 1000.0;
            let status = match random.below(20) {
                0 => (500, "Internal Server Error"),
                1 => NOT_FOUND,
                _ => (200, "OK"),
            };
            let framing = match random.below(3) {
                0 => Framing::Length,
                1 => Framing::Chunked,
                _ => Framing::Close,
            };
            let size = 200 + random.below(50_000);
            Page { status, delay: Duration::from_secs_f64(seconds * pace), size, framing }
        };
        Self { pages: (0..PAGES).map(page).collect() }
    }

    fn page(&self, path: &str) -> Page {
        let number = path.strip_prefix("/page/").and_then(|number| number.parse::<usize>().ok());
        let page = number.and_then(|number| self.pages.get(number.checked_sub(1)?));
        let missing = Page { status: NOT_FOUND, delay: Duration::ZERO, size: 0, framing: Framing::Length };
        page.copied().unwrap_or(missing)
    }
}

/// Listens on a free port of this machine, says which through `ready`, and answers until it is cancelled.
pub(super) async fn serve(site: Site, ready: Ready<SocketAddr>) -> anyhow::Result<()> {
    let listener = listen().await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on this machine for the example's server: {error}"),
        )
    })?;
    ready.ready(listener.local_addr()?);
    let site = Arc::new(site);
    // When the server is cancelled, so is this group: no connection outlives it.
    let connections = TaskGroup::builder().name("connections").scope(async |tg: &TaskGroup| {
        loop {
            let (stream, _) = listener.accept().await?;
            let site = Arc::clone(&site);
            tg.spawn(async move {
                // A client that went away, cancelled perhaps, does not concern the others.
                let _gone = answer(&site, stream).await;
                Ok(())
            });
        }
    });
    connections.await.map_err(anyhow::Error::from)
}

async fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

async fn answer(site: &Site, mut stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    // More than any request of ours.
    let mut lines = BufReader::new(reader.take(16 * 1024)).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let page = site.page(request.split(' ').nth(1).unwrap_or_default());
    tokio::time::sleep(page.delay).await;
    writer.write_all(&page.render()).await?;
    writer.shutdown().await
}

impl Page {
    fn render(&self) -> Vec<u8> {
        let (status, reason) = self.status;
        let body = vec![b'.'; self.size];
        let mut text = format!("HTTP/1.1 {status} {reason}\r\nConnection: close\r\n").into_bytes();
        match self.framing {
            Framing::Length => text.extend(format!("Content-Length: {}\r\n\r\n", self.size).bytes()),
            Framing::Close => text.extend(b"\r\n"),
            Framing::Chunked => {
                text.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in body.chunks(4096) {
                    text.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    text.extend(chunk);
                    text.extend(b"\r\n");
                }
                text.extend(b"0\r\n\r\n");
                return text;
            }
        }
        text.extend(body);
        text
    }
}

/// Numbers that look random and come again from the same seed (the `SplitMix64` generator).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_comes_again_from_its_seed() {
        let draw = |seed| {
            let pages = Site::new(seed, 1.0).pages;
            pages.iter().map(|page| (page.status.0, page.delay, page.size)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn about_a_tenth_fail_and_all_take_their_time() {
        let pages: Vec<_> = (0..100).flat_map(|seed| Site::new(seed, 1.0).pages).collect();
        let failing = pages.iter().filter(|page| page.status.0 != 200).count();
        assert!((150..250).contains(&failing), "{failing} of {}", pages.len());
        let range = Duration::from_millis(500)..=Duration::from_millis(1500);
        assert!(pages.iter().all(|page| range.contains(&page.delay)));
    }

    #[test]
    fn with_the_default_seed_two_fail_half_way() {
        let mut pages = Site::new(super::super::options::SEED, 1.0).pages;
        pages.sort_by_key(|page| page.delay);
        let failing: Vec<_> = (0..PAGES).filter(|&index| pages[index].status.0 != 200).collect();
        assert!(failing.len() == 2 && (5..15).contains(&failing[0]), "{failing:?}");
    }

    #[test]
    fn a_page_that_is_not_there_is_not_found() {
        let site = Site::new(0, 1.0);
        for path in ["/", "/page/0", "/page/21", "/page/x", ""] {
            assert_eq!((site.page(path).status, site.page(path).delay), (NOT_FOUND, Duration::ZERO));
        }
    }
}
