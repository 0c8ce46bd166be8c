//! Where a report goes: the terminal, JSON on stdout, and a page in a file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::args::OutputArgs;
use crate::error::Error;
use crate::page;
use crate::report::Report;
use crate::table;

/// Opened before anything is measured, so that half an hour is not lost to a folder that does not exist.
pub(crate) struct Outlet {
    json: bool,
    page: Option<PageFile>,
}

/// A page that is being made beside the place where it is to be. What is there stays until there is something better, and an
/// unfinished one is removed when it is dropped.
struct PageFile {
    path: PathBuf,
    draft: PathBuf,
    file: File,
}

impl Outlet {
    pub(crate) fn open(output: &OutputArgs) -> Result<Outlet, Error> {
        let page = output.report.as_ref().map(|path| {
            PageFile::open(path)
                .map_err(|error| Error::Usage(format!("--report {}: {error}", path.display())))
        });
        Ok(Outlet { json: output.json, page: page.transpose()? })
    }

    /// Prints first: whatever becomes of the file, the figures are there.
    pub(crate) fn write(self, report: &Report) -> Result<(), Error> {
        let text = if self.json { report.to_json() } else { table::render(report) };
        io::stdout().write_all(text.as_bytes()).map_err(Error::system("writing the report"))?;
        match self.page {
            Some(page) => page.finish(&page::render(report)).map_err(Error::system("writing the page")),
            None => Ok(()),
        }
    }
}

impl PageFile {
    fn open(path: &Path) -> io::Result<PageFile> {
        if path.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(".part");
        let draft = PathBuf::from(draft);
        Ok(PageFile { path: path.into(), file: File::create(&draft)?, draft })
    }

    fn finish(mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        fs::rename(&self.draft, &self.path)
    }
}

impl Drop for PageFile {
    fn drop(&mut self) {
        // Gone already if it was finished.
        let _ = fs::remove_file(&self.draft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_replaces_the_last_one_only_when_it_is_finished() {
        let folder = std::env::temp_dir().join(format!("heartring-bench-outlet-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("report.html");
        fs::write(&path, "old").unwrap();
        drop(PageFile::open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        PageFile::open(&path).unwrap().finish("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no draft stays");
        assert!(PageFile::open(&folder).is_err(), "a folder is no page");
        fs::remove_dir_all(&folder).unwrap();
    }
}
