//! The file by which others ask for a reboot.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::io::AsyncReadExt;

use super::{Driver, Way};
use crate::clock::wall_time;
use crate::model::reboot::{Answered, Fingerprint};
use crate::model::{Moment, unitfile};
use crate::reboot::RebootError;
use crate::reboot::host::Host;
use crate::reboot::sentinel::{Verdict, verdict};

/// How much of the file's content counts, in bytes: it is meant for people.
const CONTENT_BYTES: u64 = 64 * 1024;

impl<H: Host> Driver<H> {
    /// The file, if one is heeded and there.
    pub(super) async fn sentinel(&self) -> Option<Fingerprint> {
        fingerprint(self.settings.sentinel.as_deref()?).await
    }

    /// Why a reboot is wanted by the file, if it is.
    pub(super) async fn file_asks(&self) -> Result<Option<String>, RebootError> {
        let Some(file) = self.sentinel().await else { return Ok(None) };
        let last = self.records.answered(&self.id).await?;
        let obeyed = self.judge(last.as_ref(), &file)? == Verdict::Obey;
        Ok(obeyed.then(|| format!("{} exists", self.sentinel_name())))
    }

    fn judge(&self, last: Option<&Answered>, file: &Fingerprint) -> Result<Verdict, RebootError> {
        Ok(verdict(last, file, &self.host.boot_id()?, self.since.elapsed()))
    }

    /// The file's path; empty if none is heeded.
    pub(super) fn sentinel_name(&self) -> String {
        self.settings.sentinel.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Returns once the file asks for a reboot. Until then says of one that does not why it is not obeyed.
    pub(super) async fn file_begins_to_ask(&self) -> Result<(), RebootError> {
        if self.settings.sentinel.is_none() {
            return std::future::pending().await;
        }
        let mut last = self.records.answered(&self.id).await?;
        loop {
            let file = self.sentinel().await;
            let says = match &file {
                None => None,
                Some(file) => match self.judge(last.as_ref(), file)? {
                    Verdict::Obey => return Ok(()),
                    Verdict::Stays => Some(format!(
                        "{} is still there after the reboot for it: take it away, or ask by hand",
                        self.sentinel_name()
                    )),
                    Verdict::Early(_) => Some(format!(
                        "{} asks again less than an hour after a reboot for it",
                        self.sentinel_name()
                    )),
                },
            };
            if let Some(known) = &mut last {
                // What has gone or changed since is another file.
                let left = known.left.clone().filter(|left| file.as_ref() == Some(left));
                if (&known.left, &known.says) != (&left, &says) {
                    if let Some(says) = &says {
                        tracing::warn!("no reboot: {says}");
                    }
                    (known.left, known.says) = (left, says);
                    self.assert_ours().await?;
                    self.records.put_answered(&self.id, known).await?;
                }
            }
            tokio::time::sleep(self.settings.check_interval).await;
        }
    }

    /// Returns when the file that asks for the reboot is gone; never if none does.
    pub(super) async fn file_ceases_to_ask(&self) {
        match self.file_asks().await {
            Ok(Some(_)) => {}
            _ => return std::future::pending().await,
        }
        while self.sentinel().await.is_some() {
            tokio::time::sleep(self.settings.check_interval).await;
        }
    }

    /// Writes down that this reboot was the answer to the file, and whether that is still there. One that has come or
    /// changed since the machine left asks for another reboot.
    pub(super) async fn note_answered(&self, way: &Way) -> Result<(), RebootError> {
        if way.holder.sentinel.is_none() {
            return Ok(());
        }
        let answered = Answered {
            boot_id: self.host.boot_id()?,
            since: Moment::new(wall_time()),
            left: self.sentinel().await.filter(|file| way.holder.sentinel_state.as_ref() == Some(file)),
            says: None,
        };
        self.records.put_answered(&self.id, &answered).await
    }
}

/// The beginning of a file's content.
async fn beginning(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    tokio::fs::File::open(path).await?.take(CONTENT_BYTES).read_to_end(&mut content).await?;
    Ok(content)
}

/// Tells this state of a file from others; `None` if there is no file.
async fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let about = tokio::fs::metadata(path).await.ok()?;
    // It may be anything, such as a folder or a file that only its owner reads: being there is what counts.
    let content = if about.is_file() { beginning(path).await.unwrap_or_default() } else { Vec::new() };
    let content = unitfile::hash(&String::from_utf8_lossy(&content));
    let modified = about.mtime().saturating_mul(1_000_000_000).saturating_add(about.mtime_nsec());
    Some(Fingerprint { content, modified })
}
