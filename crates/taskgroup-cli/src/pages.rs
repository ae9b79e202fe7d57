//! Completions and the man page, from the one definition of the flags.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::Args;

/// The completions of `tg` for a shell.
pub(crate) fn completions(shell: clap_complete::Shell, out: &mut dyn Write) -> io::Result<()> {
    // Into memory first: the generator panics when it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "tg", &mut text);
    out.write_all(&text)
}

/// The man page `tg(1)`: one page, with a section for each command that has options.
pub(crate) fn man(out: &mut dyn Write) -> io::Result<()> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let page = Man::new(command.clone());
    page.render_title(out)?;
    page.render_name_section(out)?;
    writeln!(out, ".SH SYNOPSIS")?;
    for sub in command.get_subcommands() {
        synopsis(sub, out)?;
    }
    page.render_description_section(out)?;
    for sub in command.get_subcommands() {
        section(sub, out)?;
    }
    verbatim("EXIT STATUS", command.get_after_help(), out)?;
    page.render_version_section(out)
}

fn synopsis(sub: &Command, out: &mut dyn Write) -> io::Result<()> {
    let usage = sub.clone().render_usage().to_string();
    writeln!(out, ".nf\n{}\n.fi", roff(usage.trim_start_matches("Usage: ")))
}

fn section(sub: &Command, out: &mut dyn Write) -> io::Result<()> {
    let name = sub.get_name().to_uppercase();
    writeln!(out, ".SH TG {name}")?;
    if let Some(about) = sub.get_long_about().or(sub.get_about()) {
        writeln!(out, "{}", roff(&about.to_string()).replace("\n\n", "\n.PP\n"))?;
    }
    let mut options = Vec::new();
    Man::new(sub.clone()).render_options_section(&mut options)?;
    // The headings of its options become subsections of this one.
    let options = String::from_utf8_lossy(&options).replace(".SH ", ".SS ");
    out.write_all(options.as_bytes())?;
    match sub.get_after_help() {
        Some(text) => verbatim_as(".SS", "NOTES", &text.to_string(), out),
        None => Ok(()),
    }
}

fn verbatim(title: &str, text: Option<&clap::builder::StyledStr>, out: &mut dyn Write) -> io::Result<()> {
    match text {
        Some(text) => verbatim_as(".SH", title, &text.to_string(), out),
        None => Ok(()),
    }
}

fn verbatim_as(heading: &str, title: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{heading} \"{title}\"\n.nf\n{}\n.fi", roff(text))
}

/// Text as roff takes it literally: no escapes, no hyphens of its own making, no requests at the start of a line.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    let lines: Vec<String> = escaped
        .lines()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_string() })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_gets_completions() {
        for shell in clap_complete::Shell::value_variants() {
            let mut out = Vec::new();
            completions(*shell, &mut out).expect("memory");
            let text = String::from_utf8(out).expect("text");
            assert!(text.contains("first-success"), "{shell}");
        }
    }

    #[test]
    fn the_man_page_has_every_option() {
        let mut out = Vec::new();
        man(&mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        for part in ["TG RUN", "TG EACH", "timeout\\-each", "EXIT STATUS", "125", "SYNOPSIS"] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn a_reader_that_leaves_is_no_panic() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(man(&mut Gone).is_err());
        assert!(completions(clap_complete::Shell::Bash, &mut Gone).is_err());
    }

    #[test]
    fn roff_is_literal() {
        assert_eq!(roff(".x\n'y -\\"), "\\&.x\n\\&'y \\-\\e");
    }
}
