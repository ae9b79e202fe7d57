//! The lines of `--json`. `docs/tg.md` has the table of them.

use serde::Serialize;

use crate::event::{Event, JobInfo, Stamp, Stream, VERSION, base64};

#[derive(Serialize)]
struct EventLine<'a> {
    v: u32,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(flatten)]
    stamp: Stamp,
}

#[derive(Serialize)]
struct OutputLine<'a> {
    v: u32,
    event: &'static str,
    job: Reference<'a>,
    stream: Stream,
    #[serde(flatten)]
    content: Content<'a>,
    #[serde(flatten)]
    stamp: Stamp,
}

#[derive(Serialize)]
struct Reference<'a> {
    number: usize,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Content<'a> {
    Text(&'a str),
    Base64(String),
}

/// An event as a line.
pub(crate) fn event_line(event: &Event, stamp: Stamp) -> Vec<u8> {
    line(&EventLine { v: VERSION, event, stamp })
}

/// A piece of a job's output as a line: as text if it is UTF-8, as base64 otherwise.
pub(crate) fn output_line(job: &JobInfo, stream: Stream, bytes: &[u8], stamp: Stamp) -> Vec<u8> {
    let content = std::str::from_utf8(bytes).map_or_else(|_| Content::Base64(base64(bytes)), Content::Text);
    let job = Reference { number: job.number, name: &job.name };
    line(&OutputLine { v: VERSION, event: "output", job, stream, content, stamp })
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("no map has keys that are not text, and no value fails");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;

    fn stamp() -> Stamp {
        Stamp { elapsed: Duration::from_millis(250), wall: UNIX_EPOCH }
    }

    fn parse(line: &[u8]) -> Value {
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn a_line_has_its_version_first_and_its_time_last() {
        let line = event_line(&Event::Note { text: "a\nb".into() }, stamp());
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"v\":1,\"event\":\"note\",\"text\":\"a\\nb\",\"at\":0.25,\"time\":\"1970-01-01T00:00:00.000Z\"}\n"
        );
        let started = parse(&event_line(&Event::RunStarted { jobs: None, limit: Some(4) }, stamp()));
        assert_eq!(
            started,
            json!({"v": 1, "event": "run_started", "jobs": null, "limit": 4, "at": 0.25,
                   "time": "1970-01-01T00:00:00.000Z"})
        );
        assert_eq!(parse(&event_line(&Event::Suspended, stamp()))["event"], "suspended");
    }

    #[test]
    fn output_is_text_or_base64() {
        let job =
            JobInfo { number: 1, name: "a".into(), command: "a".into(), dir: None, input: None, tty: false };
        let text = parse(&output_line(&job, Stream::Stderr, "é\0\n".as_bytes(), stamp()));
        assert_eq!((&text["stream"], &text["text"]), (&json!("stderr"), &json!("é\0\n")));
        assert_eq!(text["job"], json!({"number": 1, "name": "a"}));
        assert_eq!(text.get("base64"), None);
        let binary = parse(&output_line(&job, Stream::Stdout, b"\xff\n", stamp()));
        assert_eq!((&binary["base64"], binary.get("text")), (&json!("/wo="), None));
    }
}
