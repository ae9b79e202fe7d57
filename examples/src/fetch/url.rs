//! As much of URLs as this example needs: `http://host[:port]/path`.

use std::fmt;
use std::str::FromStr;

/// A URL that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// A name or an address, without the brackets of IPv6.
    host: String,
    port: u16,
    /// With the leading slash, and the query.
    path: String,
}

impl Url {
    pub(super) fn new(host: impl Into<String>, port: u16, path: impl Into<String>) -> Self {
        Self { host: host.into(), port, path: path.into() }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The host as it stands in a URL and in the `Host` header.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        parse(text).map_err(|why| BadUrl { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Url, &'static str> {
    // They would end the line of the request.
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("a URL has no spaces and no control characters");
    }
    let (scheme, rest) = text.split_once("://").ok_or("a URL begins with http://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" => return Err("https is not supported by this example"),
        _ => return Err("only http is supported by this example"),
    }
    let rest = rest.split_once('#').map_or(rest, |(before, _fragment)| before);
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("a user name in a URL is not supported by this example");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or("the bracket of the host is not closed")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "only an IPv6 address stands in brackets")?;
            let port = match port {
                "" => None,
                _ => Some(port.strip_prefix(':').ok_or("after the bracket comes a port, or the path")?),
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    let port = match port {
        None | Some("") => 80,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|&port| port != 0).ok_or("the port is not from 1 to 65535")?
        }
        Some(_) => return Err("the port is not a number"),
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Url::new(host, port, path))
}

/// A text that is no URL, or none that this example can fetch.
#[derive(Debug)]
pub struct BadUrl {
    text: String,
    why: &'static str,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot fetch {:?}: {}", self.text, self.why)
    }
}

impl std::error::Error for BadUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_defaults() {
        for (text, host, port, path) in [
            ("http://example.org", "example.org", 80, "/"),
            ("HTTP://example.org:8080/a/b?c=d#e", "example.org", 8080, "/a/b?c=d"),
            ("http://example.org?q", "example.org", 80, "/?q"),
            ("http://example.org:/", "example.org", 80, "/"),
            ("http://127.0.0.1:1/", "127.0.0.1", 1, "/"),
            ("http://[::1]:81/x", "::1", 81, "/x"),
            ("http://[::1]", "::1", 80, "/"),
        ] {
            assert_eq!(text.parse::<Url>().unwrap(), Url::new(host, port, path), "{text}");
        }
    }

    #[test]
    fn it_is_shown_as_it_can_be_read() {
        for text in ["http://example.org/", "http://[::1]:81/x?y", "http://a:8080/"] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("https://example.org/", "https is not supported by this example"),
            ("ftp://example.org/", "only http is supported"),
            ("example.org", "begins with http://"),
            ("http://", "the host is missing"),
            ("http://:80/", "the host is missing"),
            ("http://a:b/", "the port is not a number"),
            ("http://a:+1/", "the port is not a number"),
            ("http://a:0/", "the port is not from 1"),
            ("http://a:65536/", "the port is not from 1"),
            ("http://a/b c", "no spaces"),
            ("http://a/b\r\nX: y", "no spaces and no control"),
            ("http://me@a/", "a user name"),
            ("http://[::1/", "not closed"),
            ("http://[::1]x", "after the bracket"),
            ("http://[a]/", "only an IPv6 address"),
        ] {
            let message = text.parse::<Url>().unwrap_err().to_string();
            assert!(message.contains(why), "{text:?}: {message}");
        }
    }
}
