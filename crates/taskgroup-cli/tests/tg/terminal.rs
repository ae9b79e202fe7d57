//! What `tg` does on a terminal.

use crate::program::{Folder, all_gone, pids, state, until};
use crate::pty::{Pty, same};

#[test]
fn the_live_region_comes_and_goes() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    folder.write(
        "jobs.toml",
        "[job.build]\nrun='echo compiling; echo > here; read x < go; echo done'\n\
         [job.test]\nrun='echo > here; read x < go'\n",
    );
    let pty = Pty::new();
    let before = pty.modes();
    let program = pty.start(folder.tg(["run", "-f", "jobs.toml"]));
    here.hears();
    here.hears();
    until("the region", || {
        let seen = pty.picture();
        seen.contains("build") && seen.contains("compiling") && seen.contains("0/2  2 running")
    });
    go.opens(2);
    program.end().code(0);
    until("the last line", || pty.picture().contains("2 jobs in 0:"));
    let seen = pty.picture();
    assert!(seen.contains("── build (") && seen.contains("\ncompiling\ndone\n"), "{seen}");
    assert!(!seen.contains("running"), "{seen}");
    same(&before, &pty.modes());
}

#[test]
fn the_key_t_and_usr1_show_what_runs() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    folder.write("jobs.toml", "[job.build]\nrun='echo $$ > pids; echo > here; read x < go'\n");
    let pty = Pty::new();
    let before = pty.modes();
    let program = pty.start(folder.tg(["run", "-v", "-f", "jobs.toml"]));
    here.hears();
    // The job may speak before tg has been told that it runs.
    pty.screen.wait_for("started build");
    let told = format!("build  pid {}", pids(&folder, "pids")[0]);
    pty.types("x t");
    pty.screen.wait_for("1 job running");
    pty.screen.wait_for(&told);
    let once = pty.screen.text().matches(&told).count();
    assert_eq!(once, 1);
    assert!(!pty.screen.text().contains('x'), "keys are not shown");
    program.signal("USR1");
    until("the list", || pty.screen.text().matches(&told).count() == 2);
    go.opens(1);
    program.end().code(0);
    same(&before, &pty.modes());
}

#[test]
fn ctrl_c_ends_the_run() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    let pty = Pty::new();
    let before = pty.modes();
    let line = "echo $$ >> pids; echo > here; sleep 1000";
    let program = pty.start(folder.tg(["run", line, line]));
    here.hears();
    here.hears();
    pty.types("\x03");
    program.end().code(130);
    pty.screen.wait_for("SIGINT: 2 cancelled");
    all_gone(&pids(&folder, "pids"));
    same(&before, &pty.modes());
}

#[test]
fn ctrl_z_stops_the_run_and_leaves_a_clean_terminal() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let pty = Pty::new();
    let before = pty.modes();
    let line = "echo $$ >> pids; echo > here; read x < go";
    let program = pty.start(folder.tg(["run", line, line]));
    here.hears();
    here.hears();
    until("the region", || pty.picture().contains("0/2  2 running"));
    pty.types("\x1a");
    program.is_stopped(true);
    same(&before, &pty.modes());
    until("the region to go", || !pty.picture().contains("running"));
    for pid in pids(&folder, "pids") {
        until("the job to stop", || state(pid) == Some('T'));
    }
    program.signal("CONT");
    until("the region", || pty.picture().contains("0/2  2 running"));
    go.opens(2);
    program.end().code(0);
    same(&before, &pty.modes());
}

/// With a shell that has job control: what it puts in the foreground goes on there.
#[test]
fn a_shell_can_stop_it_and_bring_it_back() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let pty = Pty::new();
    let line = "set -m; $TG run 'echo > here; read x < go; echo job done'; echo \"stopped: $?\"; fg; echo \"code $?\"";
    let mut tg = folder.tg([""]);
    let name = tg.command.get_program().to_owned();
    tg.command = std::process::Command::new("sh");
    tg.command.args(["-c", line]).current_dir(folder.root()).env("TG", name).env("TERM", "xterm");
    let program = pty.start(tg);
    here.hears();
    pty.types("\x1a");
    pty.screen.wait_for("stopped: ");
    go.opens(1);
    pty.screen.wait_for("code 0");
    program.end().code(0);
    assert!(pty.screen.text().contains("job done"));
}

#[test]
fn a_job_may_own_the_terminal() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    folder.write(
        "jobs.toml",
        "[job.ask]\nrun='echo $$ > pids; echo > here; read x; echo \"got: $x\"'\n\
         [job.after]\nrun='echo > here; read x < go'\nneeds=['ask']\n",
    );
    let pty = Pty::new();
    let before = pty.modes();
    let program = pty.start(folder.tg(["run", "--tty", "ask", "-f", "jobs.toml"]));
    here.hears();
    assert_eq!(pty.foreground(), Some(pids(&folder, "pids")[0]));
    pty.types("an answer\n");
    pty.screen.wait_for("got: an answer");
    here.hears();
    assert_eq!(pty.foreground(), Some(program.pid()), "given back");
    go.opens(1);
    program.end().code(0);
    same(&before, &pty.modes());
}

#[test]
fn who_owns_the_terminal_gets_ctrl_c_itself() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let ask = "trap 'echo interrupted > here; exit 0' INT; sh -c 'echo > here; exec sleep 1000' & wait";
    folder.write(
        "jobs.toml",
        format!("[job.ask]\nrun=\"{ask}\"\ntty=true\nleaks='ignore'\n[job.b]\nrun='read x < go; echo b'\n"),
    );
    let pty = Pty::new();
    let program = pty.start(folder.tg(["run", "-f", "jobs.toml"]));
    here.hears();
    pty.types("\x03");
    assert_eq!(here.hears(), "interrupted");
    go.opens(1);
    program.end().code(0);
}

#[test]
fn who_owns_the_terminal_may_stop_the_run_there() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    let ask = "echo $$ > pids; echo > here; read x; echo \"got: $x\"";
    folder.write(
        "jobs.toml",
        format!("[job.ask]\nrun='{ask}'\ntty=true\n[job.b]\nrun='echo > here; sleep 1000'\n"),
    );
    let pty = Pty::new();
    let program = pty.start(folder.tg(["run", "--first-success", "-f", "jobs.toml"]));
    here.hears();
    here.hears();
    let ask = pids(&folder, "pids")[0];
    pty.types("\x1a");
    program.is_stopped(true);
    assert_eq!(state(ask), Some('T'));
    assert_eq!(pty.foreground(), Some(program.pid()), "whoever stopped it there has the terminal");
    program.signal("CONT");
    until("the job to have the terminal again", || pty.foreground() == Some(ask));
    pty.types("an answer\n");
    pty.screen.wait_for("got: an answer");
    program.end().code(0);
}

#[test]
fn who_does_not_own_the_terminal_has_no_input() {
    let folder = Folder::new();
    let pty = Pty::new();
    let program = pty.start(folder.tg(["run", "cat; echo end"]));
    pty.screen.wait_for("end");
    program.end().code(0);
}

#[test]
fn no_colours_where_none_are_wanted() {
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let folder = Folder::new();
        let pty = Pty::new();
        let program = pty.start(folder.tg(["run", "-k", "echo a", "exit 3"]).env(name, value));
        program.end().code(3);
        pty.screen.wait_for("failed");
        let text = pty.screen.text();
        for colour in ["\x1b[3", "\x1b[1m", "\x1b[2m"] {
            assert!(!text.contains(colour), "{name}: {text:?}");
        }
        assert!(name == "NO_COLOR" || !text.contains('\x1b'), "{text:?}");
    }
}

/// Commands that are typed in are not taken for keys.
#[test]
fn commands_from_the_terminal() {
    let folder = Folder::new();
    let pty = Pty::new();
    let program = pty.start(folder.tg(["run", "-"]));
    for word in ["tatatata", "totototo"] {
        pty.types(&format!("echo {word} > {word}\n"));
        until("the job", || folder.has(word) && folder.read(word) == format!("{word}\n"));
    }
    pty.types("\x04");
    program.end().code(0);
}

/// A pager reads keys from the terminal too: they are its own.
#[test]
fn keys_are_left_alone_where_another_program_may_read_them() {
    let folder = Folder::new();
    let (mut here, mut go) = (folder.gate("here"), folder.gate("go"));
    let pty = Pty::new();
    let before = pty.modes();
    let mut tg = folder.tg([""]);
    let name = tg.command.get_program().to_owned();
    tg.command = std::process::Command::new("sh");
    let line = "$TG run 'echo > here; read x < go' | cat";
    tg.command.args(["-c", line]).current_dir(folder.root()).env("TG", name).env("TERM", "xterm");
    let program = pty.start(tg);
    here.hears();
    same(&before, &pty.modes());
    go.opens(1);
    program.end().code(0);
}

#[test]
fn a_terminal_that_goes_away_ends_the_run() {
    let folder = Folder::new();
    let mut here = folder.gate("here");
    let pty = Pty::new();
    let program = pty.start(folder.tg(["run", "echo $$ >> pids; echo > here; sleep 1000"]));
    here.hears();
    program.signal("HUP");
    drop(pty);
    program.end().code(129);
    all_gone(&pids(&folder, "pids"));
}
