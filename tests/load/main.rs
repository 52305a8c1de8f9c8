//! The load benchmarks: what a call costs in time, CPU and memory, each figure beside that of
//! a program that does the bare minimum, measured in the same run on the same machine.
//!
//! `ops/bench/run` builds what is needed and runs it. No figure here fails anything: a benchmark
//! ends with an error only when it could not measure.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints its findings")]

mod bank;
mod bridge;
mod browser;
mod callgen;
mod candidates;
mod core;
mod disk;
mod events;
mod fill;
mod intake;
mod limit;
mod memory;
mod options;
mod overload;
mod process;
mod profile;
mod ratios;
mod report;
mod ring;
mod rivals;
mod setup;
mod sms;
mod srtp;
mod stall;
mod table;
mod times;
mod unacked;
mod webleg;
mod worklist;

use std::process::{Command, ExitCode};

use hotline_tests::Error;
use options::{Name, Options, Request};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Request::Run(options)) => options,
        Ok(Request::Help) => {
            println!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("not measured: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> hotline_tests::Result<()> {
    let [name] = options.names[..] else {
        // Each in a process of its own: a citizen takes ports anywhere and never gives them back
        // to the harness, so after some hundred calls no gateway finds its range any more.
        return options.names.iter().try_for_each(|name| alone(name.as_str(), options));
    };
    match name {
        Name::Table => ratios::run(options).await,
        Name::Serve => profile::serve(options.calls).await,
        Name::Core => core::run(options).await,
        Name::Setup => setup::run(options).await,
        Name::Overload => overload::run(options).await,
        Name::Unacked => unacked::run(options).await,
        Name::Memory => memory::run(options).await,
        Name::Bridge => bridge::run(options).await,
        Name::Sms => sms::run(options).await,
        Name::Intake => intake::run(options).await,
        Name::Candidates => candidates::run(options).await,
        Name::Worklist => worklist::run(options).await,
        Name::Ring => ring::run(options).await,
        Name::Events => events::run(options).await,
        Name::Browser => browser::run(options).await,
    }
}

/// Runs one benchmark as this program's child and passes its output on.
fn alone(name: &str, options: &Options) -> hotline_tests::Result<()> {
    let program = std::env::current_exe().map_err(Error::io("current exe"))?;
    let mut command = Command::new(program);
    let status = command.arg(name).args(options.settings()).status().map_err(Error::io(format!("run load {name}")))?;
    if status.success() {
        return Ok(());
    }
    let detail = format!("ended with {status}; the reason stands above");
    Err(Error::Process { program: format!("load {name}"), detail, log: String::new() })
}
