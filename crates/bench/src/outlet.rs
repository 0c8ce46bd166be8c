//! Where a report goes: the terminal, JSON on stdout, and a page in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};

use crate::args::OutputArgs;
use crate::error::Error;
use crate::page;
use crate::report::Report;
use crate::table;

/// Opened before anything is measured, so that half an hour is not lost to a folder that does not exist.
pub(crate) struct Outlet {
    json: bool,
    page: Option<File>,
}

impl Outlet {
    pub(crate) fn open(output: &OutputArgs) -> Result<Outlet, Error> {
        let page = output.report.as_ref().map(|path| {
            // What is there stays until there is something better.
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
            file.map_err(|error| Error::Usage(format!("--report {}: {error}", path.display())))
        });
        Ok(Outlet { json: output.json, page: page.transpose()? })
    }

    /// Prints first: whatever becomes of the file, the figures are there.
    pub(crate) fn write(self, report: &Report) -> Result<(), Error> {
        let text = if self.json { report.to_json() } else { table::render(report) };
        io::stdout().write_all(text.as_bytes()).map_err(Error::system("writing the report"))?;
        match self.page {
            Some(file) => replace(file, &page::render(report)).map_err(Error::system("writing the page")),
            None => Ok(()),
        }
    }
}

fn replace(mut file: File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
