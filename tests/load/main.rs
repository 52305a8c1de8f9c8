//! The load benchmarks: what a call costs in time, CPU and memory, each figure beside that of
//! a program that does the bare minimum, measured in the same run on the same machine.
//!
//! `ops/bench` builds what is needed and runs it. No figure here fails anything: a benchmark
//! ends with an error only when it could not measure.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints its findings")]

mod bridge;
mod core;
mod disk;
mod limit;
mod memory;
mod options;
mod overload;
mod process;
mod setup;
mod table;
mod unacked;

use std::process::{Command, ExitCode};

use hotline_tests::Error;
use options::{Options, Request};

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
    let names = options.names();
    if names.len() > 1 {
        // Each in a process of its own: a citizen takes ports anywhere and never gives them back
        // to the harness, so after some hundred calls no gateway finds its range any more.
        return names.iter().try_for_each(|name| alone(name, options));
    }
    if options.core {
        core::run(options).await?;
    }
    if options.setup {
        setup::run(options).await?;
    }
    if options.overload {
        overload::run(options).await?;
    }
    if options.unacked {
        unacked::run(options).await?;
    }
    if options.memory {
        memory::run(options).await?;
    }
    if options.bridge {
        bridge::run(options).await?;
    }
    Ok(())
}

/// Runs one benchmark as this program's child and passes its output on.
fn alone(name: &str, options: &Options) -> hotline_tests::Result<()> {
    let program = std::env::current_exe().map_err(Error::io("current exe"))?;
    let mut command = Command::new(program);
    let status = command.arg(name).args(options.numbers()).status().map_err(Error::io(format!("run load {name}")))?;
    if status.success() {
        return Ok(());
    }
    let detail = format!("ended with {status}; the reason stands above");
    Err(Error::Process { program: format!("load {name}"), detail, log: String::new() })
}
