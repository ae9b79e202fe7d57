use super::super::quote::tests::{all_bytes, shell};
use super::*;

fn expand(template: &str, input: &[u8]) -> Vec<u8> {
    let template =
        Template::read(OsStr::new(template)).unwrap_or_else(|trouble| panic!("{template}: {trouble}"));
    template.expand(OsStr::from_bytes(input), 7).into_vec()
}

#[track_caller]
fn expands(template: &str, line: &str) {
    assert_eq!(String::from_utf8_lossy(&expand(template, b"a b")), line);
}

#[track_caller]
fn refuses(template: &str, part: &str) {
    let trouble = Template::read(OsStr::new(template)).expect_err(template).to_string();
    assert!(trouble.contains(part), "{template}: {trouble}");
}

fn shells() -> Vec<&'static str> {
    ["sh", "bash", "dash"]
        .into_iter()
        .filter(|shell| std::process::Command::new(shell).arg("-c").arg(":").status().is_ok())
        .collect()
}

#[test]
fn places() {
    expands("gzip {}", "gzip 'a b'");
    expands("cp {} {}.bak", "cp 'a b' 'a b'.bak");
    expands("gzip", "gzip 'a b'");
    expands("gzip \n", "gzip 'a b'");
    expands("a > out{#}", "a > out7 'a b'");
    expands("a {} > out{#}", "a 'a b' > out7");
    expands("find {} -exec wc {{}} +", "find 'a b' -exec wc {} +");
    expands("find . -exec wc {{}} \\;", "find . -exec wc {} \\; 'a b'");
    expands("echo {{#}} {}", "echo {#} 'a b'");
    expands("awk '{print $1}' {}", "awk '{print $1}' 'a b'");
    expands("f() { cat; }; f < {}", "f() { cat; }; f < 'a b'");
    expands("a ${#} ${x} $# {}", "a ${#} ${x} $# 'a b'");
    expands("a\\  ", "a\\  'a b'");
    expands("echo \\{{}} {}", "echo \\{} 'a b'");
    expands("cmd # note\nnext", "cmd # note\nnext 'a b'");
    expands("x={}; echo \"${x%.txt}\" $((1+1))", "x='a b'; echo \"${x%.txt}\" $((1+1))");
}

#[test]
fn refused_where_it_would_not_be_safe() {
    refuses("", "empty");
    refuses(" \n", "empty");
    refuses("cat <<EOF\n{}\nEOF", "here-document");
    refuses("cat <<EOF\nx\nEOF", "here-document");
    refuses("echo `cat {}`", "backtick");
    refuses("echo \"`cat {}`\"", "backtick");
    refuses("echo `id`; cat {}", "backtick");
    refuses("echo \"$(cat {})\"", "double quotes");
    refuses("echo ${x:-{}}", "more than a name");
    refuses("echo \"${x:-{}}\"", "more than a name");
    refuses("echo $(( {} + 1 ))", "arithmetic");
    refuses("((x = {}))", "arithmetic");
    refuses("echo $[ {} ]", "arithmetic");
    refuses("echo $'{}'", "`$'`");
    refuses("echo ${}", "before {}");
    refuses("echo \"${}\"", "before {}");
    refuses("echo \\{}", "backslash");
    refuses("echo \"\\{}\"", "backslash");
    refuses("echo a # {}", "comment");
    refuses("# {}", "comment");
    refuses("echo a # it's", "comment");
    refuses("echo a\\\n#'b {}", "continued");
    refuses("echo 'a {}", "not closed");
    refuses("echo \"a", "not closed");
    refuses("echo a;", "after `;`");
    refuses("echo a &", "after `&`");
    refuses("echo a |", "after `|`");
    refuses("(echo a)", "after `)`");
    refuses("echo a\\", "after `\\`");
}

#[test]
fn every_byte_comes_through_every_place() {
    let bytes = all_bytes();
    let inputs: [&[u8]; 12] = [
        &bytes,
        b"",
        b"-n",
        b"--",
        b"'",
        b"\"",
        b"\\",
        b"$(touch /nonexistent/x)`id`",
        b"'; exit 3; '",
        b"\"; exit 3; \"",
        b"a\nexit 3\n#",
        b"{} {#} \\'",
    ];
    let templates = [
        ("printf %s {}", ""),
        ("printf %s", ""),
        ("printf %s \"{}\"", ""),
        ("printf %s '{}'", ""),
        ("printf %s \"${HOME}\"{} > /dev/null; printf %s {}", ""),
        ("printf %s \"$$\" > /dev/null; printf %s \"it's \"{}", "it's "),
        ("printf %s 'say \"'{}", "say \""),
        ("printf %s \"a'b {}\"", "a'b "),
        ("printf %s \\'{}", "'"),
        ("printf %s \\\"{}", "\""),
        ("printf %s \\\\{}", "\\"),
        ("printf %s \"\\\\\"{}", "\\"),
        ("printf %s \\${}", "$"),
        ("printf %s a#{}", "a#"),
        ("printf %s {} # it's a note", ""),
        ("# it's \"\nprintf %s {}", ""),
        ("x={}; printf %s \"$x\"", ""),
        ("x=${y}{}; printf %s \"$x\"", ""),
        ("f() { printf %s \"$1\"; }; f {}", ""),
        ("(printf %s {})", ""),
        ("case {} in x) ;; *) printf %s {};; esac", ""),
        ("printf %s \"\" {}", ""),
        ("set -- {}; printf %s \"$1\"", ""),
    ];
    for shell_name in shells() {
        for (template, before) in templates {
            for input in inputs {
                let expected = [before.as_bytes(), input].concat();
                let got = shell(shell_name, &expand(template, input));
                assert_eq!(
                    String::from_utf8_lossy(&got),
                    String::from_utf8_lossy(&expected),
                    "{shell_name}: {template}"
                );
                assert_eq!(got, expected);
            }
        }
    }
}

/// Templates of random pieces: either refused, or the input never runs as code. The pieces are such that the
/// template itself runs nothing that writes files.
#[test]
fn no_template_lets_an_input_run() {
    let pieces = [
        "{}",
        "{}",
        "'",
        "\"",
        "\\",
        "$",
        " ",
        "\n",
        "#",
        ";",
        "a",
        "`",
        "$(",
        ")",
        "(",
        "${",
        "}",
        "<<",
        "x",
        ":",
        "&",
        "|",
        "{{}}",
        "{#}",
        "$'",
        "((",
        "))",
        "\r",
        "=",
        "{",
        "case x in x)",
        "esac",
    ];
    let folder = tempfile::tempdir().expect("folder");
    let proof = folder.path().join("proof");
    let run = format!(":>{}", proof.display());
    let inputs = [
        format!("'\n{run}\n'"),
        format!("$({run})"),
        format!("`{run}`"),
        format!("\n{run}\n"),
        format!("\";{run};\""),
    ];
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut accepted = 0;
    for _ in 0..1000 {
        let mut template = String::from(": ");
        for _ in 0..2 + random(7) {
            template.push_str(pieces[random(pieces.len())]);
        }
        let Ok(read) = Template::read(OsStr::new(&template)) else { continue };
        accepted += 1;
        let input = &inputs[random(inputs.len())];
        let line = read.expand(OsStr::new(input), 1);
        for shell_name in ["sh", "bash"] {
            let _ = std::process::Command::new(shell_name)
                .args([OsStr::new("-c"), OsStr::new("--"), &line])
                .current_dir(folder.path())
                .stdin(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status();
            assert!(!proof.exists(), "{shell_name}: {template:?} let {input:?} run: {line:?}");
        }
    }
    assert!(accepted > 50, "the test is worth something: {accepted}");
}
