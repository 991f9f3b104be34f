//! `muster heartbeat ls`.

use jiff::Timestamp;

use crate::cli::terminal::table;
use crate::cli::{Context, Failure, Format, block_on};
use crate::client::Client;
use crate::clock::wall_time;
use crate::heartbeat::list::{Line, list};
use crate::model::beat::BeatName;

/// List who beats now.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Only heartbeats of this name
    name: Option<BeatName>,
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
    let (lines, _) = block_on(async { list(&client, args.name.as_ref()).await.map_err(Failure::new) })?;
    match context.output {
        Format::Json => outln!("{}", serde_json::to_string(&lines).map_err(Failure::new)?),
        Format::Simple | Format::Extended => out!("{}", table(&lines, wall_time())),
    }
    Ok(())
}

/// One line for each heartbeat.
pub(in crate::cli) fn table(lines: &[Line], now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let beat = line.beat.as_ref();
            let left = line.left.map(|left| format!("{left}s")).unwrap_or_default();
            vec![
                line.name.to_string(),
                line.machine.to_string(),
                line.state.to_string(),
                beat.map(|beat| format!("{left} of {}s", beat.ttl)).unwrap_or(left),
                beat.map(|beat| table::span(beat.since.seconds_until(now))).unwrap_or_default(),
                beat.map(|beat| beat.source.to_string()).unwrap_or_default(),
                beat.and_then(|beat| beat.pid).map(|pid| pid.to_string()).unwrap_or_default(),
            ]
        })
        .collect();
    table::render(&["NAME", "MACHINE ID", "STATE", "LEFT", "FOR", "SOURCE", "PID"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Moment;
    use crate::model::beat::{Beat, Source};

    #[test]
    fn a_line_says_who_beats_where_and_how_long_it_may_be_silent() {
        let beat = Beat {
            since: Moment::new("2026-01-31T12:00:00Z".parse().unwrap()),
            ttl: 5,
            source: Source::Unit,
            pid: None,
        };
        let line = Line {
            name: "web".parse().unwrap(),
            machine: "m1".parse().unwrap(),
            state: "alive",
            left: Some(4),
            beat: Some(beat),
        };
        assert_eq!(
            table(&[line], "2026-01-31T12:01:00Z".parse().unwrap()),
            "NAME  MACHINE ID  STATE  LEFT      FOR  SOURCE  PID\n\
             web   m1          alive  4s of 5s  1m   unit    -\n"
        );
    }
}
