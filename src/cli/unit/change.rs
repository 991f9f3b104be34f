//! Commands that change what is wanted: submit, start, stop, destroy.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::progress::Goal;
use super::source::{self, Stored, Text};
use super::view::View;
use super::{Wait, summary, unit_name, unit_names, wait};
use crate::cli::Failure;
use crate::client::{Client, ClientError, DeleteOptions, PutOptions};
use crate::ids::UnitName;
use crate::model;
use crate::model::unit::{Desired, UnitRecord};
use crate::model::vital::vital;

/// How often a change is tried that others keep getting in the way of.
const TRIES: usize = 16;

pub(super) async fn submit(client: &Client, arguments: &[String], replace: bool) -> Result<(), Failure> {
    expect_free_names(client, &unit_names(arguments)?).await?;
    let submit_one = |argument: &String| {
        let argument = argument.clone();
        async move {
            let unit = unit_name(&argument)?;
            let word = match source::stored(client, &unit).await? {
                None => {
                    let text = source::find(client, &argument, &unit).await?;
                    create(client, &unit, text).await?;
                    "submitted"
                }
                Some(stored) => match another_text(&argument, &unit, &stored)? {
                    None => "known already",
                    Some(_) if !replace => {
                        return Err(Failure::new(format!(
                            "{unit} is stored with another text; see --replace"
                        )));
                    }
                    Some(text) => {
                        put_in_place(client, &unit, &text).await?;
                        "replaced"
                    }
                },
            };
            outln!("{unit}: {word}");
            Ok(())
        }
    };
    all(arguments, submit_one).await.map(drop)
}

pub(super) async fn start(
    client: &Client,
    arguments: &[String],
    replace: bool,
    how: Wait,
) -> Result<(), Failure> {
    for argument in arguments {
        source::runnable(argument)?;
    }
    expect_free_names(client, &unit_names(arguments)?).await?;
    let ask = |argument: &String| {
        let argument = argument.clone();
        async move {
            let unit = unit_name(&argument)?;
            match source::stored(client, &unit).await? {
                None => {
                    let text = source::find(client, &argument, &unit).await?;
                    create(client, &unit, text).await?;
                }
                Some(stored) => match another_text(&argument, &unit, &stored)? {
                    Some(text) if replace => put_in_place(client, &unit, &text).await?,
                    Some(_) => {
                        eprintln!(
                            "muster: {unit} is stored with another text than the file's: the stored one is started; \
                             --replace takes the file's"
                        );
                    }
                    None => {}
                },
            }
            let launch = |record: &mut UnitRecord| record.desired = Desired::Launched;
            let generation = change(client, &unit, launch).await?;
            Ok((unit, Goal::Started(generation)))
        }
    };
    let (goals, failures) = both(arguments, ask).await;
    finish(client, goals, failures, how).await
}

/// Refuses units whose names belong to the machines, as far as that is known, or would be seen by nobody, before
/// anything is done.
async fn expect_free_names(client: &Client, units: &[UnitName]) -> Result<(), Failure> {
    units.iter().try_for_each(expect_visible)?;
    let vital = |unit: &UnitName| Some(Failure::new(format!("{unit} is refused: {}", vital(unit)?)));
    summary(units.iter().filter_map(vital).collect())?;
    let view = View::load(client).await?;
    summary(units.iter().filter_map(|unit| view.refusal(unit)).map(Failure::new).collect())
}

/// systemd takes names that begin with `_`; a key that does is hidden from listings, so no machine would hear of it.
fn expect_visible(unit: &UnitName) -> Result<(), Failure> {
    if unit.as_str().starts_with('_') {
        return Err(Failure::usage(format!("unit name \"{unit}\" must not begin with '_'")));
    }
    Ok(())
}

pub(super) async fn stop(client: &Client, arguments: &[String], how: Wait) -> Result<(), Failure> {
    let units = unit_names(arguments)?;
    let ask = |unit: &UnitName| {
        let unit = unit.clone();
        async move {
            let unload = |record: &mut UnitRecord| record.desired = record.desired.min(Desired::Loaded);
            let generation = change(client, &unit, unload).await?;
            Ok((unit, Goal::Stopped(generation)))
        }
    };
    let (goals, failures) = both(&units, ask).await;
    finish(client, goals, failures, how).await
}

pub(super) async fn destroy(client: &Client, arguments: &[String], how: Wait) -> Result<(), Failure> {
    let units = unit_names(arguments)?;
    let ask = |unit: &UnitName| {
        let unit = unit.clone();
        async move {
            forget(client, &unit).await?;
            Ok((unit, Goal::Gone))
        }
    };
    let (goals, failures) = both(&units, ask).await;
    finish(client, goals, failures, how).await
}

/// Waits for what could be asked, and tells of what could not.
async fn finish(
    client: &Client,
    goals: Vec<(UnitName, Goal)>,
    mut failures: Vec<Failure>,
    how: Wait,
) -> Result<(), Failure> {
    if !how.no_block && !goals.is_empty() {
        failures.extend(wait::wait(client, goals.into_iter().collect::<BTreeMap<_, _>>(), how).await.err());
    }
    summary(failures)
}

/// Does `work` for all `items` side by side: what came of those that went well, and the failures of the others.
async fn both<I, T, F>(items: &[I], work: impl Fn(&I) -> F) -> (Vec<T>, Vec<Failure>)
where
    F: Future<Output = Result<T, Failure>>,
{
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for outcome in join_all(items.iter().map(work)).await {
        match outcome {
            Ok(value) => good.push(value),
            Err(failure) => bad.push(failure),
        }
    }
    (good, bad)
}

async fn all<I, T, F>(items: &[I], work: impl Fn(&I) -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let (good, bad) = both(items, work).await;
    summary(bad).map(|()| good)
}

/// The file's text, if there is a file with another text than the stored one.
fn another_text(argument: &str, unit: &UnitName, stored: &Stored) -> Result<Option<Text>, Failure> {
    Ok(source::on_disk(argument, unit)?.filter(|text| text.record.hash != stored.record.hash))
}

/// Makes a unit known. That it is known by now is fine.
async fn create(client: &Client, unit: &UnitName, text: Text) -> Result<(), Failure> {
    source::store_text(client, &text.text).await.map_err(Failure::new)?;
    let put = PutOptions { value: Some(json(&text.record)?), prev_exist: Some(false), ..Default::default() };
    match client.put(&model::unit(unit), &put).await {
        Err(error) if !error.is_exists() => Err(Failure::new(error)),
        // Somebody may have removed the text as unused before the record named it.
        _ => source::store_text(client, &text.text).await.map_err(Failure::new),
    }
}

/// Gives a known unit another text.
async fn put_in_place(client: &Client, unit: &UnitName, text: &Text) -> Result<(), Failure> {
    source::store_text(client, &text.text).await.map_err(Failure::new)?;
    let mut old = String::new();
    change(client, unit, |record| {
        old = std::mem::replace(&mut record.hash, text.record.hash.clone());
        record.options = text.record.options.clone();
    })
    .await?;
    source::store_text(client, &text.text).await.map_err(Failure::new)?;
    drop_text(client, &old).await
}

/// Changes a unit's record by compare-and-swap and gives back its new generation.
async fn change(
    client: &Client,
    unit: &UnitName,
    mut how: impl FnMut(&mut UnitRecord),
) -> Result<u64, Failure> {
    for _ in 0..TRIES {
        let Some(Stored { mut record, index }) = source::stored(client, unit).await? else {
            return Err(Failure::new(format!("{unit} is not known; submit it first")));
        };
        how(&mut record);
        record.generation += 1;
        let put = PutOptions { value: Some(json(&record)?), prev_index: Some(index), ..Default::default() };
        match client.put(&model::unit(unit), &put).await {
            Ok(_) => return Ok(record.generation),
            Err(error) if error.is_compare_failed() || error.is_not_found() => {}
            // Asking a second time is harmless: the machine acts on the latest request only.
            Err(ClientError::UnknownOutcome { .. }) => {}
            Err(error) => return Err(Failure::new(error)),
        }
    }
    Err(Failure::new(format!("{unit}: others keep changing it; nothing was done")))
}

/// Removes a unit's record, and its text if no other unit names it.
async fn forget(client: &Client, unit: &UnitName) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let Some(Stored { record, index }) = source::stored(client, unit).await? else {
            return Err(Failure::new(format!("{unit} is not known")));
        };
        let options = DeleteOptions { prev_index: Some(index), ..Default::default() };
        match client.delete(&model::unit(unit), &options).await {
            Ok(_) => return drop_text(client, &record.hash).await,
            Err(error) if error.is_compare_failed() => {}
            Err(ClientError::UnknownOutcome { .. }) => {
                if source::stored(client, unit).await?.is_none() {
                    return drop_text(client, &record.hash).await;
                }
            }
            Err(error) => return Err(Failure::new(error)),
        }
    }
    Err(Failure::new(format!("{unit}: others keep changing it; nothing was done")))
}

/// Removes a text that no unit names. Should somebody begin to name it meanwhile, it is put back.
async fn drop_text(client: &Client, hash: &str) -> Result<(), Failure> {
    let is_used = async || {
        let view = View::load(client).await?;
        Ok::<bool, Failure>(
            !view.unreadable.is_empty() || view.units.values().any(|record| record.hash == hash),
        )
    };
    if is_used().await? {
        return Ok(());
    }
    match client.delete(&model::file(hash), &DeleteOptions::default()).await {
        Ok(answer) => {
            let text = answer.prev_node.and_then(|node| node.value).unwrap_or_default();
            if is_used().await? {
                source::store_text(client, &text).await.map_err(Failure::new)?;
            }
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(Failure::new(error)),
    }
}

fn json(record: &UnitRecord) -> Result<String, Failure> {
    serde_json::to_string(record).map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_no_list_would_show_is_wrong_use() {
        assert!(expect_visible(&"a_b.service".parse().unwrap()).is_ok());
        let failure = expect_visible(&"_a.service".parse().unwrap()).unwrap_err();
        assert_eq!(failure.code, crate::cli::USAGE);
        assert!(failure.message.contains("\"_a.service\" must not begin with '_'"), "{}", failure.message);
    }
}
