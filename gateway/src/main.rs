//! `hotline`: the one program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use hotline_gateway::config::{Config, Hotline, Record, Trunk};
use hotline_gateway::{app, cli, observe};

/// 城市热线网关 / the citizen-hotline gateway
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Clone)]
struct Site {
    /// 配置文件 / configuration file (every default: ops/hotline.example.toml)
    #[arg(long, env = "HOTLINE_CONFIG")]
    config: Option<PathBuf>,
    /// 数据目录 / data directory, overrides the file's
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// 启动网关 / run the gateway
    Serve {
        #[command(flatten)]
        site: Site,
        /// SIP 监听地址 / SIP listener, e.g. 0.0.0.0:5060
        #[arg(long)]
        sip: Option<SocketAddr>,
        /// HTTP 监听地址 / HTTP listener, e.g. 127.0.0.1:8080
        #[arg(long)]
        http: Option<SocketAddr>,
    },
    /// 检查这台机器 / what is wrong here and what to do
    Doctor {
        #[command(flatten)]
        site: Site,
    },
    /// 用户 / people and their phones
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// 一件诉求的全过程 / an item's whole story
    Show {
        #[command(flatten)]
        site: Site,
        /// 受理编号或查询码 / acceptance number or query code
        number: String,
    },
    /// 一次通话的 SIP 报文 / what passed on the wire of a call
    Trace {
        #[command(flatten)]
        site: Site,
        /// 通话编号、开头几位或 last / the call's id, the beginning of one, or `last`
        call: String,
        /// 输出 Mermaid 时序图 / print a Mermaid sequence diagram
        #[arg(long, conflicts_with = "messages")]
        mermaid: bool,
        /// 输出完整报文 / print whole messages
        #[arg(long)]
        messages: bool,
        /// 不遮盖号码,须写明理由(记入审计)/ numbers in the clear; the reason is audited
        #[arg(long, value_name = "REASON")]
        raw: Option<String>,
    },
    /// 移交案件核心的发件箱 / hand-offs to the case core
    Outbox {
        #[command(subcommand)]
        command: OutboxCommand,
    },
    /// SIP 封禁名单 / banned SIP sources
    Ban {
        #[command(subcommand)]
        command: BanCommand,
    },
    /// 运营商中继 / carriers' trunks
    Trunk {
        #[command(subcommand)]
        command: TrunkCommand,
    },
    /// 语音流程 / voice flows
    Ivr {
        #[command(subcommand)]
        command: IvrCommand,
    },
    /// 微信公众号 / the WeChat Official Account
    Wechat {
        #[command(subcommand)]
        command: WechatCommand,
    },
    /// 语音识别模型 / speech models
    Model {
        #[command(subcommand)]
        command: ModelCommand,
    },
    /// 市民网页 / the citizens' pages
    Web {
        #[command(subcommand)]
        command: WebCommand,
    },
    /// 转写子进程(由网关启动)/ child process, started by the gateway
    #[command(hide = true)]
    TranscribeWorker,
}

#[derive(Subcommand)]
enum UserCommand {
    /// 添加 / add
    Add {
        #[command(flatten)]
        site: Site,
        /// 工号 / sign-in name
        #[arg(long)]
        login: String,
        /// 姓名 / name for lists; default: the login
        #[arg(long)]
        name: Option<String>,
        /// operator, leader, qa, manager, admin (可重复 / repeatable)
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
        /// 密码;省略则取环境变量 / password, or from HOTLINE_PASSWORD
        #[arg(long, env = "HOTLINE_PASSWORD", hide_env_values = true)]
        password: String,
        /// 话机的 SIP 用户 / the phone's SIP user
        #[arg(long)]
        sip_user: Option<String>,
        /// 话机密码;默认同登录密码 / the phone's password, default: the same
        #[arg(long, env = "HOTLINE_SIP_PASSWORD", hide_env_values = true)]
        sip_password: Option<String>,
    },
}

#[derive(Subcommand)]
enum OutboxCommand {
    /// 未送达与滞留 / what waits and what was set aside
    List {
        #[command(flatten)]
        site: Site,
    },
    /// 重新发送滞留的一条 / send one that was set aside again
    Retry {
        #[command(flatten)]
        site: Site,
        /// 编号(见 list)/ id, as `list` shows it
        id: String,
    },
}

#[derive(Subcommand)]
enum BanCommand {
    /// 当前封禁 / who is banned, why and for how long
    List {
        #[command(flatten)]
        site: Site,
    },
    /// 解除封禁 / lift a ban
    Lift {
        #[command(flatten)]
        site: Site,
        /// IP 地址(见 list)/ address, as `list` shows it
        source: String,
    },
}

#[derive(Subcommand)]
enum TrunkCommand {
    /// 向运行中的网关查询各中继 / how each trunk of the running gateway stands
    List {
        #[command(flatten)]
        site: Site,
        /// 用来登录的工号,任何角色均可 / name to sign in with, of any role
        #[arg(long, env = "HOTLINE_LOGIN")]
        login: String,
        /// 密码;省略则取环境变量 / password, or from HOTLINE_PASSWORD
        #[arg(long, env = "HOTLINE_PASSWORD", hide_env_values = true)]
        password: String,
        /// 网关的 HTTP 地址;默认取配置 / the gateway's HTTP listener, default: the configured one
        #[arg(long)]
        http: Option<SocketAddr>,
    },
}

#[derive(Subcommand)]
enum IvrCommand {
    /// 查死路与缺失的提示音 / dead ends and missing prompts
    Check {
        #[command(flatten)]
        site: Site,
        /// 流程名或文件 / flow name or file; default: all
        flow: Option<String>,
    },
    /// 输出 Mermaid 图 / print Mermaid
    Graph {
        #[command(flatten)]
        site: Site,
        /// 流程名或文件 / flow name or file
        flow: String,
    },
}

#[derive(Subcommand)]
enum WebCommand {
    /// 上报页二维码 / the report page's QR code for posters
    Qr {
        #[command(flatten)]
        site: Site,
        /// 张贴地点,预填进表单 / where it hangs, filled in already
        #[arg(long)]
        place: Option<String>,
        /// 写入 .svg 或 .png 文件 / write to a .svg or .png file
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum WechatCommand {
    /// 公众号菜单 / the account's menu
    Menu {
        #[command(flatten)]
        site: Site,
        /// 发布到平台 / publish it
        #[arg(long)]
        create: bool,
    },
}

#[derive(Subcommand)]
enum ModelCommand {
    /// 下载(校验后启用)/ fetch, verified before use
    Get {
        #[command(flatten)]
        site: Site,
        /// 名称,如 small / name, e.g. small
        name: String,
        /// 下载地址 / where from
        #[arg(long)]
        from: Option<String>,
        /// 期望的 SHA-256 / expected SHA-256
        #[arg(long)]
        sha256: Option<String>,
    },
    /// 检查模型文件 / judge a file
    Check {
        /// 文件 / file
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::TranscribeWorker) {
        return hotline_transcription::worker::child::worker_main();
    }
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            complain(&format!("错误 / error: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "the last word of a failed command")]
fn complain(text: &str) {
    eprintln!("{text}");
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Serve { site, sip, http } => {
            let mut config = load(&site)?;
            if let Some(sip) = sip {
                config.sip.listen = vec![sip];
            }
            if let Some(http) = http {
                config.http.listen = http;
            }
            observe::logs::init(&config.log);
            runtime.block_on(app::serve(config))
        }
        Command::Doctor { site } => runtime.block_on(cli::doctor::examine(&load(&site)?)),
        Command::Show { site, number } => runtime.block_on(cli::show::show(&load(&site)?, &number)),
        Command::Trace { site, call, mermaid, messages, raw } => {
            use cli::trace::Form;
            let form = match (mermaid, messages) {
                (true, _) => Form::Mermaid,
                (_, true) => Form::Messages,
                _ => Form::Ladder,
            };
            runtime.block_on(cli::trace::print(&load(&site)?, &call, form, raw.as_deref()))
        }
        Command::User { command: UserCommand::Add { site, login, name, roles, password, sip_user, sip_password } } => {
            let name = name.unwrap_or_else(|| login.clone());
            let person = cli::user::NewPerson { login, name, roles, password, sip_user, sip_password };
            runtime.block_on(cli::user::add(&load(&site)?, person))
        }
        Command::Outbox { command: OutboxCommand::List { site } } => runtime.block_on(cli::outbox::list(&load(&site)?)),
        Command::Outbox { command: OutboxCommand::Retry { site, id } } => {
            runtime.block_on(cli::outbox::retry(&load(&site)?, &id))
        }
        Command::Ban { command: BanCommand::List { site } } => runtime.block_on(cli::ban::list(&load(&site)?)),
        Command::Ban { command: BanCommand::Lift { site, source } } => {
            runtime.block_on(cli::ban::lift(&load(&site)?, &source))
        }
        Command::Trunk { command: TrunkCommand::List { site, login, password, http } } => {
            let mut config = load(&site)?;
            config.http.listen = http.unwrap_or(config.http.listen);
            runtime.block_on(cli::trunk::list(&config, &login, &password))
        }
        Command::Ivr { command: IvrCommand::Check { site, flow } } => cli::ivr::check(&load(&site)?, flow.as_deref()),
        Command::Ivr { command: IvrCommand::Graph { site, flow } } => cli::ivr::graph(&load(&site)?, &flow),
        Command::Wechat { command: WechatCommand::Menu { site, create } } => {
            runtime.block_on(cli::wechat::put_menu(&load(&site)?, create))
        }
        Command::Model { command: ModelCommand::Get { site, name, from, sha256 } } => {
            runtime.block_on(cli::model::fetch(&load(&site)?, &name, from.as_deref(), sha256.as_deref()))
        }
        Command::Web { command: WebCommand::Qr { site, place, out } } => {
            cli::web::print(&load(&site)?, place.as_deref(), out.as_deref())
        }
        Command::Model { command: ModelCommand::Check { file } } => cli::model::judge(&file),
        Command::TranscribeWorker => Ok(()),
    }
}

/// The file's settings, or working ones for a first look: the hotline 12319 and calls from this machine.
fn load(site: &Site) -> anyhow::Result<Config> {
    let mut config = match &site.config {
        Some(path) => Config::load(path)?,
        None => Config {
            hotlines: vec![Hotline {
                number: "12319".into(),
                queue: "main".into(),
                flow: "hotline".into(),
                ring_ms: 0,
                record: Record::default(),
                skills: Vec::new(),
            }],
            trunks: vec![Trunk { name: "local".into(), sources: vec!["127.0.0.0/8".into()], ..Trunk::default() }],
            ..Config::default()
        },
    };
    if let Some(data) = &site.data {
        config.storage.data_dir.clone_from(data);
    }
    // Recordings' paths travel between threads and processes: they must not depend on a current folder.
    config.storage.data_dir = std::path::absolute(&config.storage.data_dir)?;
    config.validate(Path::new(site.config.as_deref().and_then(Path::to_str).unwrap_or("(defaults)")))?;
    Ok(config)
}
