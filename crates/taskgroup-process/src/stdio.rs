//! Where a command's standard streams go.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::net::unix::pipe;

/// What one of a command's standard streams is.
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug)]
enum Kind {
    Null,
    Inherit,
    Piped,
    File(OwnedFd),
}

/// Which of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

impl Stdio {
    /// `/dev/null`: nothing to read, and what is written is gone. Standard input is this unless said otherwise.
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// The program's own. Both outputs are this unless said otherwise.
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// A pipe, to be read or written through [`Running`](crate::Running).
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }

    /// What the command reads from, and the end that is written to.
    pub(crate) fn input(self) -> io::Result<(OwnedFd, Option<pipe::Sender>)> {
        match self.0 {
            Kind::Null => Ok((File::open("/dev/null")?.into(), None)),
            Kind::Inherit => Ok((io::stdin().as_fd().try_clone_to_owned()?, None)),
            Kind::File(file) => Ok((file, None)),
            Kind::Piped => {
                let (reader, writer) = io::pipe()?;
                Ok((reader.into(), Some(pipe::Sender::from_owned_fd(writer.into())?)))
            }
        }
    }

    /// What the command writes to, and the end that is read from.
    pub(crate) fn output(self, stream: Stream) -> io::Result<(OwnedFd, Option<pipe::Receiver>)> {
        match self.0 {
            Kind::Null => Ok((OpenOptions::new().write(true).open("/dev/null")?.into(), None)),
            Kind::Inherit => {
                let own = match stream {
                    Stream::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
                    Stream::Stderr => io::stderr().as_fd().try_clone_to_owned()?,
                };
                Ok((own, None))
            }
            Kind::File(file) => Ok((file, None)),
            Kind::Piped => {
                let (reader, writer) = io::pipe()?;
                Ok((writer.into(), Some(pipe::Receiver::from_owned_fd(reader.into())?)))
            }
        }
    }
}

/// That file, socket or pipe.
impl From<OwnedFd> for Stdio {
    fn from(file: OwnedFd) -> Self {
        Self(Kind::File(file))
    }
}

/// That file.
impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Self(Kind::File(file.into()))
    }
}
