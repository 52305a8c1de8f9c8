//! What we send, octet by octet (CMPP 2.0 §7, 3.0 §8), and the numbers of both versions.

use md5::{Digest, Md5};

use crate::privacy::Pii;

/// `Command_Id`s (3.0 §8.3.1). A response has the highest bit set.
pub mod command {
    /// `CMPP_CONNECT`.
    pub const CONNECT: u32 = 1;
    /// `CMPP_TERMINATE`.
    pub const TERMINATE: u32 = 2;
    /// `CMPP_SUBMIT`.
    pub const SUBMIT: u32 = 4;
    /// `CMPP_DELIVER`.
    pub const DELIVER: u32 = 5;
    /// `CMPP_ACTIVE_TEST`.
    pub const ACTIVE_TEST: u32 = 8;
    /// Set in every response.
    pub const RESPONSE: u32 = 0x8000_0000;
}

/// The protocol's version: two layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 2.0 and 2.1.
    V2,
    /// 3.0.
    V3,
}

impl Version {
    /// The octet of CONNECT: major in the upper half.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::V2 => 0x20,
            Self::V3 => 0x30,
        }
    }

    /// The layout an octet of CONNECT means: all before 3.0 are alike.
    #[must_use]
    pub const fn of(octet: u8) -> Self {
        if octet >= 0x30 { Self::V3 } else { Self::V2 }
    }
}

/// `AuthenticatorSource` (3.0 §8.4.1.1): MD5 of account, nine zeros, secret and timestamp.
#[must_use]
pub fn authenticator(account: &str, secret: &str, timestamp: u32) -> [u8; 16] {
    let mut md5 = Md5::new();
    md5.update(account.as_bytes());
    md5.update([0; 9]);
    md5.update(secret.as_bytes());
    // MMDDHHMMSS keeps its leading zero, which the integer on the wire has lost.
    md5.update(format!("{timestamp:010}").as_bytes());
    md5.finalize().into()
}

/// `AuthenticatorISMG` (§8.4.1.2): MD5 of the status as it stands on the wire, our own authenticator, secret.
#[must_use]
pub fn answer_authenticator(status: &[u8], ours: &[u8; 16], secret: &str) -> [u8; 16] {
    Md5::new().chain_update(status).chain_update(ours).chain_update(secret.as_bytes()).finalize().into()
}

/// Fields of SUBMIT a carrier prescribes for an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// `Source_Addr` and `Msg_src`: 企业代码, six octets.
    pub user: String,
    /// Shared secret.
    pub secret: String,
    /// `Src_Id`: our number, as the citizen sees it.
    pub src_id: String,
    /// `Service_Id`: 业务标识.
    pub service_id: String,
    /// `Fee_UserType`: who pays (0 receiver, 1 sender, 2 SP, 3 `fee_number`).
    pub fee_user_type: u8,
    /// `Fee_terminal_Id`, with `fee_user_type` 3.
    pub fee_number: String,
    /// `FeeType`: `01` free, `02` per message …
    pub fee_type: String,
    /// `FeeCode`: 分.
    pub fee_code: String,
}

/// One part of a text for one citizen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// Digits as the carrier wants them.
    pub to: Pii<String>,
    /// `Pk_total`.
    pub total: u8,
    /// `Pk_number`, from 1.
    pub number: u8,
    /// Ask for a status report.
    pub report: bool,
    /// `Msg_Fmt`.
    pub fmt: u8,
    /// The content begins with a user data header (`TP_udhi`).
    pub has_header: bool,
    /// At most 255 octets.
    pub content: Vec<u8>,
}

/// Builds one PDU; the length is filled in at the end.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(command: u32, sequence: u32) -> Self {
        let mut out = Vec::with_capacity(256);
        out.extend(0u32.to_be_bytes());
        out.extend(command.to_be_bytes());
        out.extend(sequence.to_be_bytes());
        Self(out)
    }

    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend(value);
        self
    }

    /// An octet string: cut or filled up with zeros (§8.1).
    pub(super) fn text(mut self, value: &str, len: usize) -> Self {
        let bytes = value.as_bytes();
        let kept = bytes.len().min(len);
        self.0.extend(&bytes[..kept]);
        self.0.resize(self.0.len() + len - kept, 0);
        self
    }

    pub(super) fn done(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&len.to_be_bytes());
        self.0
    }
}

/// `CMPP_CONNECT`; `timestamp` is MMDDHHMMSS of the local time.
#[must_use]
pub fn connect(sequence: u32, account: &Account, version: Version, timestamp: u32) -> Vec<u8> {
    Writer::new(command::CONNECT, sequence)
        .text(&account.user, 6)
        .bytes(&authenticator(&account.user, &account.secret, timestamp))
        .u8(version.octet())
        .u32(timestamp)
        .done()
}

/// `CMPP_SUBMIT`.
#[must_use]
pub fn submit(sequence: u32, account: &Account, version: Version, message: &Submit) -> Vec<u8> {
    let number_len = if version == Version::V3 { 32 } else { 21 };
    let len = message.content.len().min(255);
    let mut w = Writer::new(command::SUBMIT, sequence)
        .u64(0)
        .u8(message.total)
        .u8(message.number)
        .u8(message.report.into())
        .u8(0)
        .text(&account.service_id, 10)
        .u8(account.fee_user_type)
        .text(&account.fee_number, number_len);
    if version == Version::V3 {
        w = w.u8(0);
    }
    w = w
        .u8(0)
        .u8(message.has_header.into())
        .u8(message.fmt)
        .text(&account.user, 6)
        .text(&account.fee_type, 2)
        .text(&account.fee_code, 6)
        .text("", 17)
        .text("", 17)
        .text(&account.src_id, 21)
        .u8(1)
        .text(message.to.reveal(), number_len);
    if version == Version::V3 {
        w = w.u8(0);
    }
    #[allow(clippy::cast_possible_truncation, reason = "at most 255")]
    let w = w.u8(len as u8).bytes(&message.content[..len]);
    w.text("", if version == Version::V3 { 20 } else { 8 }).done()
}

/// `CMPP_DELIVER_RESP`: the result has four octets in 3.0.
#[must_use]
pub fn deliver_resp(sequence: u32, version: Version, msg_id: u64, result: u8) -> Vec<u8> {
    let w = Writer::new(command::DELIVER | command::RESPONSE, sequence).u64(msg_id);
    if version == Version::V3 { w.u32(result.into()).done() } else { w.u8(result).done() }
}

/// A PDU without a body: ACTIVE_TEST, TERMINATE and its response.
#[must_use]
pub fn bare(command: u32, sequence: u32) -> Vec<u8> {
    Writer::new(command, sequence).done()
}

/// `CMPP_ACTIVE_TEST_RESP` has one reserved octet (§8.4.8.2).
#[must_use]
pub fn active_test_resp(sequence: u32) -> Vec<u8> {
    Writer::new(command::ACTIVE_TEST | command::RESPONSE, sequence).u8(0).done()
}

/// What a carrier says to a text (§8.4.3.2).
#[must_use]
pub fn result_text(result: u32) -> &'static str {
    match result {
        0 => "正确 ok",
        1 => "消息结构错 structure",
        2 => "命令字错 command",
        3 => "消息序号重复 sequence repeated",
        4 => "消息长度错 length",
        5 => "资费代码错 fee code",
        6 => "超过最大信息长 too long",
        7 => "业务代码错 Service_Id",
        8 => "流量控制错 flow control",
        9 => "不负责此计费号码 fee number",
        10 => "Src_Id 错误",
        11 => "Msg_src 错误",
        12 => "计费地址错误 Fee_terminal_Id",
        13 => "目的地址错误 Dest_terminal_Id",
        _ => "其他错误 other",
    }
}

/// What a carrier says to our CONNECT (§8.4.1.2).
#[must_use]
pub fn status_text(status: u32) -> &'static str {
    match status {
        0 => "正确 ok",
        1 => "消息结构错 structure",
        2 => "非法源地址:核对账号与来源 IP / account or our address is unknown there",
        3 => "认证错:核对密码与本机时间 / check the secret and our clock",
        4 => "版本太高:改 version = \"2.0\" / set version = \"2.0\"",
        _ => "其他错误 other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            user: "901234".into(),
            secret: "1234".into(),
            src_id: "10629100".into(),
            service_id: "HOTLINE".into(),
            fee_type: "01".into(),
            fee_code: "0".into(),
            ..Account::default()
        }
    }

    #[test]
    fn lengths_are_those_of_the_tables() {
        let message = Submit {
            to: Pii::new("13812345678".into()),
            total: 1,
            number: 1,
            report: true,
            fmt: 8,
            has_header: false,
            content: vec![0; 10],
        };
        assert_eq!(connect(1, &account(), Version::V2, 102_030_405).len(), 39);
        // 2.0: 126 + 21 + content, 3.0: 163 + content, both with header.
        assert_eq!(submit(1, &account(), Version::V2, &message).len(), 12 + 126 + 21 + 10);
        assert_eq!(submit(1, &account(), Version::V3, &message).len(), 12 + 151 + 32 + 10);
        assert_eq!(deliver_resp(1, Version::V2, 1, 0).len(), 21);
        assert_eq!(deliver_resp(1, Version::V3, 1, 0).len(), 24);
        assert_eq!(active_test_resp(1).len(), 13);
        assert_eq!(bare(command::ACTIVE_TEST, 1), [0, 0, 0, 12, 0, 0, 0, 8, 0, 0, 0, 1]);
        let long = Submit { content: vec![0; 400], ..message };
        assert_eq!(submit(1, &account(), Version::V2, &long).len(), 12 + 126 + 21 + 255);
    }

    #[test]
    fn the_timestamp_keeps_its_leading_zero() {
        // md5("901234" + 9 zeros + "1234" + "0102030405"), by another implementation.
        let digest = authenticator("901234", "1234", 102_030_405);
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "e45edee925b9c275458dfcc54b2bebd8");
    }
}
