//! `muster backup`: a copy of all keys in a file, and the check of such a file.

mod file;
mod summary;

pub(super) use file::{name, open};
pub(super) use summary::{checksum, render};

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Context, Failure, block_on};
use crate::client::{Client, Download, TransferError};
use crate::store::{self, BackupError, BackupReader, BackupSummary, Counts, FoundError, read_backup};
use file::Target;

/// Write a copy of all keys to a file while the cluster runs, or check such a file.
///
/// The copy is of one moment: every change that was acknowledged before the command, and each later one either with
/// all that came before it or not at all. It holds values, lifetimes and indexes. It is checked while it is written,
/// and FILE is there only when it is whole: until then it is FILE.part.
#[derive(clap::Args, Debug)]
#[command(override_usage = "muster backup [OPTIONS] <FILE>\n       muster backup [OPTIONS] --verify <FILE>")]
pub struct Args {
    /// Where to write it; - for standard output
    #[arg(value_name = "FILE", required_unless_present = "verify")]
    file: Option<PathBuf>,

    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,

    /// Take the copy from the data folder of a node that does not run; asks no server. For the last resort: run it as
    /// the user that owns the folder
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Check this backup and show what is in it; asks no server
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "force", "data_dir"])]
    verify: Option<PathBuf>,
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if let Some(path) = args.verify {
        let summary = verify(&path)?;
        out!("{}", render(&path, &summary, context.output)?);
        return Ok(());
    }
    let path = args.file.ok_or_else(|| Failure::usage("say where to write the backup"))?;
    let mut target = Target::open(&path, args.force)?;
    let copied = match &args.data_dir {
        Some(folder) => block_on(salvage(folder, &mut target)),
        None => client(context).and_then(|client| block_on(fetch(&client, &mut target))),
    };
    let summary = match copied {
        Ok(summary) => summary,
        Err(failure) => {
            target.discard();
            return Err(failure);
        }
    };
    let on_stdout = target.is_stdout();
    target.finish()?;
    let text = render(&path, &summary, context.output)?;
    if on_stdout {
        eprint!("{text}");
    } else {
        out!("{text}");
    }
    Ok(())
}

/// Reads a backup to its end and says what is in it.
///
/// # Errors
/// It cannot be read, or is of no use.
pub(super) fn verify(path: &Path) -> Result<BackupSummary, Failure> {
    let mut input = open(path)?;
    let mut progress = Progress::new("checked");
    let mut bytes = 0;
    read_backup::<FoundError>(&mut input, |chunk| {
        bytes += chunk.len() as u64;
        progress.show(bytes, None);
        Ok(())
    })
    .map_err(|error| Failure::new(format!("{}: {error}", name(path))))
}

fn client(context: &Context) -> Result<Client, Failure> {
    Client::new(&context.client_settings()?).map_err(Failure::new)
}

/// Receives a backup from one endpoint after the other until one sends it whole.
async fn fetch(client: &Client, target: &mut Target) -> Result<BackupSummary, Failure> {
    let tries = client.endpoints().len();
    let mut tried = 0;
    loop {
        let mut download = client.download_backup().await.map_err(Failure::new)?;
        tried += 1;
        let failure = match receive(&mut download, target).await? {
            Ok(summary) => return Ok(summary),
            Err(failure) => failure,
        };
        download.reject();
        if tried >= tries || !target.start_over()? {
            return Err(failure);
        }
        eprintln!("muster: {}; trying another endpoint", failure.message);
    }
}

/// Receives one backup. The outer error is about the file, the inner one about what was sent.
async fn receive(
    download: &mut Download,
    target: &mut Target,
) -> Result<Result<BackupSummary, Failure>, Failure> {
    let mut reader = BackupReader::default();
    let mut progress = Progress::new("received");
    loop {
        match download.next().await {
            Ok(Some(bytes)) => {
                reader.push(&bytes);
                target.write(&bytes)?;
            }
            Ok(None) => break,
            Err(error @ TransferError::BrokeOff(_)) => return Ok(Err(Failure::new(error))),
            Err(error) => return Err(Failure::new(error)),
        }
        if let Err(error) = drain(&mut reader) {
            return Ok(Err(useless(download, &error)));
        }
        let (bytes, counts) = reader.progress();
        progress.show(bytes, Some(counts));
    }
    Ok(reader.finish().map_err(|error| useless(download, &error)))
}

/// Copies what a data folder holds.
async fn salvage(folder: &Path, target: &mut Target) -> Result<BackupSummary, Failure> {
    let mut reader = BackupReader::default();
    store::salvage(folder, |piece| {
        reader.push(piece);
        drain(&mut reader).map_err(Failure::new)?;
        target.write(piece)
    })
    .await?;
    reader.finish().map_err(Failure::new)
}

fn drain(reader: &mut BackupReader) -> Result<(), BackupError> {
    while reader.chunk()?.is_some() {}
    Ok(())
}

fn useless(download: &Download, error: &BackupError) -> Failure {
    Failure::new(format!("what {} sent is of no use: {error}", download.endpoint()))
}

/// A line on a terminal that says how far it is.
pub(super) struct Progress {
    what: &'static str,
    shown: Option<Instant>,
    visible: bool,
}

impl Progress {
    /// Shows nothing yet, and nothing at all where nobody looks.
    pub fn new(what: &'static str) -> Self {
        Self { what, shown: None, visible: std::io::stderr().is_terminal() }
    }

    /// Shows how much there is by now, a few times a second.
    pub fn show(&mut self, bytes: u64, counts: Option<Counts>) {
        const PAUSE: Duration = Duration::from_millis(200);
        if !self.visible || self.shown.is_some_and(|shown| shown.elapsed() < PAUSE) {
            return;
        }
        self.shown = Some(Instant::now());
        let keys = counts.map_or_else(String::new, |counts| format!(", {} keys", counts.keys));
        eprint!("\r\x1b[K{}: {} MiB{keys}", self.what, bytes >> 20);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
