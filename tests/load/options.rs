//! The command line.

/// Printed by `--help` and after a mistake.
pub(crate) const HELP: &str = "\
load [core] [setup] [overload] [unacked] [memory] [bridge] [--rounds N] [--rate N] [--seconds N] [--waiting N] [--calls N] [--hold N]
     [--unacked N]
  core     the SIP core alone (HOTLINE_UAS) at --rate calls/s for --seconds s, beside SIPp
  setup    INVITE to 200 OK at --rate calls/s for --seconds s, beside SIPp's own answering side
  overload the same at --rate, at three times --rate and at --rate again: refusals and delays
  unacked  resident memory of --unacked INVITEs of a trunk whose 200 is never acknowledged
  memory   resident memory with --waiting calls in the queue, before and after
  bridge   CPU of --calls recorded talks of --hold s, beside `iobench bridge` (HOTLINE_IOBENCH)
  Without a name all run. Every round measures both sides in turn; --rounds defaults to 2.";

/// Most calls one run asks for: each citizen and each phone needs sockets of its own here.
const CALLS_MAX: u32 = 2_000;
/// Most INVITEs without an ACK: each one takes two ports of the gateway.
const UNACKED_MAX: u32 = 10_000;

/// What to measure and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) core: bool,
    pub(crate) setup: bool,
    pub(crate) overload: bool,
    pub(crate) unacked: bool,
    pub(crate) memory: bool,
    pub(crate) bridge: bool,
    /// Times each measurement is repeated, both sides in turn.
    pub(crate) rounds: u32,
    /// New calls a second in `setup`.
    pub(crate) rate: u32,
    /// Length of one `setup` run, seconds.
    pub(crate) seconds: u32,
    /// Calls waiting at once in `memory`.
    pub(crate) waiting: u32,
    /// Talks at once in `bridge`.
    pub(crate) calls: u32,
    /// Length of the measured part of a talk, seconds.
    pub(crate) hold_s: u32,
    /// INVITEs never acknowledged in `unacked`.
    pub(crate) invites: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            core: false,
            setup: false,
            overload: false,
            unacked: false,
            memory: false,
            bridge: false,
            rounds: 2,
            rate: 50,
            seconds: 20,
            waiting: 200,
            calls: 50,
            hold_s: 35,
            invites: 5_000,
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
                "core" => {
                    options.core = true;
                    continue;
                }
                "setup" => {
                    options.setup = true;
                    continue;
                }
                "overload" => {
                    options.overload = true;
                    continue;
                }
                "unacked" => {
                    options.unacked = true;
                    continue;
                }
                "memory" => {
                    options.memory = true;
                    continue;
                }
                "bridge" => {
                    options.bridge = true;
                    continue;
                }
                "--rounds" => &mut options.rounds,
                "--rate" => &mut options.rate,
                "--seconds" => &mut options.seconds,
                "--waiting" => &mut options.waiting,
                "--calls" => &mut options.calls,
                "--hold" => &mut options.hold_s,
                "--unacked" => &mut options.invites,
                other => return Err(format!("unknown argument {other:?}")),
            };
            let value = arguments.next().and_then(|v| v.parse().ok());
            let most = if argument == "--unacked" { UNACKED_MAX } else { CALLS_MAX };
            let value = value.filter(|n| (1..=most).contains(n));
            *field = value.ok_or_else(|| format!("{argument} needs a number from 1 to {most}"))?;
        }
        if options.names().is_empty() {
            (options.core, options.setup, options.overload) = (true, true, true);
            (options.unacked, options.memory, options.bridge) = (true, true, true);
        }
        Ok(Request::Run(options))
    }

    /// The benchmarks chosen.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let all = [
            ("core", self.core),
            ("setup", self.setup),
            ("overload", self.overload),
            ("unacked", self.unacked),
            ("memory", self.memory),
            ("bridge", self.bridge),
        ];
        all.into_iter().filter(|(_, chosen)| *chosen).map(|(name, _)| name).collect()
    }

    /// Everything but the names, as arguments again.
    pub(crate) fn numbers(&self) -> Vec<String> {
        let all = [
            ("--rounds", self.rounds),
            ("--rate", self.rate),
            ("--seconds", self.seconds),
            ("--waiting", self.waiting),
            ("--calls", self.calls),
            ("--hold", self.hold_s),
            ("--unacked", self.invites),
        ];
        all.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_string()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, String> {
        Options::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_a_name_everything_is_measured() {
        let all = Options {
            core: true,
            setup: true,
            overload: true,
            unacked: true,
            memory: true,
            bridge: true,
            ..Options::default()
        };
        assert_eq!(parse(""), Ok(Request::Run(all)));
        let one = Options { bridge: true, calls: 10, hold_s: 5, ..Options::default() };
        assert_eq!(parse("bridge --calls 10 --hold 5"), Ok(Request::Run(one)));
    }

    #[test]
    fn the_arguments_written_are_the_ones_read() {
        let options = Options { memory: true, rounds: 3, waiting: 7, ..Options::default() };
        let written = options.names().into_iter().map(str::to_owned).chain(options.numbers());
        assert_eq!(Options::parse(written), Ok(Request::Run(options)));
    }

    #[test]
    fn a_mistake_is_named() {
        assert!(parse("talk").unwrap_err().contains("talk"));
        assert!(parse("--rate").unwrap_err().contains("--rate"));
        assert!(parse("--rate 0").unwrap_err().contains("--rate"));
        assert!(parse("--calls 100000").unwrap_err().contains("--calls"));
    }
}
