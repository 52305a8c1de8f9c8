//! How loud a recording is, second by second, kept beside it for players: `ID.levels.json`.
//!
//! `{"version":1,"interval_ms":1000,"channels":[{"name":"left","rms_dbfs":[-96,-31],"peak_dbfs":[-96,-12]},
//! {"name":"right",…}]}`: whole decibels of full scale (a sample of 32,768 would be 0), -96 for silence and
//! anything softer; left is what the citizen said. The last value covers what is left of a second.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::{
    hash::hex,
    wav::{HEADER_LEN, WavFormat, parse_header},
};
use crate::{Codec, codec::decode_into, limits::SAMPLE_RATE_HZ};

/// What silence is written as, in dB of full scale.
pub const LEVEL_MIN_DBFS: i8 = -96;

const JSON_HEAD: &str = r#"{"version":1,"interval_ms":1000,"channels":["#;
const JSON_TAIL: &str = "]}";

/// Bytes read at once; whole frames of either format.
const READ_LEN: usize = 64 * 1024;

/// Levels of both channels in dB of full scale, one value a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Root mean square, left and right.
    pub rms_dbfs: [Vec<i8>; 2],
    /// Loudest sample, left and right.
    pub peak_dbfs: [Vec<i8>; 2],
}

impl Levels {
    /// The form it is stored and served in; see the module's description.
    #[must_use]
    pub fn to_json(&self) -> String {
        let list = |values: &[i8]| values.iter().map(i8::to_string).collect::<Vec<_>>().join(",");
        let mut json = String::from(JSON_HEAD);
        for (index, name) in ["left", "right"].into_iter().enumerate() {
            let (rms, peak) = (list(&self.rms_dbfs[index]), list(&self.peak_dbfs[index]));
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(json, r#"{comma}{{"name":"{name}","rms_dbfs":[{rms}],"peak_dbfs":[{peak}]}}"#);
        }
        json.push_str(JSON_TAIL);
        json
    }
}

/// Where a recording's levels are kept: `ID.levels.json` beside `ID.wav`.
#[must_use]
pub fn levels_path(recording: &Path) -> PathBuf {
    recording.with_extension("levels.json")
}

/// Measures a finished recording and writes its levels beside it.
///
/// # Errors
/// The recording can't be read or is none, or its levels can't be written.
pub fn write_levels(recording: &Path) -> io::Result<Levels> {
    let (_, levels) = examine(recording)?;
    store(recording, &levels)?;
    Ok(levels)
}

/// A recording's levels in the form of [`Levels::to_json`], as kept beside it. Those that are missing or
/// broken are measured anew.
///
/// # Errors
/// The recording can't be read or is none.
pub fn read_levels(recording: &Path) -> io::Result<String> {
    match fs::read_to_string(levels_path(recording)) {
        Ok(json) if is_whole(&json) => Ok(json),
        _ => {
            let (_, levels) = examine(recording)?;
            // Served even if they can't be kept.
            let _ = store(recording, &levels);
            Ok(levels.to_json())
        }
    }
}

/// Nothing cut off, and no pages a power cut left as zeros.
fn is_whole(json: &str) -> bool {
    json.starts_with(JSON_HEAD) && json.ends_with(&format!("]}}{JSON_TAIL}")) && !json.contains('\0')
}

/// Under another name first: whoever reads them finds all or none.
fn store(recording: &Path, levels: &Levels) -> io::Result<()> {
    static STORING: Mutex<()> = Mutex::new(());
    let path = levels_path(recording);
    let part = path.with_extension("json.part");
    let _one_at_a_time = STORING.lock().unwrap_or_else(PoisonError::into_inner);
    fs::write(&part, levels.to_json())?;
    fs::rename(&part, &path)
}

/// Hash of the whole file and levels of its audio, read once. Writes the levels beside it.
pub(super) fn seal(recording: &Path) -> io::Result<String> {
    let (sha256, levels) = examine(recording)?;
    // No evidence: what is missing here is measured anew when somebody asks for it.
    let _ = store(recording, &levels);
    Ok(sha256)
}

fn examine(recording: &Path) -> io::Result<(String, Levels)> {
    let mut file = File::open(recording)?;
    let mut head = Vec::with_capacity(HEADER_LEN);
    file.by_ref().take(HEADER_LEN as u64).read_to_end(&mut head)?;
    let format = parse_header(&head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?.format;
    let mut hasher = Sha256::new();
    hasher.update(&head);
    let mut meter = Meter { format, samples: Vec::new(), levels: Levels::default(), second: Second::default() };
    let mut buffer = Vec::with_capacity(READ_LEN);
    while file.by_ref().take(READ_LEN as u64).read_to_end(&mut buffer)? > 0 {
        hasher.update(&buffer);
        meter.take(&buffer);
        buffer.clear();
    }
    meter.second.end(&mut meter.levels);
    Ok((hex(hasher), meter.levels))
}

#[derive(Default)]
struct Second {
    frames: u32,
    squares: [u64; 2],
    peaks: [u16; 2],
}

impl Second {
    fn end(&mut self, levels: &mut Levels) {
        let done = std::mem::take(self);
        if done.frames == 0 {
            return;
        }
        for channel in 0..2 {
            let mean = done.squares[channel] as f64 / f64::from(done.frames);
            levels.rms_dbfs[channel].push(dbfs(mean.sqrt()));
            levels.peak_dbfs[channel].push(dbfs(f64::from(done.peaks[channel])));
        }
    }
}

fn dbfs(amplitude: f64) -> i8 {
    // The conversion saturates, and of silence the logarithm is minus infinity.
    ((20.0 * (amplitude / 32_768.0).log10()).round() as i8).max(LEVEL_MIN_DBFS)
}

struct Meter {
    format: WavFormat,
    samples: Vec<i16>,
    levels: Levels,
    second: Second,
}

impl Meter {
    fn take(&mut self, bytes: &[u8]) {
        self.samples.clear();
        match self.format {
            WavFormat::Pcm16 => {
                self.samples.extend(bytes.as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)));
            }
            WavFormat::Alaw => decode_into(Codec::Pcma, bytes, &mut self.samples),
        }
        let mut frames = self.samples.as_chunks::<2>().0;
        while !frames.is_empty() {
            let room = (SAMPLE_RATE_HZ - self.second.frames) as usize;
            let (now, later) = frames.split_at(room.min(frames.len()));
            for frame in now {
                for (channel, sample) in frame.iter().enumerate() {
                    let size = sample.unsigned_abs();
                    self.second.squares[channel] += u64::from(size) * u64::from(size);
                    self.second.peaks[channel] = self.second.peaks[channel].max(size);
                }
            }
            self.second.frames += now.len() as u32;
            if self.second.frames == SAMPLE_RATE_HZ {
                self.second.end(&mut self.levels);
            }
            frames = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{WavFile, part_path, repair};
    use super::*;
    use crate::{codec, tone::sine};

    /// 2.5 s: a tone of 8000 on the left in the first second, one of 800 on the right from the second on.
    fn record(path: &Path, format: WavFormat) -> WavFile {
        let (loud, soft) = (sine(1000.0, 1000), sine(1000.0, 1500));
        let frames: Vec<[i16; 2]> = (0..20_000)
            .map(|n| [if n < 8000 { loud[n] } else { 0 }, if n >= 8000 { soft[n - 8000] / 10 } else { 0 }])
            .collect();
        let bytes: Vec<u8> = match format {
            WavFormat::Pcm16 => frames.iter().flatten().flat_map(|sample| sample.to_le_bytes()).collect(),
            WavFormat::Alaw => frames.iter().flatten().map(|sample| codec::linear_to_alaw(*sample)).collect(),
        };
        let mut file = WavFile::create(path, format).unwrap();
        file.write_at(0, &bytes).unwrap();
        file
    }

    #[test]
    fn levels_lie_beside_a_finished_and_beside_a_repaired_recording() {
        let dir = tempfile::tempdir().unwrap();
        let amplitude = f64::from(*sine(1000.0, 1000).iter().max().unwrap());
        let peak = dbfs(amplitude);
        for format in [WavFormat::Pcm16, WavFormat::Alaw] {
            let path = dir.path().join(format!("{format:?}.wav"));
            let finished = record(&path, format).finish(20_000).unwrap();
            assert_eq!(finished.sha256, super::super::sha256_file(&path).unwrap());
            let kept = fs::read_to_string(dir.path().join(format!("{format:?}.levels.json"))).unwrap();
            let levels = write_levels(&path).unwrap();
            assert_eq!(kept, levels.to_json());
            let near = |got: &[i8], wanted: [i8; 3]| {
                assert_eq!(got.len(), 3);
                // A-law's silence is a sample of 8.
                let is_near = |(got, wanted): (&i8, &i8)| (got - wanted).abs() <= 1 || *got <= -72 && *wanted == -96;
                assert!(got.iter().zip(&wanted).all(is_near), "{format:?}: {got:?}, not {wanted:?}");
            };
            near(&levels.peak_dbfs[0], [peak, -96, -96]);
            near(&levels.rms_dbfs[0], [peak - 3, -96, -96]);
            near(&levels.peak_dbfs[1], [-96, peak - 20, peak - 20]);
            near(&levels.rms_dbfs[1], [-96, peak - 23, peak - 23]);
        }
        let cut = dir.path().join("cut.wav");
        drop(record(&cut, WavFormat::Alaw));
        assert!(part_path(&cut).exists());
        assert!(repair(dir.path(), WavFormat::Pcm16).iter().all(Result::is_ok));
        let of = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(of("cut.levels.json"), of("Alaw.levels.json"));
    }

    #[test]
    fn levels_that_are_missing_cut_off_or_zeroed_are_measured_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        record(&path, WavFormat::Alaw).finish(20_000).unwrap();
        let whole = fs::read(levels_path(&path)).unwrap();
        let mut broken: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
        let mut zeroed = whole.clone();
        zeroed[60..70].fill(0);
        broken.extend([zeroed, vec![0; whole.len()], vec![0xFF; 9]]);
        for bytes in broken {
            fs::write(levels_path(&path), &bytes).unwrap();
            assert_eq!(read_levels(&path).unwrap().as_bytes(), whole, "kept: {bytes:?}");
            assert_eq!(fs::read(levels_path(&path)).unwrap(), whole);
        }
        fs::remove_file(levels_path(&path)).unwrap();
        assert_eq!(read_levels(&path).unwrap().as_bytes(), whole);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left there");
        assert!(read_levels(&dir.path().join("none.wav")).is_err());
    }

    #[test]
    fn whoever_reads_levels_while_they_are_written_finds_all_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        WavFile::create(&path, WavFormat::Pcm16).unwrap().finish(800_000).unwrap();
        let whole = write_levels(&path).unwrap();
        std::thread::scope(|scope| {
            let writers = [(); 2].map(|()| scope.spawn(|| (0..50).for_each(|_| store(&path, &whole).unwrap())));
            while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                assert_eq!(fs::read_to_string(levels_path(&path)).unwrap(), whole.to_json());
            }
        });
    }

    #[test]
    fn silence_and_an_empty_recording_have_levels_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        WavFile::create(&path, WavFormat::Pcm16).unwrap().finish(0).unwrap();
        assert_eq!(write_levels(&path).unwrap(), Levels::default());
        fs::write(dir.path().join("b.wav"), "no sound").unwrap();
        assert!(write_levels(&dir.path().join("b.wav")).is_err());
    }
}
