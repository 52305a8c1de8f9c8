//! Between commands of SMPP 3.4 and what the gateway knows of a short message.

use rusmpp::pdus::{DeliverSm, SubmitSm};
use rusmpp::tlvs::{MessageSubmissionRequestTlvValue, TlvValue};
use rusmpp::types::{AnyOctetString, COctetString, OctetString};
use rusmpp::values::{DataCoding, EsmClass, MessagePayload, Npi, RegisteredDelivery, ServiceType, Ton};

use super::super::parts::{Concat, Cut, read_header, read_unannounced_header};
use super::super::text::Coding;
use super::limits::SHORT_MESSAGE_MAX;
use super::receipt::{self, Parameters, Receipt};
use crate::config::{SmppLine, SmppLong, SmppNumbers};
use crate::privacy::Pii;

/// Bits 5 to 2 of `esm_class` (§5.2.12).
const TYPE: u8 = 0b0011_1100;
const RECEIPT: u8 = 0b0000_0100;
/// A user data header stands before the text.
const UDHI: u8 = 0b0100_0000;

/// A short message from a mobile, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mobile {
    /// Who sent it, as the carrier writes the number.
    pub from: Pii<String>,
    /// Our number.
    pub to: String,
    /// How its octets are to be read.
    pub coding: Coding,
    /// Which part of which message.
    pub concat: Option<Concat>,
    /// Octets without a header.
    pub content: Vec<u8>,
}

/// What a `deliver_sm` was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    Mobile(Mobile),
    Receipt(Receipt),
    /// Acknowledgements of phones and intermediate notifications: nothing to keep.
    Notice,
    /// A receipt that names no message.
    Unreadable,
}

/// Reads a `deliver_sm` (§4.6.1).
pub(super) fn read(sm: &DeliverSm, default: Coding) -> Delivered {
    let (mut parameters, mut payload) = (Parameters::default(), None);
    let (mut reference, mut total, mut number) = (None, None, None);
    for value in sm.tlvs().iter().filter_map(|tlv| tlv.value()) {
        match value {
            TlvValue::ReceiptedMessageId(id) => parameters.id = Some(id.as_str().to_owned()),
            TlvValue::MessageState(state) => parameters.state = Some(u8::from(*state)),
            TlvValue::NetworkErrorCode(error) => parameters.error = Some(error.error_code),
            TlvValue::MessagePayload(text) => payload = Some(text.value.as_ref()),
            TlvValue::SarMsgRefNum(n) => reference = Some(*n),
            TlvValue::SarTotalSegments(n) => total = Some(*n),
            TlvValue::SarSegmentSeqnum(n) => number = Some(*n),
            _ => {}
        }
    }
    let data: &[u8] = payload.unwrap_or_else(|| sm.short_message().as_ref());
    let class = u8::from(sm.esm_class);
    // Some carriers forget the bit and send the parameters.
    let is_receipt =
        class & TYPE == RECEIPT || (class & TYPE == 0 && parameters.id.is_some() && parameters.state.is_some());
    if is_receipt {
        return receipt::read(&parameters, data).map_or(Delivered::Unreadable, Delivered::Receipt);
    }
    if class & TYPE != 0 {
        return Delivered::Notice;
    }
    let coding = match u8::from(sm.data_coding) {
        0 => default,
        other => Coding::from_smpp(other),
    };
    let body = if class & UDHI == 0 { read_unannounced_header(coding, data) } else { read_header(data) };
    // §5.3.2.22 to .24: the parameters instead of a header in the text.
    let sar = match (reference, total, number) {
        (Some(reference), Some(total @ 2..), Some(number)) if (1..=total).contains(&number) => {
            Some(Concat { reference, wide: true, total, number })
        }
        _ => None,
    };
    // §5.2.5: an international number is written without its +.
    let digits = sm.source_addr.as_str();
    let plus =
        sm.source_addr_ton == Ton::International && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty();
    Delivered::Mobile(Mobile {
        from: Pii::new(if plus { format!("+{digits}") } else { digits.to_owned() }),
        to: sm.destination_addr.as_str().to_owned(),
        coding,
        concat: body.concat.or(sar),
        content: body.content.to_vec(),
    })
}

/// Why a text can't be put into a `submit_sm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// The recipient's number.
    #[error("收件号码不合规 / the recipient's number is none SMPP can carry")]
    Recipient,
    /// `from` of the configuration.
    #[error("smpp.from 不合规 / smpp.from is no address SMPP can carry")]
    Sender,
    /// Longer than a `submit_sm`.
    #[error("短信过长 / the text is too long")]
    Length,
}

/// The `submit_sm`s (§4.4.1) of a text that was cut into parts; `to` is E.164 with `+`, or a short number.
pub(super) fn submissions(line: &SmppLine, to: &str, cut: &Cut, reference: u16) -> Result<Vec<SubmitSm>, Unfit> {
    if line.long == SmppLong::Payload && cut.parts.len() > 1 {
        let whole: Vec<u8> = cut.parts.iter().flat_map(|part| read_header(part).content).copied().collect();
        let sm = base(line, to, cut.coding)?;
        let payload = MessagePayload::new(AnyOctetString::from_vec(whole));
        return Ok(vec![with(sm, vec![MessageSubmissionRequestTlvValue::MessagePayload(payload)])]);
    }
    let total = u8::try_from(cut.parts.len()).map_err(|_| Unfit::Length)?;
    let parts = (1..=total).zip(&cut.parts).map(|(number, part)| {
        let mut sm = base(line, to, cut.coding)?;
        if cut.has_header() && line.long == SmppLong::Sar {
            sm.set_short_message(short(read_header(part).content)?);
            return Ok(with(
                sm,
                vec![
                    MessageSubmissionRequestTlvValue::SarMsgRefNum(reference),
                    MessageSubmissionRequestTlvValue::SarTotalSegments(total),
                    MessageSubmissionRequestTlvValue::SarSegmentSeqnum(number),
                ],
            ));
        }
        sm.set_short_message(short(part)?);
        sm.esm_class = EsmClass::from(if cut.has_header() { UDHI } else { 0 });
        Ok(sm)
    });
    parts.collect()
}

fn with(mut sm: SubmitSm, parameters: Vec<MessageSubmissionRequestTlvValue>) -> SubmitSm {
    sm.set_tlvs(parameters);
    sm
}

fn short(bytes: &[u8]) -> Result<OctetString<0, 255>, Unfit> {
    let fits = bytes.len() <= SHORT_MESSAGE_MAX;
    fits.then(|| OctetString::from_slice(bytes).ok()).flatten().ok_or(Unfit::Length)
}

fn base(line: &SmppLine, to: &str, coding: Coding) -> Result<SubmitSm, Unfit> {
    let (number, ton) = recipient(line.numbers, to);
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'+');
    let number = is_number.then(|| COctetString::from_string(number).ok()).flatten().ok_or(Unfit::Recipient)?;
    let service = COctetString::from_string(line.service_type.clone()).unwrap_or_else(|_| COctetString::empty());
    Ok(SubmitSm::builder()
        .service_type(ServiceType::new(service))
        .source_addr_ton(Ton::from(line.from_ton))
        .source_addr_npi(Npi::from(line.from_npi))
        .source_addr(COctetString::from_string(line.from.clone()).map_err(|_| Unfit::Sender)?)
        .dest_addr_ton(Ton::from(ton))
        .dest_addr_npi(Npi::from(1))
        .destination_addr(number)
        // The library's default class is no zero: it says "delivery acknowledgement".
        .esm_class(EsmClass::from(0))
        .registered_delivery(RegisteredDelivery::from(u8::from(line.receipts)))
        .data_coding(DataCoding::from(coding.to_smpp()))
        .build())
}

/// The number as the carrier wants it, and its type (§5.2.5): 1 international, 2 national, 0 unknown.
fn recipient(numbers: SmppNumbers, to: &str) -> (String, u8) {
    let digits = to.strip_prefix('+').unwrap_or(to);
    let international = to.starts_with('+');
    match numbers {
        _ if !international => (digits.to_owned(), 0),
        SmppNumbers::International => (digits.to_owned(), 1),
        SmppNumbers::Plus => (to.to_owned(), 1),
        SmppNumbers::National => match digits.strip_prefix("86") {
            Some(national) => (national.to_owned(), 2),
            None => (digits.to_owned(), 1),
        },
    }
}

#[cfg(test)]
mod tests {
    use rusmpp::tlvs::MessageDeliveryRequestTlvValue as Tlv;
    use rusmpp::values::MessageState;

    use super::super::super::parts::{Plan, cut};
    use super::super::super::text::{decode, to_ucs2};
    use super::super::receipt::State;
    use super::*;

    fn deliver(class: u8, coding: u8, text: &[u8], tlvs: Vec<Tlv>) -> DeliverSm {
        DeliverSm::builder()
            .source_addr(COctetString::from_string("8613812345678".into()).unwrap())
            .destination_addr(COctetString::from_string("12319".into()).unwrap())
            .esm_class(EsmClass::from(class))
            .data_coding(DataCoding::from(coding))
            .short_message(OctetString::from_slice(text).unwrap())
            .tlvs(tlvs)
            .build()
    }

    fn mobile(sm: &DeliverSm) -> Mobile {
        match read(sm, Coding::Gsm) {
            Delivered::Mobile(m) => m,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_text_is_read_from_the_message_or_its_payload() {
        let words = to_ucs2("井盖缺失");
        let plain = mobile(&deliver(0, 8, &words, vec![]));
        assert_eq!((plain.coding, plain.content.as_slice(), plain.concat), (Coding::Ucs2, words.as_slice(), None));
        assert_eq!((plain.from.reveal().as_str(), plain.to.as_str()), ("8613812345678", "12319"));
        let payload = Tlv::MessagePayload(MessagePayload::new(AnyOctetString::from_slice(&words)));
        assert_eq!(mobile(&deliver(0, 8, b"", vec![payload])).content, words);
        assert!(!format!("{plain:?}").contains("13812345678"));
    }

    #[test]
    fn parts_are_known_by_header_and_by_parameters() {
        let expected = Concat { reference: 7, wide: false, total: 2, number: 1 };
        let header = mobile(&deliver(0x40, 8, &[5, 0, 3, 7, 2, 1, 0x4E, 0x95], vec![]));
        assert_eq!((header.concat, header.content.as_slice()), (Some(expected), &[0x4E, 0x95][..]));
        let sar = vec![Tlv::SarMsgRefNum(7), Tlv::SarTotalSegments(2), Tlv::SarSegmentSeqnum(1)];
        let by_sar = mobile(&deliver(0, 8, &[0x4E, 0x95], sar));
        assert_eq!(by_sar.concat, Some(Concat { wide: true, ..expected }));
        let odd = vec![Tlv::SarMsgRefNum(7), Tlv::SarTotalSegments(2), Tlv::SarSegmentSeqnum(3)];
        assert_eq!(mobile(&deliver(0, 8, &[0x4E, 0x95], odd)).concat, None);
    }

    #[test]
    fn receipts_and_notices_are_no_tips() {
        let receipt = deliver(4, 0, b"id:9 stat:DELIVRD err:000", vec![]);
        assert!(
            matches!(read(&receipt, Coding::Gsm), Delivered::Receipt(r) if r.state == State::Delivered && r.id == "9")
        );
        let id = Tlv::ReceiptedMessageId(COctetString::from_string("9".into()).unwrap());
        let unmarked = deliver(0, 0, b"", vec![id, Tlv::MessageState(MessageState::from(5))]);
        assert!(matches!(read(&unmarked, Coding::Gsm), Delivered::Receipt(r) if r.state == State::Failed));
        assert_eq!(read(&deliver(4, 0, b"hello", vec![]), Coding::Gsm), Delivered::Unreadable);
        for class in [0x08, 0x10, 0x20] {
            assert_eq!(read(&deliver(class, 0, b"id:9", vec![]), Coding::Gsm), Delivered::Notice);
        }
    }

    fn text_of(sms: &[SubmitSm]) -> String {
        let words = |sm: &SubmitSm| {
            let payload = sm.tlvs().iter().find_map(|t| match t.value() {
                Some(TlvValue::MessagePayload(p)) => Some(p.value.to_vec()),
                _ => None,
            });
            let data = payload.unwrap_or_else(|| sm.short_message().to_vec());
            let has_header = u8::from(sm.esm_class) & UDHI != 0;
            let content = if has_header { read_header(&data).content } else { &data };
            decode(Coding::from_smpp(u8::from(sm.data_coding)), content).text
        };
        sms.iter().map(words).collect()
    }

    #[test]
    fn a_long_text_leaves_in_the_carriers_way() {
        let text = "井盖缺失,人民路88号😀".repeat(20);
        let cut = cut(&text, 0x1234, Plan::default()).unwrap();
        for (long, count) in
            [(SmppLong::Udh, cut.parts.len()), (SmppLong::Sar, cut.parts.len()), (SmppLong::Payload, 1)]
        {
            let line = SmppLine { from: "10612319".into(), long, ..SmppLine::default() };
            let sms = submissions(&line, "+8613812345678", &cut, 0x1234).unwrap();
            assert_eq!((sms.len(), text_of(&sms)), (count, text.clone()), "{long:?}");
            assert_eq!(sms[0].destination_addr.as_str(), "8613812345678");
            assert_eq!(u8::from(sms[0].registered_delivery), 1);
        }
    }

    #[test]
    fn a_short_text_has_a_clean_class_and_numbers_as_configured() {
        let plain = cut("ok", 1, Plan::default()).unwrap();
        let of = |numbers, to: &str| {
            let line = SmppLine { from: "10612319".into(), numbers, ..SmppLine::default() };
            let sm = submissions(&line, to, &plain, 1).unwrap().remove(0);
            assert_eq!(u8::from(sm.esm_class), 0);
            (sm.destination_addr.as_str().to_owned(), u8::from(sm.dest_addr_ton))
        };
        assert_eq!(of(SmppNumbers::National, "+8613812345678"), ("13812345678".into(), 2));
        assert_eq!(of(SmppNumbers::National, "+85223456789"), ("85223456789".into(), 1));
        assert_eq!(of(SmppNumbers::Plus, "+8613812345678"), ("+8613812345678".into(), 1));
        assert_eq!(of(SmppNumbers::International, "10086"), ("10086".into(), 0));
        let line = SmppLine::default();
        for bad in ["", "abc", "1\0", "123456789012345678901234"] {
            assert_eq!(submissions(&line, bad, &plain, 1).unwrap_err(), Unfit::Recipient, "{bad:?}");
        }
    }
}
