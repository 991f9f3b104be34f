//! What a backup holds, for people and programs.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::super::{Failure, Format};
use super::name;
use crate::store::{BackupSummary, Counts};

#[derive(Serialize)]
struct Page<'a> {
    file: &'a str,
    index: u64,
    #[serde(flatten)]
    counts: Counts,
    bytes: u64,
    sha256: String,
    cluster: String,
    member: String,
    taken: String,
    version: &'a str,
}

/// A checksum as `sha256sum` prints it.
pub fn checksum(sum: &[u8]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the backup in `path` holds.
///
/// # Errors
/// It cannot be put into JSON.
pub fn render(path: &Path, summary: &BackupSummary, format: Format) -> Result<String, Failure> {
    let BackupSummary { info, index, counts, bytes, sha256, .. } = summary;
    let taken = Timestamp::from_nanosecond(info.wall.into()).map_or_else(|_| "-".into(), |t| t.to_string());
    let (sum, file) = (checksum(sha256), name(path));
    let (cluster, member) = (format!("{:x}", info.cluster), format!("{:x}", info.member));
    match format {
        Format::Json => {
            let (index, counts, bytes, version) = (*index, *counts, *bytes, &*info.version);
            let page =
                Page { file: &file, index, counts, bytes, sha256: sum, cluster, member, taken, version };
            serde_json::to_string(&page).map(|text| text + "\n").map_err(Failure::new)
        }
        Format::Simple | Format::Extended => {
            let Counts { keys, directories, expiring } = counts;
            let mut text =
                format!("File: {file}\nIndex: {index}\nKeys: {keys}\nBytes: {bytes}\nSHA-256: {sum}\n");
            if format == Format::Extended {
                text += &format!("Directories: {directories}\nExpiring: {expiring}\n");
                text += &format!(
                    "Taken: {taken}\nCluster: {cluster}\nMember: {member}\nVersion: {}\n",
                    info.version
                );
            }
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::BackupInfo;

    #[test]
    fn programs_get_every_field_and_people_what_matters() {
        let info = BackupInfo { cluster: 10, member: 11, wall: 0, version: "1.2".into() };
        let counts = Counts { keys: 1, directories: 2, expiring: 3 };
        let (sha256, chain) = ([7; 32], [0; 32]);
        let needs = crate::format::CURRENT;
        let summary = BackupSummary { info, needs, index: 4, counts, bytes: 5, sha256, chunks: 1, chain };
        let sum = "07".repeat(32);
        let json = render(Path::new("b"), &summary, Format::Json).unwrap();
        assert_eq!(
            json,
            format!(
                "{{\"file\":\"b\",\"index\":4,\"keys\":1,\"directories\":2,\"expiring\":3,\"bytes\":5,\
                 \"sha256\":\"{sum}\",\"cluster\":\"a\",\"member\":\"b\",\"taken\":\"1970-01-01T00:00:00Z\",\
                 \"version\":\"1.2\"}}\n"
            )
        );
        let simple = render(Path::new("-"), &summary, Format::Simple).unwrap();
        assert_eq!(simple, format!("File: standard output\nIndex: 4\nKeys: 1\nBytes: 5\nSHA-256: {sum}\n"));
    }
}
