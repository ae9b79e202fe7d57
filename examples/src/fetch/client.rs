//! A small HTTP/1.1 client: one GET, one connection, the body only counted.

use std::fmt;
use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::url::Url;

/// The longest line of a head that is read, and the most lines.
const LINE: u64 = 16 * 1024;
const LINES: usize = 256;

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The words behind the status; may be empty.
    pub(super) reason: String,
    /// The length of the body.
    pub(super) bytes: u64,
}

/// The server answered with another status than that of success.
#[derive(Debug)]
pub(super) struct HttpError {
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) reason: String,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}", self.url, format!("{} {}", self.status, self.reason).trim_end())
    }
}

impl std::error::Error for HttpError {}

/// What came is not HTTP.
#[derive(Debug)]
pub(super) struct NotHttp(&'static str);

impl fmt::Display for NotHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is not HTTP: {}", self.0)
    }
}

impl std::error::Error for NotHttp {}

/// Fetches a page, whatever its status.
///
/// # Errors
///
/// `io::Error`, which names the URL; or [`NotHttp`].
pub(super) async fn get(url: &Url) -> anyhow::Result<Answer> {
    exchange(url).await.map_err(|error| match error.downcast::<io::Error>() {
        // Into the error itself: whoever takes the `io::Error` out of the group gets nothing around it.
        Ok(error) => io::Error::new(error.kind(), format!("{url}: {error}")).into(),
        Err(error) => error.context(format!("cannot read {url}")),
    })
}

async fn exchange(url: &Url) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect((url.host(), url.port())).await?;
    let (path, host) = (url.path(), url.authority());
    let agent = "taskgroup-example";
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    read_answer(&mut BufReader::new(stream)).await
}

async fn read_answer(from: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<Answer> {
    loop {
        let (status, reason) = read_status(from).await?;
        let body = read_headers(from).await?;
        // Such an answer only announces the real one.
        if (100..200).contains(&status) {
            continue;
        }
        let bytes = match body {
            _ if matches!(status, 204 | 304) => 0,
            Body::Chunked => read_chunks(from).await?,
            Body::Length(length) => skip(from, length).await?,
            Body::UntilClosed => tokio::io::copy_buf(from, &mut tokio::io::sink()).await?,
        };
        return Ok(Answer { status, reason, bytes });
    }
}

/// How the end of a body is known.
enum Body {
    Length(u64),
    Chunked,
    UntilClosed,
}

/// `HTTP/1.1 200 OK`
async fn read_status(from: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<(u16, String)> {
    let line = read_line(from).await?;
    let mut words = line.splitn(3, ' ');
    if !words.next().is_some_and(|version| version.starts_with("HTTP/1.")) {
        return Err(NotHttp("it does not begin with HTTP/1").into());
    }
    let code = words.next().filter(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()));
    let code = code.and_then(|code| code.parse().ok()).filter(|&code| code >= 100);
    let status = code.ok_or(NotHttp("it has no status"))?;
    Ok((status, words.next().unwrap_or_default().trim().to_owned()))
}

async fn read_headers(from: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<Body> {
    let (mut length, mut chunked) = (None, false);
    for _ in 0..LINES {
        let line = read_line(from).await?;
        if line.is_empty() {
            return Ok(match length {
                _ if chunked => Body::Chunked,
                Some(length) => Body::Length(length),
                None => Body::UntilClosed,
            });
        }
        let (name, value) = line.split_once(':').ok_or(NotHttp("a header has no colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            let last = value.rsplit(',').next().unwrap_or_default();
            chunked = last.trim().eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("content-length") {
            let number = value.parse().map_err(|_| NotHttp("the length is not a number"))?;
            if length.is_some_and(|length| length != number) {
                return Err(NotHttp("it has two lengths").into());
            }
            length = Some(number);
        }
    }
    Err(NotHttp("it has too many headers").into())
}

async fn read_chunks(from: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<u64> {
    let mut bytes = 0;
    loop {
        let line = read_line(from).await?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = u64::from_str_radix(digits, 16).map_err(|_| NotHttp("a chunk has no length"))?;
        if length == 0 {
            break;
        }
        bytes += skip(from, length).await?;
        if !read_line(from).await?.is_empty() {
            return Err(NotHttp("a chunk is longer than it says").into());
        }
    }
    for _ in 0..LINES {
        if read_line(from).await?.is_empty() {
            return Ok(bytes);
        }
    }
    Err(NotHttp("it has too many trailers").into())
}

/// Reads exactly so many bytes of a body.
async fn skip(from: &mut (impl AsyncBufRead + Unpin), length: u64) -> anyhow::Result<u64> {
    let bytes = tokio::io::copy_buf(&mut from.take(length), &mut tokio::io::sink()).await?;
    if bytes < length {
        let message = format!("the connection was closed after {bytes} of {length} bytes");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message).into());
    }
    Ok(bytes)
}

/// One line, without its end.
async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<String> {
    let mut line = Vec::new();
    from.take(LINE).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        if line.len() as u64 + 1 >= LINE {
            return Err(NotHttp("a line is too long").into());
        }
        let message = "the connection was closed before the answer was complete";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message).into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> anyhow::Result<Answer> {
        read_answer(&mut text.as_bytes()).await
    }

    #[tokio::test]
    async fn a_body_ends_in_each_of_the_ways() {
        for (rest, bytes) in [
            ("Content-Length: 5\r\n\r\nhello, and more", 5),
            ("content-length:5\n\nhello", 5),
            ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nT: 1\r\n\r\n", 15),
            ("Transfer-Encoding: gzip, Chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n", 0),
            ("\r\nuntil it is closed", 18),
            ("\r\n", 0),
        ] {
            let answer = read(&format!("HTTP/1.1 200 OK\r\n{rest}")).await.unwrap();
            assert_eq!(answer, Answer { status: 200, reason: "OK".to_owned(), bytes }, "{rest:?}");
        }
    }

    #[tokio::test]
    async fn some_answers_have_no_body_and_some_come_later() {
        let answer = read("HTTP/1.1 204\r\nContent-Length: 3\r\n\r\n").await.unwrap();
        assert_eq!(answer, Answer { status: 204, reason: String::new(), bytes: 0 });
        let answer = read("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 404 Not Found\r\n\r\n").await.unwrap();
        assert_eq!((answer.status, answer.reason.as_str()), (404, "Not Found"));
    }

    #[tokio::test]
    async fn a_cut_answer_is_an_io_error() {
        for text in [
            "",
            "HTTP/1.1 20",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        ] {
            let error = read(text).await.unwrap_err().downcast::<io::Error>().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{text:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_http_is_said() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(20_000));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(300));
        for (text, why) in [
            ("SSH-2.0-OpenSSH\r\n", "does not begin with HTTP/1"),
            ("HTTP/1.1 two\r\n", "no status"),
            ("HTTP/1.1 099 No\r\n", "no status"),
            ("HTTP/1.1 200 OK\r\nX\r\n\r\n", "no colon"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not a number"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "two lengths"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "a chunk has no length"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "longer than it says"),
            (&long, "too long"),
            (&many, "too many headers"),
        ] {
            let error = read(text).await.unwrap_err().downcast::<NotHttp>().unwrap();
            assert!(error.to_string().contains(why), "{why}: {error}");
        }
    }
}
