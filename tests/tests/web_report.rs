//! The citizens' report page over HTTP: by QR code, by a texted link, with everything that is wrong.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::messages::count;
use common::picture::{Picture, png};
use common::{Desk, NUMBER, Town};
use hotline_tests::api::{client, rows};
use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::until;
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use reqwest::redirect::Policy;
use serde_json::Value;

/// A page, and what a browser would send with its form.
struct Page<'a> {
    gateway: &'a Gateway,
    path: String,
    form: String,
}

impl<'a> Page<'a> {
    async fn open(gateway: &'a Gateway, path: &str) -> Self {
        let html = text(gateway, path).await;
        let form = html.split_once("name=\"form\" value=\"").expect("a form").1;
        let form = form.split_once('"').unwrap().0.to_owned();
        Self { gateway, path: path.to_owned(), form }
    }

    async fn try_send(&self, form: Form) -> (StatusCode, Value) {
        let request = client().unwrap().post(url(self.gateway, &self.path));
        let sent = request.header("accept", "application/json").multipart(form).send().await.unwrap();
        let status = sent.status();
        (status, sent.json().await.unwrap_or_default())
    }

    /// Sends what `fill` adds, again while the page says that nobody is so fast; the receipt's address.
    async fn send(&self, fill: impl Fn(Form) -> Form) -> String {
        until("the report to be taken", 20_000, || async {
            let (status, answer) = self.try_send(fill(self.blank())).await;
            let is_fast = answer.to_string().contains("太快");
            assert!(is_fast || status == StatusCode::OK, "{status} {answer}");
            answer["receipt"].as_str().map(str::to_owned)
        })
        .await
        .unwrap()
    }

    fn blank(&self) -> Form {
        Form::new().text("form", self.form.clone()).text("website", "")
    }
}

fn url(gateway: &Gateway, path: &str) -> String {
    format!("http://{}{path}", gateway.http())
}

async fn text(gateway: &Gateway, path: &str) -> String {
    client().unwrap().get(url(gateway, path)).send().await.unwrap().text().await.unwrap()
}

/// The receipt's numbers, once the item has them.
async fn numbers(gateway: &Gateway, receipt: &str) -> Value {
    until("the receipt's numbers", 20_000, || async {
        let request = client().unwrap().get(url(gateway, receipt)).header("accept", "application/json");
        let answer: Value = request.send().await.ok()?.json().await.ok()?;
        answer["acceptance_no"].is_string().then_some(answer)
    })
    .await
    .unwrap()
}

fn manhole(form: Form) -> Form {
    form.text("text", "井盖缺失,已有人绊倒").text("place", "文三路与学院路口").text("class", "1")
}

fn photo() -> Part {
    Part::bytes(png(&Picture::default())).file_name("a.png").mime_str("image/png").unwrap()
}

async fn items(desk: &Desk) -> Vec<Value> {
    rows(&desk.api.get("/api/v1/items").await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_by_qr_code_is_one_item_with_photo_place_and_numbers() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let page = Page::open(&desk.gateway, "/r").await;
    let fill = |form| manhole(form).text("lon", "119.974").text("lat", "31.811").part("files", photo());
    let receipt = page.send(fill).await;
    let given = numbers(&desk.gateway, &receipt).await;
    // The same form again, as after a lost answer: the same receipt, nothing new.
    assert_eq!(page.send(fill).await, receipt);
    assert_eq!(numbers(&desk.gateway, &receipt).await, given);

    let all = items(&desk).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    let (item, number) = (&all[0], given["acceptance_no"].as_str().unwrap());
    assert_eq!(item["acceptance_no"], number);
    assert_eq!(&number[12..13], "4", "渠道 4 is the page: {number}");
    assert!(item["detail"].as_str().unwrap().contains("井盖缺失"), "{item:#}");
    assert!((item["lon"].as_f64().unwrap() - 119.974).abs() < 1e-4, "{item:#}");

    let messages = rows(&desk.api.get("/api/v1/messages").await.unwrap());
    assert_eq!(messages.len(), 1, "{messages:#?}");
    let html = text(&desk.gateway, &receipt).await;
    assert!(html.contains(number) && html.contains(given["query_code"].as_str().unwrap()));
    assert!(!text(&desk.gateway, &receipt.replace("/r/done/", "/r/done/x")).await.contains(number), "not ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_script_the_form_says_what_is_wrong_and_keeps_what_was_written() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let page = Page::open(&desk.gateway, "/r").await;
    let plain = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
    let post = |form: Form| plain.post(url(&desk.gateway, "/r")).multipart(form).send();
    let html = until("the form's errors", 20_000, || async {
        let sent = post(page.blank().text("text", "<b>路灯不亮").text("phone", "123")).await.unwrap();
        assert_eq!(sent.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let html = sent.text().await.unwrap();
        (!html.contains("太快")).then_some(html)
    })
    .await
    .unwrap();
    assert!(html.contains("&lt;b&gt;路灯不亮"), "what was written stays");
    assert!(html.contains("href=\"#place\"") && html.contains("href=\"#phone\""), "and what is wrong is linked");
    assert_eq!(html.matches("aria-invalid").count(), 2);

    let sent = post(manhole(page.blank())).await.unwrap();
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    let receipt = sent.headers()["location"].to_str().unwrap().to_owned();
    numbers(&desk.gateway, &receipt).await;
    let english = text(&desk.gateway, "/r?lang=en").await;
    assert!(english.contains("Report a problem") && english.contains("lang=\"en\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_and_other_sites_get_an_answer_and_no_item() {
    let config = GatewayConfig::default().with("web.upload_max_mb", 1);
    let desk = Desk::open(config).await;
    let page = Page::open(&desk.gateway, "/r").await;
    let refused = |form: Form, status: u16, word: &'static str| {
        let page = &page;
        async move {
            let (was, answer) = page.try_send(form).await;
            assert_eq!(was.as_u16(), status, "{answer}");
            assert!(answer["errors"][0]["message"].as_str().is_some_and(|m| m.contains(word)), "{answer}");
        }
    };
    // Sent at once after the page came; with the trap filled in, an attempt too slow for it leaves no item.
    until("a form sent too soon to be refused", 20_000, || async {
        let fresh = Page::open(&desk.gateway, "/r").await;
        let (status, answer) = fresh.try_send(manhole(fresh.blank()).text("website", "http://spam")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        answer.to_string().contains("太快").then_some(())
    })
    .await
    .unwrap();
    refused(manhole(Form::new().text("form", "forged.1.x")), 422, "过期").await;
    // No file is read for a form that isn't ours.
    refused(Form::new().part("files", photo()), 400, "过期").await;
    let large = Part::bytes(vec![0; 2 << 20]).file_name("large.png");
    refused(page.blank().part("files", large), 413, "过大").await;
    refused(page.blank().text("text", "x".repeat(20_000)), 413, "过大").await;
    let (status, _) = until("the trap to count", 20_000, || async {
        let (status, answer) = page.try_send(manhole(page.blank()).text("website", "http://spam")).await;
        (!answer.to_string().contains("太快")).then_some((status, answer))
    })
    .await
    .unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    for (name, bytes) in [("a.png", b"<svg onload=alert(1)>".to_vec()), ("b.gif", b"GIF89a".to_vec())] {
        refused(manhole(page.blank()).part("files", Part::bytes(bytes).file_name(name)), 422, "不支持").await;
    }
    let elsewhere = client().unwrap().post(url(&desk.gateway, "/r")).header("sec-fetch-site", "cross-site");
    let answer = elsewhere.multipart(manhole(page.blank())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let json = client().unwrap().post(url(&desk.gateway, "/r")).body("{}").send().await.unwrap();
    assert_eq!(json.status(), StatusCode::BAD_REQUEST);
    for path in ["/r/x", "/r/aaaaaaaaaaaaaaaaaaaaaa", "/r/done/x", "/s/aaaaaaaaaaaaaaaaaaaaaa", "/r/%2e%2e%2fsecret"] {
        let answer = client().unwrap().get(url(&desk.gateway, path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert!(items(&desk).await.is_empty());
    assert!(rows(&desk.api.get("/api/v1/messages").await.unwrap()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_takes_so_many_an_hour_from_one_address_as_a_proxy_tells_it() {
    let config =
        GatewayConfig::default().with("web.address_hour_max", 1).with("web.proxies", vec!["127.0.0.0/8".to_owned()]);
    let desk = Desk::open(config).await;
    let send = |from: &'static str| {
        let gateway = &desk.gateway;
        async move {
            let page = Page::open(gateway, "/r").await;
            until("an answer", 20_000, || async {
                let request = client().unwrap().post(url(gateway, "/r")).header("accept", "application/json");
                let request = request.header("x-forwarded-for", format!("198.51.100.9, {from}"));
                let sent = request.multipart(manhole(page.blank())).send().await.unwrap();
                let status = sent.status();
                (!sent.text().await.unwrap().contains("太快")).then_some(status)
            })
            .await
            .unwrap()
        }
    };
    assert_eq!(send("203.0.113.1").await, StatusCode::OK);
    assert_eq!(send("203.0.113.1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send("203.0.113.2").await, StatusCode::OK);
    let closed = Desk::open(GatewayConfig::default().with("web.open", false)).await;
    let answer = client().unwrap().get(url(&closed.gateway, "/r")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

/// The token of the newest link, from the text that carries it.
fn texted_link(gateway: &Gateway) -> Option<String> {
    let script = "import sqlite3,sys\n\
        rows = sqlite3.connect(sys.argv[1]).execute(\"SELECT text FROM outgoing WHERE purpose='link' ORDER BY id DESC\")\n\
        print((rows.fetchone() or [''])[0])";
    let database = gateway.data_dir().join("hotline.db");
    let ran = std::process::Command::new("python3").arg("-c").arg(script).arg(database).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let token: String = text.split_once("/r/")?.1.chars().take(22).collect();
    Some(format!("/r/{token}"))
}

/// With a line to a carrier who isn't there: texts wait, and the test reads them.
fn texting() -> GatewayConfig {
    let line = "name = \"mobile\"\nkind = \"cmpp\"\n[cmpp]\naddress = \"127.0.0.1:9\"\nuser = \"901234\"\n\
                password = \"x\"\nsrc_id = \"10629100\"";
    let line: toml::Table = line.parse().unwrap();
    GatewayConfig::default()
        .with("web.public_url", "https://12319.example.cn")
        .with("sms.line", toml::Value::Array(vec![line.into()]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_number_is_for_operators_to_call_and_gets_no_text() {
    let desk = Desk::open(texting()).await;
    let page = Page::open(&desk.gateway, "/r").await;
    let receipt = page.send(|form| manhole(form).text("phone", NUMBER)).await;
    let given = numbers(&desk.gateway, &receipt).await;
    let all = items(&desk).await;
    assert_eq!(all[0]["acceptance_no"], given["acceptance_no"]);
    assert!(all[0]["party"].is_string(), "{all:#?}");
    assert_eq!(count(&desk.gateway, "SELECT COUNT(*) FROM outgoing"), 0, "the numbers are on the page only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_texted_in_a_call_is_used_once_and_its_report_is_the_callers() {
    let town = Town::open(texting()).await;
    let call = town.citizen.call_answered("12319", 5_000).await.unwrap();
    let id = town.newest_call().await;
    town.asked(&id, "waiting").await;
    call.send_digits("3").unwrap();
    town.asked(&id, "text_link_sent").await;
    call.hang_up().await.unwrap();
    let gateway = &town.desk.gateway;
    let path = texted_link(gateway).expect("a text with a link");

    let html = text(gateway, &path).await;
    assert!(html.contains("138****5678") && !html.contains(NUMBER), "the caller's number is known, and masked");
    let (first, second) = (Page::open(gateway, &path).await, Page::open(gateway, &path).await);
    let receipt = first.send(manhole).await;
    assert_eq!(receipt, path);
    let given = numbers(gateway, &path).await;
    assert_eq!(second.send(manhole).await, path, "another tab of the same link: the same receipt");
    let all = items(&town.desk).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(all[0]["acceptance_no"], given["acceptance_no"]);
    let row = town.desk.ended(&id).await;
    let story = town.desk.api.get(&format!("/api/v1/items/{}", all[0]["id"].as_str().unwrap())).await.unwrap();
    assert_eq!(story["item"]["party"], row["party"], "{story:#} {row:#}");
    assert!(!text(gateway, &path).await.contains("name=\"form\""), "used up");
    // The call is part of the story, before the report; that it is called back stays owed, with the item beside it.
    let seen: Vec<_> = story["contacts"].as_array().unwrap().iter().map(|c| (&c["channel"], &c["role"])).collect();
    assert_eq!(seen, [(&"phone".into(), &"补充".into()), (&"web".into(), &"首报".into())], "{story:#}");
    let owed = town.desk.api.get(&format!("/api/v1/callbacks?call={id}")).await.unwrap();
    assert_eq!((&owed[0]["kind"], &owed[0]["result"]), (&"漏接回拨".into(), &Value::Null), "{owed:#}");
    let owed = town.desk.api.get(&format!("/api/v1/callbacks/{}", owed[0]["id"].as_str().unwrap())).await.unwrap();
    assert_eq!(owed["item"]["id"], all[0]["id"], "{owed:#}");

    // An operator's wish, too; three in a call are enough.
    let wish = format!("/api/v1/calls/{id}/link");
    for _ in 0..2 {
        town.desk.api.post(&wish, &Value::Null).await.unwrap();
    }
    let fourth = town.desk.api.post(&wish, &Value::Null).await.unwrap_err().to_string();
    assert!(fourth.contains("409"), "{fourth}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photo_is_shown_as_a_copy_and_leaves_as_it_came_with_a_reason_only() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let page = Page::open(&desk.gateway, "/r").await;
    let original = png(&Picture::default());
    let receipt = page.send(|form| manhole(form).part("files", photo())).await;
    numbers(&desk.gateway, &receipt).await;
    let sum = sha256(&original);
    let path = format!("/api/v1/attachments/{sum}");
    let facts = desk.api.get(&format!("{path}/facts")).await.unwrap();
    assert_eq!((&facts["kind"], &facts["width"]), (&"png".into(), &96.into()), "{facts}");

    let shown = desk.api.get_raw(&path).await.unwrap();
    let header = |name: &str| shown.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("content-type").as_str(), header("x-content-type-options").as_str()), ("image/jpeg", "nosniff"));
    assert!(header("content-security-policy").contains("sandbox"));
    assert!(shown.bytes().await.unwrap().starts_with(&[0xFF, 0xD8, 0xFF]));

    assert_eq!(desk.api.get_raw(&format!("{path}?view=original")).await.unwrap().status(), 400, "no reason");
    let file = desk.api.get_raw(&format!("{path}?view=original&reason=evidence")).await.unwrap();
    assert!(file.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert_eq!(file.bytes().await.unwrap(), original);
    assert_eq!(desk.gateway.api().get_raw(&path).await.unwrap().status(), 401);
    for odd in ["/api/v1/attachments/x", "/api/v1/attachments/..%2f..%2fsecret.key"] {
        assert_eq!(desk.api.get_raw(odd).await.unwrap().status(), 404, "{odd}");
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_posters_code_leads_to_the_page_with_its_place() {
    let desk = Desk::open(GatewayConfig::default().with("web.public_url", "https://12319.example.cn")).await;
    let out = desk.gateway.data_dir().join("poster.png");
    let said =
        desk.gateway.run_ok(&["web", "qr", "--place", "文三路公交站", "--out", &out.display().to_string()]).unwrap();
    let path = said.trim().strip_prefix("https://12319.example.cn").expect("the address").to_owned();
    assert!(text(&desk.gateway, &path).await.contains("value=\"文三路公交站\""));
    let forged = format!("{path}0");
    assert!(!text(&desk.gateway, &forged).await.contains("value=\"文三路公交站\""), "somebody else's words");
    assert!(std::fs::read(out).unwrap().starts_with(b"\x89PNG"));
    let svg = desk.api.get_raw("/api/v1/qr?place=x").await.unwrap().text().await.unwrap();
    assert!(svg.contains("<svg"));
}
