//! The report as one self-contained web page.

use crate::report::Report;

pub(crate) fn render(report: &Report) -> String {
    report.to_json()
}
