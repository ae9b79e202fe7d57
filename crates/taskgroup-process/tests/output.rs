//! Output is read to its end, and nobody outside the command is waited for.

#![cfg(target_os = "linux")]

mod common;

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use common::{Watch, alive, soon};
use taskgroup_process::{Command, Error, Stdio, Stream};

const MEGABYTE: usize = 1024 * 1024;

#[tokio::test]
async fn ten_megabytes_come_whole() {
    let output = soon(Command::new("head").args(["-c", "10485760", "/dev/zero"]).output()).await.unwrap();
    assert!(output.stdout.len() == 10 * MEGABYTE && output.stdout.iter().all(|byte| *byte == 0));
    assert!(output.stderr.is_empty() && output.exit.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_lose_nothing() {
    let all: Vec<_> = (0..20u8)
        .map(|number| {
            let line = format!("head -c 1000000 /dev/zero | tr '\\0' '\\{number:03o}'; printf end >&2");
            tokio::spawn(Command::shell(line).output())
        })
        .collect();
    for (number, output) in all.into_iter().enumerate() {
        let output = soon(output).await.unwrap().unwrap();
        assert!(
            output.stdout.len() == 1_000_000 && output.stdout.iter().all(|byte| usize::from(*byte) == number)
        );
        assert_eq!(output.stderr, b"end");
    }
}

#[tokio::test]
async fn binary_output_comes_as_it_is() {
    let line = "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done";
    let output = soon(Command::shell(line).output()).await.unwrap();
    assert_eq!(output.stdout, (0..=255).collect::<Vec<u8>>());
}

/// What was written last, right before the end, many times: none of it is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_come() {
    for _ in 0..200 {
        let output = soon(Command::shell("printf a; printf b >&2; printf c").output()).await.unwrap();
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"ac"[..], &b"b"[..]));
    }
}

/// A process that is none of the command's holds its output: it is not waited for, and lives on.
#[tokio::test]
async fn a_pipe_held_outside_does_not_hang() {
    let mut watch = Watch::new();
    let (told, mut came) = tokio::sync::mpsc::unbounded_channel();
    let command = watch.command("say up hold").on_output(move |stream, bytes| {
        told.send((stream, bytes.to_vec())).unwrap();
    });
    let run = tokio::spawn(command.timeout(Duration::from_secs(1)).run());
    soon(came.recv()).await.unwrap();
    let leader: u32 = alive(&watch.mark)[0].split(':').next().unwrap().parse().unwrap();
    let mut held = std::fs::OpenOptions::new().write(true).open(format!("/proc/{leader}/fd/2")).unwrap();
    held.write_all(b"before").unwrap();
    let error = soon(run).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }));
    assert_eq!(came.recv().await.unwrap(), (Stream::Stderr, b"before".to_vec()));
    assert!(came.recv().await.is_none());
    assert_eq!(held.write(b"after").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    watch.assert_nobody().await;
}

/// The command gives its output away, over a socket, to somebody who is none of it.
#[tokio::test]
async fn a_pipe_given_away_does_not_hang() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut watch = Watch::new();
    let command = watch.command("give 1 exit 0").stdin(Stdio::from(OwnedFd::from(theirs)));
    let output = soon(command.output()).await.unwrap();
    assert!(output.stdout.is_empty());
    let given = received(&ours);
    assert!(given.as_raw_fd() > 2, "and it is still open");
    assert_eq!(std::fs::File::from(given).write(b"late").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    watch.assert_nobody().await;
}

fn received(socket: &std::os::unix::net::UnixStream) -> OwnedFd {
    use std::os::fd::FromRawFd;
    let (mut byte, mut control) = ([0u8; 1], [0u64; 8]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: both buffers are writable for their lengths; the descriptor that comes is new.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        assert_eq!(libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC), 1);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!header.is_null());
        OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<i32>().read_unaligned())
    }
}
