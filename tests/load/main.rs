//! The load benchmarks: what a call costs in time, CPU and memory, each figure beside that of
//! a program that does the bare minimum, measured in the same run on the same machine.
//!
//! `ops/bench` builds what is needed and runs it. No figure here fails anything: a benchmark
//! ends with an error only when it could not measure.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints its findings")]

mod bridge;
mod disk;
mod limit;
mod memory;
mod options;
mod process;
mod setup;
mod table;

use std::process::ExitCode;

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
    if options.setup {
        setup::run(options).await?;
    }
    if options.memory {
        memory::run(options).await?;
    }
    if options.bridge {
        bridge::run(options).await?;
    }
    Ok(())
}
