//! Every crash that a disk allows, one after the other. A run of the log is noted step by step; after each step the
//! process may be killed (the system's cache lives on) or the power may fail, which spares any part of what was not
//! flushed: names one by one, writes by the sector. The log is opened on what is left, and may crash again meanwhile.
//!
//! Whatever happens, the log opens, holds everything that was acknowledged, and nothing that was never written.
//! `MUSTER_TORTURE_STATES` says about how many crashes to try in a run, `MUSTER_TORTURE_SEED` which runs.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::AtomicUsize;

use super::simulated_test::{Image, Simulated, Unit};
use super::*;

/// Small enough that many entries need several segments.
const SEGMENT: u64 = 4096;

/// Segments are made ahead.
const SMALL: Sizes = Sizes { segment: SEGMENT, ahead: SEGMENT };

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    first: u64,
    entries: VecDeque<Vec<u8>>,
    purged: Option<Vec<u8>>,
    vote: Option<Vec<u8>>,
}

impl Model {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

/// A step that a log takes as a whole or not at all.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    Truncate(u64),
    Purge(u64),
    Vote(Vec<u8>),
}

impl Step {
    fn apply(&self, model: &mut Model) {
        match self {
            Self::Append(bytes) => model.entries.push_back(bytes.clone()),
            Self::Truncate(from) => {
                model.entries.truncate(usize::try_from(from.saturating_sub(model.first)).unwrap());
            }
            Self::Purge(upto) => {
                while model.first <= *upto && model.entries.pop_front().is_some() {
                    model.first += 1;
                }
                model.first = model.first.max(if model.entries.is_empty() { upto + 1 } else { 0 });
                model.purged = Some(upto.to_le_bytes().to_vec());
            }
            Self::Vote(vote) => model.vote = Some(vote.clone()),
        }
    }
}

/// The same numbers for the same seed.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let fill = if self.below(4) == 0 { 0 } else { u8::try_from(1 + self.below(250)).unwrap() };
        vec![fill; usize::try_from(self.below(most)).unwrap()]
    }
}

/// A run of the log, and what it should hold after each step.
struct Run {
    disk: Simulated,
    wal: Wal,
    models: Vec<Model>,
    told: Arc<AtomicUsize>,
    asked: usize,
    chance: Chance,
}

impl Run {
    fn new(seed: u64) -> Self {
        let disk = Simulated::default();
        disk.trace();
        let (wal, _) = open(&disk, false).unwrap();
        // Whose the log is, is written once it is there.
        disk.acknowledge(1);
        let models = vec![Model::default(), Model::default()];
        Self {
            disk,
            wal,
            models,
            told: Arc::default(),
            asked: 0,
            chance: Chance(seed ^ 0x9E37_79B9_7F4A_7C15),
        }
    }

    fn take(&mut self, step: &Step) {
        let mut model = self.models.last().unwrap().clone();
        step.apply(&mut model);
        self.models.push(model);
    }

    /// Who is told when everything so far is durable.
    fn told(&mut self) -> Told {
        self.asked += 1;
        let (disk, told, upto) = (self.disk.clone(), self.told.clone(), self.models.len() - 1);
        Box::new(move |result| {
            if result.is_ok() {
                disk.acknowledge(upto);
            }
            told.fetch_add(1, Ordering::AcqRel);
        })
    }

    fn wait(&self) {
        while self.told.load(Ordering::Acquire) < self.asked {
            std::thread::yield_now();
        }
    }

    fn append(&mut self, count: u64, most: u64) {
        let first = self.models.last().unwrap().next();
        let entries: Vec<_> = (first..first + count).map(|index| (index, self.chance.bytes(most))).collect();
        entries.iter().for_each(|(_, bytes)| self.take(&Step::Append(bytes.clone())));
        let told = self.told();
        self.wal.append(entries, told).unwrap();
    }

    /// Does something at random.
    fn act(&mut self) {
        let (first, next) = (self.models.last().unwrap().first, self.models.last().unwrap().next());
        match self.chance.below(20) {
            0..10 => {
                let count = 1 + self.chance.below(4);
                self.append(count, 900);
            }
            // Several segments in one flush.
            10..13 => {
                let count = 8 + self.chance.below(14);
                self.append(count, 1400);
            }
            // Larger than a segment.
            13 => self.append(1, 9000),
            14..16 => {
                let vote = self.chance.bytes(60);
                self.take(&Step::Vote([b"v".to_vec(), vote.clone()].concat()));
                let told = self.told();
                self.wal.write_vote([b"v".to_vec(), vote].concat(), told).unwrap();
            }
            16 if next > first => {
                let from = next - self.chance.below((next - first).min(12) + 1);
                self.take(&Step::Truncate(from));
                let told = self.told();
                self.wal.truncate(from, told).unwrap();
            }
            _ => {
                let upto = first + self.chance.below(next - first + 1).saturating_sub(3);
                let failing = usize::try_from(self.chance.below(6).saturating_sub(3)).unwrap();
                self.disk.fail_removals(failing);
                self.take(&Step::Purge(upto));
                let told = self.told();
                self.wal.purge(upto, upto.to_le_bytes().to_vec(), told).unwrap();
            }
        }
    }

    /// Several acts, and sometimes all of them wait until the disk has time.
    fn go(&mut self, acts: usize) {
        let mut left = acts;
        while left > 0 {
            let together = usize::try_from(1 + self.chance.below(6).saturating_sub(2)).unwrap();
            self.disk.hold();
            (0..together).for_each(|_| self.act());
            self.disk.release();
            self.wait();
            left = left.saturating_sub(together);
        }
    }
}

fn open(disk: &Simulated, known: bool) -> io::Result<(Wal, Opened)> {
    Wal::open(Arc::new(disk.clone()), SMALL, known, Metrics::new().map_err(io::Error::other)?)
}

/// What was found on a disk after a crash.
fn found(start: &Start) -> Model {
    let log = &start.log;
    let read = |place: &Location| {
        let mut bytes = vec![0; place.length as usize];
        let file = segment::file(&start.files, place.segment).unwrap();
        file.read_exact_at(&mut bytes, place.offset + record::HEAD as u64).unwrap();
        bytes
    };
    let purged = log.purged.clone();
    // What Raft's log checks with it.
    let start = purged.as_deref().map_or(0, |id| u64::from_le_bytes(id.try_into().unwrap()) + 1);
    assert!(start >= log.first, "entries {start} to {} are missing", log.first);
    Model {
        first: log.first,
        entries: log.entries.iter().map(read).collect(),
        purged,
        vote: log.vote.clone(),
    }
}

/// Tries crashes of one run.
struct Trial<'a> {
    models: &'a [Model],
    chance: Chance,
    /// Up to so many things that a loss of power may undo, every subset is tried.
    whole: u32,
    /// Beyond that, so many subsets at random.
    samples: usize,
    tried: Cell<usize>,
    seed: u64,
}

impl Trial<'_> {
    /// Opens the log on what a crash has left; gives the number of the model that it holds, and every step of that.
    fn restart(&self, image: &Image, how: &dyn Fn() -> String) -> (usize, Vec<Image>) {
        self.tried.set(self.tried.get() + 1);
        let disk = Simulated::with(image.clone());
        disk.trace();
        let acknowledged = image.acknowledged;
        let start = match Start::new(&disk, acknowledged > 0) {
            Ok(start) => start,
            Err(error) => panic!("seed {}, {}: refused: {error}", self.seed, how()),
        };
        let model = found(&start);
        let held = (acknowledged..self.models.len()).find(|place| self.models[*place] == model);
        let held = held.unwrap_or_else(|| {
            let wanted = &self.models[acknowledged];
            panic!(
                "seed {}, {}: acknowledged {}..{} (purged {:?}), found {}..{} (purged {:?}), or other content",
                self.seed,
                how(),
                wanted.first,
                wanted.next(),
                wanted.purged,
                model.first,
                model.next(),
                model.purged,
            )
        });
        if acknowledged > 0 && self.tried.get().is_multiple_of(97) {
            self.go_on(&disk, &model, how);
        }
        (held, disk.take_trace())
    }

    /// The log that was found can be used.
    fn go_on(&self, disk: &Simulated, model: &Model, how: &dyn Fn() -> String) {
        let disk = Simulated::with(disk.image());
        let mut model = model.clone();
        for round in 0..2 {
            let (wal, _) = open(&disk, true).unwrap_or_else(|error| panic!("{}: refused: {error}", how()));
            let wanted = (model.first, model.next());
            assert_eq!(wal.range(), wanted, "seed {}, {}, going on {round}", self.seed, how());
            let (tell, told) = mpsc::channel();
            let entries = (0..6).map(|n| (model.next() + n, vec![7; 900])).collect();
            wal.append(entries, Box::new(move |result| tell.send(result).unwrap())).unwrap();
            told.recv().unwrap().unwrap();
            model.entries.extend(vec![vec![7; 900]; 6]);
        }
    }

    /// Which of what was not flushed a loss of power spares, one time after the other.
    fn spared(&mut self, units: &[Unit]) -> Vec<Vec<Unit>> {
        let pick = |chosen: &dyn Fn(usize) -> bool| -> Vec<Unit> {
            units
                .iter()
                .enumerate()
                .filter(|(place, _)| chosen(*place))
                .map(|(_, unit)| unit.clone())
                .collect()
        };
        let count = units.len();
        if count <= self.whole as usize {
            return (0..1_usize << count).map(|set| pick(&|place| set >> place & 1 == 1)).collect();
        }
        let mut sets: BTreeSet<Vec<bool>> = BTreeSet::new();
        sets.extend([vec![false; count], vec![true; count]]);
        for _ in 0..self.samples {
            let one = usize::try_from(self.chance.below(count as u64)).unwrap();
            let set = match self.chance.below(4) {
                0 => (0..count).map(|place| place == one).collect(),
                1 => (0..count).map(|place| place != one).collect(),
                2 => (0..count).map(|place| place < one).collect(),
                _ => (0..count).map(|_| self.chance.below(2) == 0).collect(),
            };
            sets.insert(set);
        }
        sets.into_iter().map(|set| pick(&|place| set[place])).collect()
    }

    /// Every crash at one moment, and crashes at every moment of the start after it.
    fn crash(&mut self, image: &Image, step: usize, depth: usize) {
        let name = |what: String| move || format!("step {step}, depth {depth}, {what}");
        // The process is killed: what is there counts from when it is open again, flushed by then or not.
        let (held, trace) = self.restart(image, &name("killed".into()));
        self.after_restart(held, trace, step, depth);
        for spared in self.spared(&image.unflushed()) {
            let left = image.after_power_loss(&spared);
            let (held, trace) = self.restart(&left, &name(format!("spared {spared:?}")));
            // Not after each: what is done at a start is much the same.
            if self.chance.below(8) == 0 {
                self.after_restart(held, trace, step, depth);
            }
        }
    }

    fn after_restart(&mut self, held: usize, mut trace: Vec<Image>, step: usize, depth: usize) {
        if depth == 0 {
            return;
        }
        if let Some(done) = trace.last_mut() {
            done.acknowledged = done.acknowledged.max(held);
        }
        for image in &trace {
            for spared in self.spared(&image.unflushed()) {
                let how = || format!("step {step}, at the start after it, spared {spared:?}");
                self.restart(&image.after_power_loss(&spared), &how);
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Tries crashes of one run; gives how many.
fn torment(seed: u64, acts: usize, flushes: Option<usize>, whole: u32, samples: usize) -> usize {
    let mut run = Run::new(seed);
    if let Some(flushes) = flushes {
        run.disk.fail_flushes_after(flushes);
    }
    run.go(acts);
    let Run { disk, models, .. } = run;
    let mut trial =
        Trial { models: &models, chance: Chance(seed | 1), whole, samples, tried: Cell::new(0), seed };
    for (step, image) in disk.take_trace().iter().enumerate() {
        trial.crash(image, step, 1);
    }
    trial.tried.get()
}

#[test]
fn after_any_crash_everything_acknowledged_is_there_and_no_start_is_refused() {
    let seed = number("MUSTER_TORTURE_SEED").unwrap_or(1);
    let wanted = number("MUSTER_TORTURE_STATES");
    let (acts, whole, samples) = if wanted.is_some() { (30, 6, 20) } else { (8, 2, 4) };
    let wanted = usize::try_from(wanted.unwrap_or(6_000)).unwrap();
    let (mut tried, mut runs) = (0, 0);
    while tried < wanted {
        // Every third run ends with flushes that fail.
        let flushes = (runs % 3 == 2).then(|| usize::try_from(20 + 7 * runs).unwrap());
        tried += torment(seed + runs, acts, flushes, whole, samples);
        runs += 1;
    }
    println!("{tried} crashes of {runs} runs, from seed {seed} on");
}

#[test]
fn an_old_segment_that_cannot_be_removed_is_no_damage_and_goes_later() {
    let segments = |disk: &Simulated| recover::list(disk).unwrap().segments;
    for again in [false, true] {
        let mut run = Run::new(1);
        run.append(40, 900);
        run.wait();
        let all = segments(&run.disk);
        assert!(all.len() > 5, "{all:?}");
        // The first one stays.
        run.disk.fail_removals(1);
        let purge = |run: &mut Run, upto: u64| {
            run.take(&Step::Purge(upto));
            let told = run.told();
            run.wal.purge(upto, upto.to_le_bytes().to_vec(), told).unwrap();
            run.wait();
        };
        purge(&mut run, 30);
        assert_eq!(segments(&run.disk)[0], all[0]);
        if again {
            purge(&mut run, 31);
            assert!(segments(&run.disk)[0] > all[2]);
            continue;
        }
        // As if a later one had gone all the same.
        run.disk.remove(&segment::file_name(all[1])).unwrap();
        let disk = Simulated::with(run.disk.image());
        let (wal, _) = open(&disk, true).unwrap();
        assert_eq!(wal.range(), (31, 40));
        let (tell, told) = mpsc::channel();
        wal.write_vote(b"v".to_vec(), Box::new(move |result| tell.send(result).unwrap())).unwrap();
        told.recv().unwrap().unwrap();
        assert!(segments(&disk)[0] > all[2]);
    }
}

#[test]
fn a_segment_that_is_missing_is_damage_unless_all_before_it_is_purged() {
    let mut run = Run::new(1);
    run.append(40, 900);
    run.wait();
    run.append(1, 10);
    run.wait();
    for number in recover::list(&run.disk).unwrap().segments {
        let disk = Simulated::with(run.disk.image());
        disk.remove(&segment::file_name(number)).unwrap();
        match Start::new(&disk, true) {
            Err(error) => assert!(error.to_string().contains("missing"), "{error}"),
            // Whoever has the purge point sees that the beginning is gone.
            Ok(start) => assert!(start.log.first > 0, "{number}"),
        }
    }
}

#[test]
fn flipped_bits_are_named_or_cost_nothing() {
    let mut run = Run::new(1);
    // In steps, so that later records prove that earlier ones were durable.
    for _ in 0..30 {
        run.append(1, 400);
        run.wait();
    }
    let intact = found(&Start::new(&Simulated::with(run.disk.image()), true).unwrap());
    for number in recover::list(&run.disk).unwrap().segments {
        for at in (0..SEGMENT).step_by(7) {
            let disk = Simulated::with(run.disk.image());
            let file = disk.open(&segment::file_name(number)).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << (at % 8)], at).unwrap();
            match Start::new(&disk, true) {
                Err(error) => assert!(error.to_string().contains(".log: "), "{error}"),
                Ok(start) => assert!(found(&start) == intact, "segment {number}, byte {at}"),
            }
        }
    }
}
