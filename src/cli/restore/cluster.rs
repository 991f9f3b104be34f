//! A backup back into the running cluster.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use bytes::Bytes;
use serde::Serialize;

use super::super::backup::{Progress, checksum, name, open, render, verify};
use super::super::{Context, Failure, Format, block_on};
use crate::client::{Client, TransferError, Upload};
use crate::store::{BackupReader, BackupSummary};

/// Read from the file at a time.
const READ_BYTES: usize = 1 << 20;

#[derive(Serialize)]
struct Page {
    index: u64,
    keys: u64,
    directories: u64,
    sha256: String,
}

pub(super) fn run(path: &Path, yes: bool, context: &Context) -> Result<(), Failure> {
    let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
    let summary = verify(path)?;
    if !yes {
        confirm(path, &summary, &client)?;
    }
    let index = block_on(restore(path, &summary, &client))?;
    let counts = summary.counts;
    let sha256 = checksum(&summary.sha256);
    match context.output {
        Format::Json => {
            let page = Page { index, keys: counts.keys, directories: counts.directories, sha256 };
            outln!("{}", serde_json::to_string(&page).map_err(Failure::new)?);
        }
        Format::Simple | Format::Extended => {
            outln!("Restored: {} keys\nIndex: {index}\nSHA-256: {sha256}", counts.keys);
        }
    }
    Ok(())
}

/// Asks whoever sits there.
fn confirm(path: &Path, summary: &BackupSummary, client: &Client) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "this replaces all keys of the cluster: say --yes if that is what you want",
        ));
    }
    let endpoints: Vec<String> = client.endpoints().iter().map(ToString::to_string).collect();
    eprint!("{}", render(path, summary, Format::Extended)?);
    eprint!("Replace ALL keys of the cluster at {} by these? Type yes: ", endpoints.join(","));
    let failed = |e: std::io::Error| Failure::new(format!("cannot ask: {e}"));
    std::io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(failed)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new("nothing was changed")) }
}

async fn restore(path: &Path, summary: &BackupSummary, client: &Client) -> Result<u64, Failure> {
    let mut upload = client.restore();
    upload.begin(&summary.needs.to_string()).await.map_err(|e| unchanged(&e))?;
    if let Err(failure) = send(path, &mut upload).await {
        upload.abort().await;
        return Err(failure);
    }
    // The checksum of the first reading: a file that has changed since is refused.
    upload.commit(&summary.chain).await.map_err(|error| match &error {
        TransferError::Client(_) => Failure::new(format!(
            "it is not known whether the keys were replaced: {error}; look at them, or restore again"
        )),
        TransferError::Refused(_) | TransferError::NoSuchPage(_) | TransferError::BrokeOff(_) => {
            unchanged(&error)
        }
    })
}

async fn send(path: &Path, upload: &mut Upload) -> Result<(), Failure> {
    let damaged = |e| Failure::new(format!("{}: {e}; nothing was changed", name(path)));
    let mut input = open(path)?;
    let mut reader = BackupReader::default();
    let mut progress = Progress::new("sent");
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let length = match input.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) => return Err(Failure::new(format!("cannot read {}: {error}", name(path)))),
        };
        reader.push(&bytes[..length]);
        while let Some(chunk) = reader.chunk().map_err(damaged)? {
            upload.chunk(Bytes::clone(&chunk)).await.map_err(|e| unchanged(&e))?;
        }
        let (bytes, counts) = reader.progress();
        progress.show(bytes, Some(counts));
    }
    reader.finish().map_err(damaged).map(drop)
}

fn unchanged(error: &TransferError) -> Failure {
    Failure::new(format!("{error}; nothing was changed"))
}
