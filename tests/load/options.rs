//! The command line.

/// Printed by `--help` and after a mistake.
pub(crate) const HELP: &str = "\
load [table [--quick]] [serve] [core] [setup] [overload] [unacked] [memory] [bridge] [intake] [sms]
     [worklist] [candidates] [ring] [events] [browser]
     [all]
     [--rounds N] [--rate N] [--seconds N] [--waiting N] [--calls N] [--hold N] [--unacked N]
     [--items N] [--open N]
  table    the table of ratios: recorded bridges and prompts beside `iobench bridge` and rtpengine, memory,
           threads, late packets up to 1,000 calls, a frozen disk, a busy machine (HOTLINE_CALLGEN drives);
           --quick takes one pair of each, --rounds N so many (3)
  serve    the same profile with --calls operators until Ctrl-C, for callgen or any other driver
  core     the SIP core alone (HOTLINE_UAS) at --rate calls/s for --seconds s, beside SIPp
  setup    INVITE to 200 OK at --rate calls/s for --seconds s, beside SIPp's own answering side
  overload the same at --rate, at three times --rate and at --rate again: refusals and delays
  unacked  resident memory of --unacked INVITEs of a trunk whose 200 is never acknowledged
  memory   resident memory with --waiting calls in the queue, before and after
  bridge   CPU of --calls recorded talks of --hold s, beside `iobench bridge` (HOTLINE_IOBENCH)
  intake   messages pushed over HTTP: as many as go and --rate a second for --seconds s, both databases; then
           500/s on a disk slowed by 15 ms (HOTLINE_SLOWSYNC)
  sms      texts over CMPP, 20/s for --seconds s and bursts of 200/s on each link, with their receipts, both
           databases
  worklist the work queue's pages and steps with --open pieces of work among --items items, both databases
  candidates  what may be the same incident, asked among --items items, both databases
  ring     from an operator of 200 who hangs up to the next INVITE at their phone, --rate a second for --seconds s,
           with --waiting in the queue; --quick: 20 operators
  events   from a change of an operator's state to 200 sockets, --rate a second for --seconds s
  browser  CPU of --calls talks of --hold s at SIP phones and at browsers, and a browser leg's set-up
           intake, sms, worklist and candidates with --quick: a few seconds of each load, 200,000 items
  all      core, setup, overload, unacked, memory and bridge
  Without a name the table. Every round measures both sides in turn; --rounds defaults to 2.";

/// Most calls one run asks for: each citizen and each phone needs sockets of its own here.
const CALLS_MAX: u32 = 2_000;
/// Most calls or messages a second.
const RATE_MAX: u32 = 10_000;
/// Most INVITEs without an ACK: each one takes two ports of the gateway.
const UNACKED_MAX: u32 = 10_000;
/// Most items: a million of them take some 2 GB on disk.
const ITEMS_MAX: u32 = 2_000_000;
/// Items with `--quick`.
pub(crate) const QUICK_ITEMS: u32 = 200_000;
/// Rounds of a benchmark that wasn't told.
const ROUNDS: u32 = 2;

/// One benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Table,
    Serve,
    Core,
    Setup,
    Overload,
    Unacked,
    Memory,
    Bridge,
    Intake,
    Sms,
    Worklist,
    Candidates,
    Ring,
    Events,
    Browser,
}

impl Name {
    /// What `all` stands for.
    const ALL: [Self; 6] = [Self::Core, Self::Setup, Self::Overload, Self::Unacked, Self::Memory, Self::Bridge];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Serve => "serve",
            Self::Core => "core",
            Self::Setup => "setup",
            Self::Overload => "overload",
            Self::Unacked => "unacked",
            Self::Memory => "memory",
            Self::Bridge => "bridge",
            Self::Intake => "intake",
            Self::Sms => "sms",
            Self::Worklist => "worklist",
            Self::Candidates => "candidates",
            Self::Ring => "ring",
            Self::Events => "events",
            Self::Browser => "browser",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Table, Self::Serve, Self::Intake, Self::Sms, Self::Worklist, Self::Candidates]
            .into_iter()
            .chain([Self::Ring, Self::Events, Self::Browser])
            .chain(Self::ALL)
            .find(|name| name.as_str() == word)
    }
}

/// What to measure and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// In the order they run, none twice.
    pub(crate) names: Vec<Name>,
    /// One pair of each in `table`, and fewer levels; shorter loads and fewer items elsewhere.
    pub(crate) quick: bool,
    /// Times each measurement is repeated, both sides in turn.
    pub(crate) rounds: Option<u32>,
    /// New calls a second in `setup`.
    pub(crate) rate: u32,
    /// Length of one `setup` run, seconds.
    pub(crate) seconds: u32,
    /// Calls waiting at once in `memory`.
    pub(crate) waiting: u32,
    /// Talks at once in `bridge`, operators in `serve`.
    pub(crate) calls: u32,
    /// Length of the measured part of a talk, seconds.
    pub(crate) hold_s: u32,
    /// INVITEs never acknowledged in `unacked`.
    pub(crate) invites: u32,
    /// Items in the database of `worklist`.
    pub(crate) items: u32,
    /// Pieces of work still to do among them.
    pub(crate) open: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            quick: false,
            rounds: None,
            rate: 50,
            seconds: 20,
            waiting: 200,
            calls: 50,
            hold_s: 35,
            invites: 5_000,
            items: 1_000_000,
            open: 20_000,
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Run(Options),
    Help,
}

impl Options {
    /// Reads the arguments after the program's name; the error names the one at fault.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Request, String> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let field = match argument.as_str() {
                "-h" | "--help" => return Ok(Request::Help),
                "--quick" => {
                    options.quick = true;
                    continue;
                }
                "all" => {
                    options.names.extend(Name::ALL);
                    continue;
                }
                "--rounds" => options.rounds.get_or_insert(ROUNDS),
                "--rate" => &mut options.rate,
                "--seconds" => &mut options.seconds,
                "--waiting" => &mut options.waiting,
                "--calls" => &mut options.calls,
                "--hold" => &mut options.hold_s,
                "--unacked" => &mut options.invites,
                "--items" => &mut options.items,
                "--open" => &mut options.open,
                other => {
                    let name = Name::parse(other).ok_or_else(|| format!("unknown argument {other:?}"))?;
                    options.names.push(name);
                    continue;
                }
            };
            let value = arguments.next().and_then(|v| v.parse().ok());
            let most = match argument.as_str() {
                "--unacked" => UNACKED_MAX,
                "--items" | "--open" => ITEMS_MAX,
                "--rate" => RATE_MAX,
                _ => CALLS_MAX,
            };
            let value = value.filter(|n| (1..=most).contains(n));
            *field = value.ok_or_else(|| format!("{argument} needs a number from 1 to {most}"))?;
        }
        if options.names.is_empty() {
            options.names.push(Name::Table);
        }
        options.names.dedup();
        Ok(Request::Run(options))
    }

    /// Rounds of all but the table.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(ROUNDS)
    }

    /// What was asked for, or with `--quick` at most `most`.
    pub(crate) fn quick_or(&self, asked: u32, most: u32) -> u32 {
        if self.quick { asked.min(most) } else { asked }
    }

    /// Everything but the names, as arguments again.
    pub(crate) fn settings(&self) -> Vec<String> {
        let mut written: Vec<String> = Vec::new();
        if self.quick {
            written.push("--quick".into());
        }
        let all = [
            ("--rounds", self.rounds),
            ("--rate", Some(self.rate)),
            ("--seconds", Some(self.seconds)),
            ("--waiting", Some(self.waiting)),
            ("--calls", Some(self.calls)),
            ("--hold", Some(self.hold_s)),
            ("--unacked", Some(self.invites)),
            ("--items", Some(self.items)),
            ("--open", Some(self.open)),
        ];
        let numbers = all.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?.to_string()]));
        written.extend(numbers.flatten());
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, String> {
        Options::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_a_name_the_table_is_taken() {
        let table = Options { names: vec![Name::Table], ..Options::default() };
        assert_eq!(parse(""), Ok(Request::Run(table)));
        let quick = Options { names: vec![Name::Table], quick: true, ..Options::default() };
        assert_eq!(parse("--quick"), Ok(Request::Run(quick)));
        let one = Options { names: vec![Name::Bridge], calls: 10, hold_s: 5, ..Options::default() };
        assert_eq!(parse("bridge --calls 10 --hold 5"), Ok(Request::Run(one)));
        let all = Options { names: Name::ALL.to_vec(), ..Options::default() };
        assert_eq!(parse("all"), Ok(Request::Run(all)));
    }

    #[test]
    fn the_arguments_written_are_the_ones_read() {
        for rounds in [None, Some(3)] {
            let names = vec![Name::Memory, Name::Table];
            let options = Options { names, quick: true, rounds, waiting: 7, ..Options::default() };
            let written = options.names.iter().map(|name| name.as_str().to_owned()).chain(options.settings());
            assert_eq!(Options::parse(written), Ok(Request::Run(options)));
        }
    }

    #[test]
    fn a_mistake_is_named() {
        assert!(parse("talk").unwrap_err().contains("talk"));
        assert!(parse("--rate").unwrap_err().contains("--rate"));
        assert!(parse("--rate 0").unwrap_err().contains("--rate"));
        assert!(parse("--calls 100000").unwrap_err().contains("--calls"));
    }
}
