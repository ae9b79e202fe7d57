//! What keeper and program say to each other, over a stream socket of their own.
//!
//! Notices (keeper to program) and orders (program to keeper) are frames of fixed sizes, in the byte order of the
//! machine: both ends are one program, before and after a `fork`. The end of the stream says that the other one is gone.

/// The bytes of text a notice has room for: the beginning of a command line.
pub(super) const TEXT: usize = 256;

const WORDS: usize = 8;

/// The size of a notice.
pub(super) const NOTICE: usize = WORDS * 8 + TEXT;

/// The size of an order.
pub(super) const ORDER: usize = 16;

/// Which step of a start has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Program,
    /// Entering the working directory.
    Directory,
    /// Making the namespaces.
    Isolation,
    /// Entering the cgroup.
    Group,
    /// Making it.
    GroupFolder,
}

impl Step {
    /// From its number.
    pub(super) fn from_word(word: u64) -> Self {
        match word {
            1 => Self::Directory,
            2 => Self::Isolation,
            3 => Self::Group,
            4 => Self::GroupFolder,
            _ => Self::Program,
        }
    }
}

/// What a keeper tells the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The leader runs, with this pid; the pid of its init if it is isolated, or 0.
    Started { pid: u32, init: u32 },
    /// It could not be started: the number of the error, and what was at fault.
    Refused { errno: i32, step: Step },
    /// The leader was stopped by a signal.
    Stopped { signal: i32 },
    /// The leader has ended, with this wait status; descendants of it may be alive.
    LeaderEnded { status: i32 },
    /// This descendant has outlived the leader. Its command line is the notice's text.
    Leaked { pid: u32 },
    /// Nobody is left; the keeper waits for the next command.
    Empty(Tally),
}

/// What became of the whole set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The wait status of the leader.
    pub(super) status: i32,
    /// Processor time, in microseconds.
    pub(super) user: u64,
    pub(super) system: u64,
    /// The largest resident set of any process, in KiB.
    pub(super) max_rss: u64,
    /// How many processes were sent SIGTERM, and how many SIGKILL.
    pub(super) terminated: u32,
    pub(super) killed: u32,
    /// How many could not be ended: they belong to another user.
    pub(super) survivors: u32,
}

/// What the program tells a keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Start the command whose image comes with this order as a file, with its three streams, and, if so, its terminal.
    Launch { terminal: bool },
    /// SIGTERM to the set, and SIGKILL to what is left of it after so many milliseconds.
    Terminate { grace: u64 },
    /// SIGKILL to the set.
    Kill,
    /// SIGTSTP to the set; the keeper's timers stop.
    Suspend,
    /// SIGCONT to the set; the keeper's timers go on.
    Resume,
}

impl Notice {
    pub(super) fn to_bytes(self, text: &[u8]) -> [u8; NOTICE] {
        let words: [u64; WORDS] = match self {
            Self::Started { pid, init } => [0, u64::from(pid), u64::from(init), 0, 0, 0, 0, 0],
            Self::Refused { errno, step } => [1, signed(errno), step as u64, 0, 0, 0, 0, 0],
            Self::Stopped { signal } => [2, signed(signal), 0, 0, 0, 0, 0, 0],
            Self::LeaderEnded { status } => [3, signed(status), 0, 0, 0, 0, 0, 0],
            Self::Leaked { pid } => [4, u64::from(pid), 0, 0, 0, 0, 0, 0],
            Self::Empty(t) => {
                let signalled = u64::from(t.terminated) << 32 | u64::from(t.killed);
                [5, signed(t.status), t.user, t.system, t.max_rss, signalled, u64::from(t.survivors), 0]
            }
        };
        let mut bytes = [0; NOTICE];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        for (byte, of) in bytes.iter_mut().skip(WORDS * 8).zip(text) {
            *byte = *of;
        }
        bytes
    }

    /// The notice and its text; `None` if these bytes are none.
    pub(super) fn from_bytes(bytes: &[u8; NOTICE]) -> Option<(Self, &[u8])> {
        let word = |n: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[n * 8 + i]));
        let number = |n: usize| word(n) as u32;
        let notice = match word(0) {
            0 => Self::Started { pid: number(1), init: number(2) },
            1 => Self::Refused { errno: word(1) as i32, step: Step::from_word(word(2)) },
            2 => Self::Stopped { signal: word(1) as i32 },
            3 => Self::LeaderEnded { status: word(1) as i32 },
            4 => Self::Leaked { pid: number(1) },
            5 => Self::Empty(Tally {
                status: word(1) as i32,
                user: word(2),
                system: word(3),
                max_rss: word(4),
                terminated: (word(5) >> 32) as u32,
                killed: number(5),
                survivors: number(6),
            }),
            _ => return None,
        };
        let text = &bytes[WORDS * 8..];
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(TEXT);
        Some((notice, &text[..end]))
    }
}

impl Order {
    pub(super) fn to_bytes(self) -> [u8; ORDER] {
        let (kind, value) = match self {
            Self::Terminate { grace } => (0u64, grace),
            Self::Kill => (1, 0),
            Self::Suspend => (2, 0),
            Self::Resume => (3, 0),
            Self::Launch { terminal } => (4, u64::from(terminal)),
        };
        let mut bytes = [0; ORDER];
        bytes[..8].copy_from_slice(&kind.to_ne_bytes());
        bytes[8..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; ORDER]) -> Option<Self> {
        let word = |n: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[n * 8 + i]));
        Some(match word(0) {
            0 => Self::Terminate { grace: word(1) },
            1 => Self::Kill,
            2 => Self::Suspend,
            3 => Self::Resume,
            4 => Self::Launch { terminal: word(1) != 0 },
            _ => return None,
        })
    }
}

fn signed(number: i32) -> u64 {
    u64::from(number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_comes_back() {
        let tally =
            Tally { status: -1, user: 1, system: 2, max_rss: 3, terminated: 4, killed: 5, survivors: 6 };
        for notice in [
            Notice::Started { pid: 7, init: 6 },
            Notice::Refused { errno: 2, step: Step::Program },
            Notice::Refused { errno: 2, step: Step::Directory },
            Notice::Refused { errno: 2, step: Step::Isolation },
            Notice::Refused { errno: 2, step: Step::Group },
            Notice::Refused { errno: 2, step: Step::GroupFolder },
            Notice::Stopped { signal: 21 },
            Notice::LeaderEnded { status: 0x0f00 },
            Notice::Leaked { pid: u32::MAX },
            Notice::Empty(tally),
        ] {
            let bytes = notice.to_bytes(b"sleep 10");
            assert_eq!(Notice::from_bytes(&bytes), Some((notice, b"sleep 10".as_slice())));
        }
    }

    #[test]
    fn text_is_cut_where_the_room_ends() {
        let bytes = Notice::Leaked { pid: 1 }.to_bytes(&[b'x'; TEXT + 1]);
        assert_eq!(Notice::from_bytes(&bytes).unwrap().1, [b'x'; TEXT]);
    }

    #[test]
    fn every_order_comes_back() {
        let launch = |terminal| Order::Launch { terminal };
        let grace = u64::MAX;
        let orders = [
            Order::Terminate { grace },
            Order::Kill,
            Order::Suspend,
            Order::Resume,
            launch(true),
            launch(false),
        ];
        for order in orders {
            assert_eq!(Order::from_bytes(&order.to_bytes()), Some(order));
        }
        assert_eq!(Order::from_bytes(&[9; ORDER]), None);
    }
}
