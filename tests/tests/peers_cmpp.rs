//! CMPP 2.0 against code nobody here wrote: a published library as the carrier of a gateway, and as a
//! client of our own ISMG, so that the judge is judged too.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use cmppprotocol::encoding::split_content;
use cmppprotocol::{
    CMPP_VERSION_20, CmppConfig, CmppConnection, CmppHeader, CmppProtocolParams, ConnectResp, Deliver, Event, Pdu,
    Submit, SubmitOptions, SubmitResp, compute_authenticator_ismg, compute_authenticator_source, decode_msg_content,
};
use common::messages::{count, wait_messages};
use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::ismg::{Ismg, IsmgConfig};
use hotline_tests::net::TRUNK_IP;
use hotline_tests::{until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use toml::{Table, Value};

const SECRET: &str = "s3cret";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_client_takes_our_ismg_for_a_carriers() {
    // What the client acknowledges late isn't repeated.
    let ismg = Ismg::start(IsmgConfig { repeat_ms: 60_000, ..IsmgConfig::default() }).await.unwrap();
    let config = CmppConfig {
        host: ismg.address().ip().to_string(),
        port: ismg.address().port().into(),
        account: "901234".into(),
        password: SECRET.into(),
        version: CMPP_VERSION_20,
        // Its check of our digest is strict.
        protocol_params: CmppProtocolParams::default(),
    };
    let client = CmppConnection::connect(config).await.unwrap();
    let mut events = client.take_events().await.unwrap();
    let text = "您好,您反映的人民路88号井盖缺失一事已受理。".repeat(8);
    let options = SubmitOptions::new("HOTLINE", "901234", "10629100", "13812345678");
    let parts = client.submit(&options, &text, None).await.unwrap().len();
    assert_eq!(ismg.wait_texts("13812345678", 1, 10_000).await.unwrap(), std::slice::from_ref(&text));
    ismg.write("13812345678", "10629100", "井盖缺失", 1);
    let (mut answers, mut reports, mut said) = (0, 0, Vec::new());
    while answers < parts || reports < parts || said.is_empty() {
        match within("an event of the client", 10_000, events.recv()).await.unwrap().unwrap() {
            Event::SubmitResp { result, .. } => {
                assert_eq!(result, 0);
                answers += 1;
            }
            Event::Deliver(d) => match d.report() {
                Some(report) => {
                    assert_eq!((report.stat.as_str(), report.dest_terminal_id.as_str()), ("DELIVRD", "13812345678"));
                    reports += 1;
                }
                None => said.push(decode_msg_content(d.msg_fmt, d.tp_udhi, &d.msg_content)),
            },
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(said, ["井盖缺失"]);
    ismg.wait_acknowledged(10_000).await.unwrap();
    client.close().await;
}

/// A carrier made of the library's own PDUs.
struct Carrier {
    stream: TcpStream,
}

impl Carrier {
    async fn read(&mut self) -> (u32, Pdu) {
        let mut head = [0; 12];
        within("a PDU of the gateway", 20_000, self.stream.read_exact(&mut head)).await.unwrap().unwrap();
        let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        let header = CmppHeader { total_length: word(0), command_id: word(4), sequence_id: word(8) };
        let mut body = vec![0; header.total_length as usize - 12];
        self.stream.read_exact(&mut body).await.unwrap();
        let pdu = Pdu::decode(header, &body).unwrap();
        // What it read is all there was: no octet more or less.
        assert_eq!(pdu.encode(header.sequence_id).as_ref(), [&head[..], &body].concat(), "{pdu:?}");
        (header.sequence_id, pdu)
    }

    async fn write(&mut self, sequence: u32, pdu: Pdu) {
        self.stream.write_all(&pdu.encode(sequence)).await.unwrap();
    }

    /// The next SUBMIT; everything else is answered on the way.
    async fn submit(&mut self) -> (u32, Submit) {
        loop {
            match self.read().await {
                (sequence, Pdu::Submit(submit)) => return (sequence, *submit),
                (sequence, Pdu::ActiveTest) => self.write(sequence, Pdu::ActiveTestResp).await,
                (_, Pdu::DeliverResp(answer)) => assert_eq!(answer.result, 0),
                (_, other) => panic!("{other:?}"),
            }
        }
    }
}

fn one_line(port: u16) -> Value {
    let mut cmpp = Table::new();
    for (key, value) in [
        ("address", format!("{TRUNK_IP}:{port}")),
        ("user", "901234".into()),
        ("password", SECRET.into()),
        ("src_id", "10629100".into()),
        ("check_digest", "strict".into()),
    ] {
        cmpp.insert(key.into(), value.into());
    }
    let mut line = Table::new();
    line.insert("name".into(), "mobile".into());
    line.insert("kind".into(), "cmpp".into());
    line.insert("cmpp".into(), cmpp.into());
    Value::Array(vec![line.into()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_built_on_a_published_library_and_the_gateway_understand_each_other() {
    let listener = TcpListener::bind((TRUNK_IP, 0)).await.unwrap();
    let config = GatewayConfig::default()
        .with("sms.line", one_line(listener.local_addr().unwrap().port()))
        .with("intake.receipt_quiet_s", 0)
        .with("intake.receipt_latest_s", 0);
    let gateway = Gateway::start(config).await.unwrap();
    let (stream, _) = within("the gateway's connection", 15_000, listener.accept()).await.unwrap().unwrap();
    let mut carrier = Carrier { stream };
    let (sequence, Pdu::Connect(connect)) = carrier.read().await else { panic!("no CONNECT") };
    let digest = compute_authenticator_source("901234", SECRET, connect.timestamp);
    assert_eq!((connect.source_addr.as_str(), connect.authenticator_source), ("901234", digest));
    let answer = compute_authenticator_ismg(0, &digest, SECRET);
    carrier
        .write(sequence, Pdu::ConnectResp(ConnectResp { status: 0, authenticator_ismg: answer, version: 0x20 }))
        .await;

    let text = "人民路88号门前井盖缺失,旁边路面也塌陷了,很危险。".repeat(5);
    for (n, part) in (1u8..).zip(split_content(&text)) {
        let deliver = Deliver {
            msg_id: [0xB5, 0x90, 0, 0, 0, 0, 0, n],
            dest_id: "10629100".into(),
            service_id: "HOTLINE".into(),
            tp_pid: 0,
            tp_udhi: part.tp_udhi,
            msg_fmt: part.msg_fmt,
            src_terminal_id: "13812345678".into(),
            registered_delivery: 0,
            msg_content: part.content,
        };
        carrier.write(n.into(), Pdu::Deliver(deliver)).await;
    }
    assert_eq!(wait_messages(&gateway, 1, 20_000).await[0].text, text);

    let mut receipt = String::new();
    loop {
        let (sequence, submit) = carrier.submit().await;
        receipt.push_str(&decode_msg_content(submit.msg_fmt, submit.tp_udhi, &submit.msg_content));
        assert_eq!(
            (submit.dest_terminal_ids.as_slice(), submit.src_id.as_str()),
            (&["13812345678".to_owned()][..], "10629100")
        );
        assert_eq!((submit.registered_delivery, submit.msg_src.as_str()), (1, "901234"));
        let msg_id = [0xB5, 0x90, 0, 0, 0, 1, 0, submit.pk_number];
        // The report comes before the answer.
        let mut content = msg_id.to_vec();
        content.extend(b"DELIVRD26112204302611220431");
        content.extend(b"13812345678\0\0\0\0\0\0\0\0\0\0");
        content.extend([0, 0, 0, 1]);
        let report = Deliver {
            msg_id: [0xB5, 0x90, 0, 0, 0, 2, 0, submit.pk_number],
            dest_id: "10629100".into(),
            service_id: String::new(),
            tp_pid: 0,
            tp_udhi: 0,
            msg_fmt: 0,
            src_terminal_id: "13812345678".into(),
            registered_delivery: 1,
            msg_content: content,
        };
        carrier.write(200, Pdu::Deliver(report)).await;
        carrier.write(sequence, Pdu::SubmitResp(SubmitResp { msg_id, result: 0 })).await;
        if submit.pk_number == submit.pk_total {
            break;
        }
    }
    assert!(receipt.contains("受理编号"), "{receipt}");
    let delivered = "SELECT COUNT(*) FROM outgoing WHERE state = '已送达'";
    until("the report", 10_000, || async { (count(&gateway, delivered) == 1).then_some(()) }).await.unwrap();
}
