//! Jobs files: TOML, with a table for each job.
//!
//! Everything is checked before anything starts, and each error names the line. The order of the file is kept;
//! among jobs that can start at the same time it is the order in which they do.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Job;
use super::maker::Maker;
use super::needs::find_cycle;
use super::{job::Launch, names};
use crate::trouble::Trouble;

mod fields;

use fields::Fields;

/// Reads a jobs file.
pub(super) fn read(path: &Path, maker: &mut Maker) -> Result<Vec<Job>, Trouble> {
    let bytes = std::fs::read(path).map_err(|error| Trouble::file(path, &error))?;
    let text = match str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let file = File { path, text: "" };
            let line = line_of(&bytes, error.valid_up_to());
            return Err(Trouble::new("not UTF-8, which TOML must be").at(file.place(line)));
        }
    };
    File { path, text }.jobs(maker)
}

/// A jobs file while it is read.
struct File<'t> {
    path: &'t Path,
    text: &'t str,
}

/// A job's table, before its fields are read.
struct Table<'t> {
    /// The name in `[job.NAME]`, with its place; in `[[job]]` it is a field.
    name: Option<(&'t str, Range<usize>)>,
    fields: &'t DeTable<'t>,
    span: Range<usize>,
}

/// A name in `needs`.
struct Need {
    name: String,
    span: Range<usize>,
}

impl File<'_> {
    fn jobs(&self, maker: &mut Maker) -> Result<Vec<Job>, Trouble> {
        let document = DeTable::parse(self.text).map_err(|error| {
            self.trouble(error.span().unwrap_or(0..0), error.message().replace('\n', ", "))
        })?;
        let tables = self.tables(document.get_ref())?;
        if tables.is_empty() {
            let example = "for instance:  [job.build]  and below it  run = \"cargo build\"";
            return Err(Trouble::new("no jobs at all").at(self.path.display().to_string()).advice(example));
        }
        let mut jobs = Vec::with_capacity(tables.len());
        let mut needs = Vec::with_capacity(tables.len());
        let mut by_name: HashMap<String, (usize, Range<usize>)> = HashMap::new();
        let base = maker.base(self.path);
        for table in &tables {
            let (job, needed, named_at) = self.job(table, maker, &base)?;
            if let Some((_, first)) = by_name.get(&*job.name) {
                let first = line_of(self.text.as_bytes(), first.start);
                let what = format!("a second job `{}`; the first is on line {first}", job.name);
                return Err(self.trouble(named_at, what));
            }
            by_name.insert(job.name.to_string(), (jobs.len(), named_at));
            jobs.push(job);
            needs.push(needed);
        }
        self.resolve(&mut jobs, &needs, &by_name)?;
        Ok(jobs)
    }

    /// The tables of the jobs, in the order of the file.
    fn tables<'d>(&self, document: &'d DeTable<'d>) -> Result<Vec<Table<'d>>, Trouble> {
        let mut tables = Vec::new();
        for (key, value) in document {
            if key.get_ref() != "job" {
                let what = format!("unknown key `{}`", key.get_ref());
                return Err(self
                    .trouble(key.span(), what)
                    .advice("a jobs file has [job.NAME] or [[job]] alone"));
            }
            match value.get_ref() {
                DeValue::Table(jobs) => {
                    for (name, job) in jobs {
                        let name = (&**name.get_ref(), name.span());
                        tables.push(self.table(Some(name), job)?);
                    }
                }
                DeValue::Array(jobs) => {
                    for job in jobs.iter() {
                        tables.push(self.table(None, job)?);
                    }
                }
                _ => return Err(self.trouble(value.span(), "`job` is a table: [job.NAME] or [[job]]")),
            }
        }
        // A table of tables is sorted by name; where the names stand gives the order of the file back.
        tables.sort_by_key(|table| table.name.as_ref().map_or(table.span.start, |(_, span)| span.start));
        Ok(tables)
    }

    fn table<'d>(
        &self,
        name: Option<(&'d str, Range<usize>)>,
        job: &'d Spanned<DeValue<'d>>,
    ) -> Result<Table<'d>, Trouble> {
        match job.get_ref() {
            DeValue::Table(fields) => Ok(Table { name, fields, span: job.span() }),
            _ => {
                let what = match name {
                    Some((name, _)) => format!("`{name}` is not a table; write [job.{name}]"),
                    None => "a job is a table; write [[job]]".into(),
                };
                Err(self.trouble(job.span(), what))
            }
        }
    }

    /// One job with the names it needs, and where its own name stands.
    fn job(
        &self,
        table: &Table<'_>,
        maker: &mut Maker,
        base: &Path,
    ) -> Result<(Job, Vec<Need>, Range<usize>), Trouble> {
        let fields = Fields { file: self, table };
        fields.check_keys()?;
        let (name, named_at) = fields.name()?;
        let command: Launch = fields.run(&name)?;
        let mut job = maker.named(name.into(), command);
        job.dir = fields.dir()?.map(PathBuf::from);
        job.env = fields.env()?;
        job.timeout = fields.timeout()?.or(job.timeout);
        job.grace = fields.grace()?.unwrap_or(job.grace);
        job.retries.count = fields.retries()?.unwrap_or(job.retries.count);
        job.tty = fields.tty()?.unwrap_or(false);
        job.leaks = fields.leaks()?.unwrap_or(job.leaks);
        maker.finish(&mut job, base);
        Ok((job, fields.needs()?, named_at))
    }

    /// Numbers for names, and no cycle among them.
    fn resolve(
        &self,
        jobs: &mut [Job],
        needs: &[Vec<Need>],
        by_name: &HashMap<String, (usize, Range<usize>)>,
    ) -> Result<(), Trouble> {
        let mut graph = vec![Vec::new(); jobs.len()];
        for (index, needed) in needs.iter().enumerate() {
            for need in needed {
                let Some((found, _)) = by_name.get(&need.name) else {
                    let what =
                        format!("`{}` needs `{}`, and there is no such job", jobs[index].name, need.name);
                    let advice = names::advice(&need.name, jobs.iter().map(|job| &*job.name));
                    return Err(self.trouble(need.span.clone(), what).advice(advice));
                };
                graph[index].push(*found);
            }
            graph[index].sort_unstable();
            graph[index].dedup();
        }
        if let Some(cycle) = find_cycle(&graph) {
            return Err(self.cycle(&cycle, jobs, needs));
        }
        for (job, needed) in jobs.iter_mut().zip(graph) {
            job.needs = needed.into_iter().map(|index| index + 1).collect();
        }
        Ok(())
    }

    fn cycle(&self, cycle: &[usize], jobs: &[Job], needs: &[Vec<Need>]) -> Trouble {
        let first = cycle[0];
        let second = cycle.get(1).copied().unwrap_or(first);
        let round: Vec<&str> = cycle.iter().chain([&first]).map(|&index| &*jobs[index].name).collect();
        let need = needs[first].iter().find(|need| need.name == *jobs[second].name);
        let span = need.map_or(0..0, |need| need.span.clone());
        self.trouble(span, format!("these jobs wait for each other: {}", round.join(" -> ")))
    }

    fn trouble(&self, span: Range<usize>, what: impl Into<String>) -> Trouble {
        Trouble::new(what).at(self.place(line_of(self.text.as_bytes(), span.start)))
    }

    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

/// The line of a place in the text, from 1.
fn line_of(text: &[u8], at: usize) -> usize {
    text[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
#[path = "jobs_file_tests.rs"]
mod tests;
