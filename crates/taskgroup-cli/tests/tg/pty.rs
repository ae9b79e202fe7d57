//! `tg` on a terminal of its own.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;

use rustix::termios::{Termios, tcgetattr, tcgetpgrp};

use crate::program::{Program, Text, Tg, stdio};

/// A terminal of 80 columns and 24 rows.
pub(crate) struct Pty {
    keyboard: File,
    line: OwnedFd,
    pub(crate) screen: Text,
}

impl Pty {
    pub(crate) fn new() -> Self {
        let (mut keyboard, mut line) = (-1, -1);
        let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: writes two descriptors, and reads a size; no name and no modes are asked for or given.
        let made = unsafe {
            libc::openpty(
                &raw mut keyboard,
                &raw mut line,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(made, 0, "{}", io::Error::last_os_error());
        for descriptor in [keyboard, line] {
            // SAFETY: a descriptor that has just been made.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        // SAFETY: they have just been made, and nobody else has them.
        let (keyboard, line) = unsafe { (File::from_raw_fd(keyboard), OwnedFd::from_raw_fd(line)) };
        let screen = Text::of(keyboard.try_clone().unwrap());
        Self { keyboard, line, screen }
    }

    /// Starts it as the leader of a session whose terminal this is; all three streams are the terminal.
    pub(crate) fn start(&self, mut tg: Tg) -> Program {
        let line = self.line.as_raw_fd();
        tg.command.stdin(stdio(&self.line)).stdout(stdio(&self.line)).stderr(stdio(&self.line));
        // SAFETY: two system calls, which may be made between fork and exec.
        unsafe {
            tg.command.pre_exec(move || {
                if libc::setsid() < 0 || libc::ioctl(line, libc::TIOCSCTTY, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        Program::of(tg.command.spawn().unwrap())
    }

    pub(crate) fn types(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(&self.line).unwrap()
    }

    /// Whose group has the foreground.
    pub(crate) fn foreground(&self) -> Option<u32> {
        tcgetpgrp(self.keyboard.as_fd()).ok().map(|group| group.as_raw_nonzero().get() as u32)
    }

    /// What a person sees after all that was written.
    pub(crate) fn picture(&self) -> String {
        let mut parser = vt100::Parser::new(24, 80, 0);
        parser.process(self.screen.text().as_bytes());
        let lines: Vec<String> = parser.screen().rows(0, 80).map(|row| row.trim_end().to_string()).collect();
        lines.join("\n").trim_end().to_string()
    }
}

/// Whether two sets of modes are the same.
#[track_caller]
pub(crate) fn same(one: &Termios, other: &Termios) {
    let parts =
        |modes: &Termios| (modes.input_modes, modes.output_modes, modes.control_modes, modes.local_modes);
    assert_eq!(parts(one), parts(other));
}
