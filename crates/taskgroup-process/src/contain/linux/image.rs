//! What a keeper is told to start: one piece of memory, made in the program, mapped in the keeper.
//!
//! ```text
//!   header │ argument list │ the same for a shell │ environment list │ texts, each with its NUL
//! ```
//!
//! The lists hold offsets of texts, each list ends in 0. Mapped, they become the lists of pointers that `execve` takes.
//!
//! # Invariants
//!
//! 1. The keeper allocates nothing: it maps the file privately, and changes its own copy.
//! 2. Maker and reader are one program; still the reader trusts no offset beyond the mapping.

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use super::orphans::MARK;
use super::sys;
use crate::contain::Spec;

const WORD: usize = size_of::<usize>();

/// The header: each a word.
#[derive(Clone, Copy)]
enum Field {
    Program,
    /// 0: the keeper's own.
    Directory,
    Arguments,
    ShellArguments,
    Environment,
    /// For what the command leaves behind, in milliseconds.
    Grace,
    /// 0: none.
    Group,
    /// Whether it is isolated.
    Isolate,
    Len,
}

/// Writes the command into a file without a name. `mark` is the variable that marks its processes, `group` the folder of its cgroup.
pub(super) fn write(spec: &Spec, mark: &str, group: Option<&OsStr>) -> io::Result<OwnedFd> {
    let mut marks = OsString::new();
    let mut environment = Vec::with_capacity(spec.environment.len() + 1);
    for (name, value) in &spec.environment {
        if name == MARK {
            marks = value.clone();
            marks.push("/");
        } else {
            environment.push(joined([name, OsStr::new("="), value]));
        }
    }
    environment.push(joined([OsStr::new(MARK), OsStr::new("="), &marks, OsStr::new(mark)]));
    let program = spec.program.as_os_str();
    let mut arguments: Vec<&OsStr> = spec.arguments.iter().map(OsString::as_os_str).collect();
    let mut writer = Writer { words: vec![0; Field::Len as usize], texts: Vec::new(), moved: Vec::new() };
    writer.text(Field::Program as usize, program)?;
    if let Some(directory) = &spec.directory {
        writer.text(Field::Directory as usize, directory.as_os_str())?;
    }
    if let Some(group) = group {
        writer.text(Field::Group as usize, group)?;
    }
    writer.list(Field::Arguments, &arguments)?;
    arguments.splice(..arguments.len().min(1), [OsStr::new("/bin/sh"), program]);
    writer.list(Field::ShellArguments, &arguments)?;
    let environment: Vec<&OsStr> = environment.iter().map(OsString::as_os_str).collect();
    writer.list(Field::Environment, &environment)?;
    writer.words[Field::Grace as usize] = usize::try_from(super::millis(spec.grace)).unwrap_or(usize::MAX);
    writer.words[Field::Isolate as usize] = usize::from(spec.isolate);
    writer.finish()
}

fn joined<const N: usize>(parts: [&OsStr; N]) -> OsString {
    let mut whole = OsString::new();
    parts.iter().for_each(|part| whole.push(part));
    whole
}

struct Writer {
    words: Vec<usize>,
    texts: Vec<u8>,
    /// The words that hold offsets into the texts, which stand behind the words.
    moved: Vec<usize>,
}

impl Writer {
    fn text(&mut self, word: usize, text: &OsStr) -> io::Result<()> {
        if text.as_bytes().contains(&0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a NUL in the command, an argument or the environment",
            ));
        }
        self.words[word] = self.texts.len();
        self.moved.push(word);
        self.texts.extend_from_slice(text.as_bytes());
        self.texts.push(0);
        Ok(())
    }

    fn list(&mut self, field: Field, texts: &[&OsStr]) -> io::Result<()> {
        let first = self.words.len();
        self.words[field as usize] = first * WORD;
        self.words.resize(first + texts.len() + 1, 0);
        texts.iter().enumerate().try_for_each(|(index, text)| self.text(first + index, text))
    }

    fn finish(mut self) -> io::Result<OwnedFd> {
        let behind = self.words.len() * WORD;
        for word in self.moved {
            self.words[word] += behind;
        }
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.append(&mut self.texts);
        // SAFETY: the name ends in NUL.
        let fd = unsafe { libc::memfd_create(c"taskgroup command".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just opened is ours alone.
        let file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.write_all_at(&bytes, 0)?;
        Ok(file.into())
    }
}

/// A command, mapped; unmapped when dropped.
pub(super) struct Image {
    base: *mut u8,
    len: usize,
}

impl Image {
    pub(super) fn map(file: &OwnedFd) -> Option<Self> {
        let len = sys::size_of_file(file)?;
        if len < Field::Len as usize * WORD {
            return None;
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, of a file that nobody changes any more.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        if base == libc::MAP_FAILED {
            return None;
        }
        let this = Self { base: base.cast(), len };
        for list in [Field::Arguments, Field::ShellArguments, Field::Environment] {
            this.point(this.word(list as usize));
        }
        Some(this)
    }

    fn word(&self, index: usize) -> usize {
        if (index + 1) * WORD > self.len {
            return 0;
        }
        // SAFETY: within the mapping, which is aligned to pages.
        unsafe { self.base.cast::<usize>().add(index).read() }
    }

    /// Makes the offsets of a list pointers.
    fn point(&self, list: usize) {
        for index in list / WORD.. {
            let offset = self.word(index);
            if offset == 0 || offset >= self.len {
                return;
            }
            // SAFETY: `word` has read it: it is within the mapping.
            unsafe { self.base.cast::<usize>().add(index).write(self.base as usize + offset) };
        }
    }

    fn at(&self, field: Field) -> *const u8 {
        self.base.wrapping_add(self.word(field as usize)).cast_const()
    }

    pub(super) fn program(&self) -> *const c_char {
        self.at(Field::Program).cast()
    }

    pub(super) fn directory(&self) -> Option<*const c_char> {
        (self.word(Field::Directory as usize) != 0).then(|| self.at(Field::Directory).cast())
    }

    pub(super) fn arguments(&self) -> *const *const c_char {
        self.at(Field::Arguments).cast()
    }

    /// For a script without `#!`: the shell, the program, its arguments.
    pub(super) fn shell_arguments(&self) -> *const *const c_char {
        self.at(Field::ShellArguments).cast()
    }

    pub(super) fn environment(&self) -> *const *const c_char {
        self.at(Field::Environment).cast()
    }

    pub(super) fn grace(&self) -> u64 {
        self.word(Field::Grace as usize) as u64
    }

    /// The folder of its cgroup.
    pub(super) fn group(&self) -> Option<&CStr> {
        let is_given = self.word(Field::Group as usize) != 0;
        // SAFETY: a text of the image, which ends in NUL, and is there as long as the image is.
        is_given.then(|| unsafe { CStr::from_ptr(self.at(Field::Group).cast()) })
    }

    pub(super) fn is_isolated(&self) -> bool {
        self.word(Field::Isolate as usize) != 0
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's alone, and goes with it.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::CStr;
    use std::time::Duration;

    use super::*;

    fn spec() -> Spec {
        let null = || std::fs::File::open("/dev/null").unwrap().into();
        Spec {
            program: "/bin/echo".into(),
            arguments: vec!["echo".into(), "one".into(), "".into()],
            environment: BTreeMap::from([("A".into(), "1".into()), (MARK.into(), "9.9".into())]),
            directory: Some("/tmp".into()),
            streams: [null(), null(), null()],
            terminal: None,
            grace: Duration::from_millis(1500),
            isolate: true,
            cgroup: None,
        }
    }

    fn text(at: *const c_char) -> String {
        // SAFETY: the tests give texts of an image.
        unsafe { CStr::from_ptr(at) }.to_str().unwrap().to_owned()
    }

    fn list(at: *const *const c_char) -> Vec<String> {
        // SAFETY: the tests give lists of an image, which end in null.
        (0..).map(|index| unsafe { at.add(index).read() }).take_while(|at| !at.is_null()).map(text).collect()
    }

    #[test]
    fn a_command_comes_out_as_it_went_in() {
        let image = Image::map(&write(&spec(), "1.2", Some(OsStr::new("/cg"))).unwrap()).unwrap();
        assert_eq!(
            (text(image.program()), image.directory().map(text)),
            ("/bin/echo".into(), Some("/tmp".into()))
        );
        assert_eq!(list(image.arguments()), ["echo", "one", ""]);
        assert_eq!(list(image.shell_arguments()), ["/bin/sh", "/bin/echo", "one", ""]);
        assert_eq!(list(image.environment()), ["A=1", "TASKGROUP_JOB=9.9/1.2"]);
        assert_eq!(image.group(), Some(c"/cg"));
        assert!(image.grace() == 1500 && image.is_isolated());
    }

    #[test]
    fn what_is_not_given_is_not_there() {
        let image = Image::map(&write(&Spec { directory: None, ..spec() }, "1.2", None).unwrap()).unwrap();
        assert!(image.directory().is_none() && image.group().is_none());
    }

    #[test]
    fn a_nul_is_refused() {
        let error = write(&Spec { arguments: vec!["a\0b".into()], ..spec() }, "1.2", None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_piece_of_memory_that_is_no_command_is_refused() {
        let file = tempfile();
        assert!(Image::map(&file).is_none());
    }

    fn tempfile() -> OwnedFd {
        // SAFETY: the name ends in NUL, and a descriptor just opened is ours alone.
        unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"empty".as_ptr(), libc::MFD_CLOEXEC)) }
    }
}
