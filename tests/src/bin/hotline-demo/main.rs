//! `hotline-demo`: one citizen's call from the first ring to the closed case, on a
//! gateway of its own, each step shown when it was seen. Started by `ops/demo`.
//!
//! Nothing is printed as done that wasn't observed: audio is compared with what was
//! played, everything else is read back through the gateway's own interface.

mod callback;
mod desk;
mod ear;
mod inbound;
mod item;
mod look;
mod show;
mod site;
mod speech;

use std::path::PathBuf;
use std::process::ExitCode;

use show::{Failed, Show};
use site::Site;
use tokio::signal::unix::{SignalKind, signal};

/// Steps of the story; with `--once` the stop is one more.
const STEPS: usize = 30;
/// Exit status after Ctrl-C, as a shell has it.
const INTERRUPTED: u8 = 130;

struct Arguments {
    once: bool,
    data: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        show::complain(
            "用法 / usage: hotline-demo [--once] [--data DIR]    (请用 ops/demo / normally through ops/demo)",
        );
        return ExitCode::from(2);
    };
    let mut show = Show::new(STEPS + usize::from(arguments.once));
    let mut site = match Site::prepare(arguments.data) {
        Ok(site) => site,
        Err(error) => {
            show::complain(&format!("错误 / error: {}", show::plain(&error)));
            return ExitCode::FAILURE;
        }
    };
    let told = tokio::select! {
        told = tell(&mut show, &mut site) => Some(told),
        () = interrupted() => None,
    };
    let code = match told {
        None => {
            show.line("");
            show.line("已中断,正在停止网关(有通话时不到一分钟) / interrupted, stopping the gateway (less than a minute while a call is on)");
            let stopped = site.stop().await;
            show.line(if stopped.is_ok() {
                "已停止 / stopped"
            } else {
                "未能正常停止 / it did not stop in time"
            });
            ExitCode::from(INTERRUPTED)
        }
        Some(Err(failed)) => {
            show.failure(&failed, &site.log());
            // What matters has been said; a gateway that doesn't stop is killed by its handle.
            let _ = site.stop().await;
            ExitCode::FAILURE
        }
        Some(Ok(desk)) if arguments.once => {
            drop(desk);
            finish(&mut show, &mut site).await
        }
        Some(Ok(_desk)) => stay(&mut show, &mut site).await,
    };
    drop(site);
    code
}

/// All acts in order. The desk is handed back so that phone and citizen stay there.
async fn tell(show: &mut Show, site: &mut Site) -> Result<desk::Desk, Failed> {
    site.open(show).await?;
    let desk = desk::open(show, site).await?;
    let talk = inbound::call(show, &desk).await?;
    let item = item::register(show, &desk, &talk).await?;
    item::transcript(show, site, &desk, &talk).await?;
    callback::close(show, &desk, &item).await?;
    item::story(show, site, &item).await?;
    Ok(desk)
}

/// `--once`: SIGTERM must end the gateway in order.
async fn finish(show: &mut Show, site: &mut Site) -> ExitCode {
    let stopped = show
        .step("网关收到 SIGTERM 后正常退出", "the gateway ends on SIGTERM", 60_000, async {
            let status = site.stop().await?;
            if status.success() {
                Ok(((), status.to_string()))
            } else {
                Err(look::unexpected(format!("it ended with {status}")))
            }
        })
        .await;
    if let Err(failed) = stopped {
        show.failure(&failed, &site.log());
        return ExitCode::FAILURE;
    }
    if !show.is_complete() {
        show.line("错误:有步骤未演示 / error: a step was not shown");
        return ExitCode::FAILURE;
    }
    show.line("");
    show.line(&format!(
        "全部 {} 步均已发生,用时 {} 秒 / all {} steps happened, {} s",
        show.total(),
        show.elapsed_s(),
        show.total(),
        show.elapsed_s()
    ));
    ExitCode::SUCCESS
}

/// Leaves the gateway running until Ctrl-C.
async fn stay(show: &mut Show, site: &mut Site) -> ExitCode {
    show.line("");
    show.line(&format!(
        "全部 {} 步均已发生。网关继续运行。/ All {} steps happened. The gateway goes on running.",
        show.total(),
        show.total()
    ));
    show.line("");
    for line in site.welcome() {
        show.line(&line);
    }
    tokio::select! {
        () = interrupted() => {}
        () = site.gone() => {
            show.line(&format!("网关意外退出,见日志 / the gateway ended by itself, see {}", site.log()));
            return ExitCode::FAILURE;
        }
    }
    show.line("");
    show.line("正在停止 / stopping …");
    match site.stop().await {
        Ok(status) if status.success() => {
            show.line("已停止 / stopped");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            show.line(&format!("网关以 {status} 退出,见 / the gateway ended with {status}, see {}", site.log()));
            ExitCode::FAILURE
        }
        Err(error) => {
            show.line(&format!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C or SIGTERM.
async fn interrupted() {
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn arguments() -> Option<Arguments> {
    let mut found = Arguments { once: false, data: hotline_tests::repo_root().join("target/demo-data") };
    let mut given = std::env::args_os().skip(1);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--once") => found.once = true,
            Some("--data") => found.data = given.next()?.into(),
            _ => return None,
        }
    }
    Some(found)
}
