//! Masks numbers that identify a person, in digits or in spoken words.

/// Fewest digits of a telephone number; hotline and emergency numbers have fewer.
const PHONE_DIGITS_MIN: usize = 7;
/// Separators inside any number.
const JOINING: &[char] = &[' ', '-', '－', '.'];
/// Separators that may as well part two numbers: they join only the groups of
/// one mobile number.
const PARTING: &[char] = &[',', ',', '、'];
/// Digits of a mobile number.
const MOBILE_DIGITS: usize = 11;
/// First character of a plate number: the province.
const PROVINCES: &str = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼";

/// The text with telephone, identity-card, bank-card and plate numbers masked:
/// `[电话]`, `[证件号]`, `[号码]`, `[车牌]`. House numbers, dates and hotline
/// numbers stay.
#[must_use]
pub fn redact(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        if let Some(end) = plate(&chars, at) {
            out.push_str("[车牌]");
            at = end;
        } else if digit(chars[at]).is_some() {
            let run = Run::read(&chars, at);
            match run.mask() {
                Some(mask) => out.push_str(mask),
                None => out.extend(&chars[at..run.end]),
            }
            at = run.end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Value of an Arabic, full-width or spoken digit. 幺 is how 1 is said in numbers.
fn digit(c: char) -> Option<u8> {
    Some(match c {
        '0'..='9' => c as u8 - b'0',
        '０'..='９' => u8::try_from(c as u32 - '０' as u32).unwrap_or(0),
        '零' | '〇' => 0,
        '一' | '幺' | '壹' => 1,
        '二' | '两' => 2,
        '三' => 3,
        '四' => 4,
        '五' => 5,
        '六' => 6,
        '七' => 7,
        '八' => 8,
        '九' => 9,
        _ => return None,
    })
}

/// Digits with single separators between them, perhaps a final X.
struct Run {
    digits: Vec<u8>,
    end: usize,
    x: bool,
}

impl Run {
    fn read(chars: &[char], from: usize) -> Self {
        let (mut digits, mut end, mut at) = (Vec::new(), from, from);
        // What was read before the first parting separator.
        let mut first: Option<(usize, usize)> = None;
        while let Some(c) = chars.get(at) {
            if let Some(d) = digit(*c) {
                digits.push(d);
                at += 1;
                end = at;
                let over = digit_at(chars, at).is_none();
                if first.is_some() && over && mobile(&digits) {
                    return Self { digits, end, x: false };
                }
                if first.is_some() && digits.len() > MOBILE_DIGITS {
                    break;
                }
            } else if at == end && JOINING.contains(c) {
                at += 1;
            } else if at == end && PARTING.contains(c) {
                first.get_or_insert((digits.len(), end));
                at += 1;
            } else {
                break;
            }
        }
        if let Some((len, before)) = first {
            digits.truncate(len);
            end = before;
        }
        let x = digits.len() == 17 && matches!(chars.get(end), Some('x' | 'X' | 'Ｘ'));
        Self { digits, end: end + usize::from(x), x }
    }

    fn mask(&self) -> Option<&'static str> {
        let d = &self.digits;
        match d.len() {
            17 if self.x => Some("[证件号]"),
            18 if birthday(&d[6..14]) => Some("[证件号]"),
            15 if birthday(&[&[1, 9], &d[6..12]].concat()) => Some("[证件号]"),
            PHONE_DIGITS_MIN.. if d.len() <= 14 && !date(d) => Some("[电话]"),
            15.. => Some("[号码]"),
            _ => None,
        }
    }
}

fn digit_at(chars: &[char], at: usize) -> Option<u8> {
    chars.get(at).copied().and_then(digit)
}

/// 1, then 3 to 9, eleven digits.
fn mobile(d: &[u8]) -> bool {
    d.len() == MOBILE_DIGITS && d[0] == 1 && d[1] >= 3
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |n, d| n * 10 + u32::from(*d))
}

/// YYYYMMDD of a living person.
fn birthday(d: &[u8]) -> bool {
    d.len() == 8
        && (1_900..=2_100).contains(&number(&d[..4]))
        && (1..=12).contains(&number(&d[4..6]))
        && (1..=31).contains(&number(&d[6..8]))
}

/// Eight digits that are a date of our time, not a landline.
fn date(d: &[u8]) -> bool {
    birthday(d) && (2_000..=2_099).contains(&number(&d[..4]))
}

/// End of a plate number that begins at `at`: province, letter, five or six
/// letters or digits (GA 36-2018), with an optional dot or space after the letter.
fn plate(chars: &[char], at: usize) -> Option<usize> {
    let province = *chars.get(at)?;
    if !PROVINCES.contains(province) || !chars.get(at + 1)?.is_ascii_alphabetic() {
        return None;
    }
    let mut from = at + 2;
    if matches!(chars.get(from), Some('·' | '.' | ' ' | '-')) {
        from += 1;
    }
    let rest = &chars[from..];
    let len = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || digit(**c).is_some()).count();
    let digits = rest[..len].iter().filter(|c| digit(**c).is_some()).count();
    ((5..=6).contains(&len) && digits >= 3).then_some(from + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephone_numbers_are_masked_however_they_are_written() {
        for number in [
            "13800138000",
            "138-0013-8000",
            "138 0013 8000",
            "+8613800138000",
            "0519-86520110",
            "86520110",
            "一三八零零一三八零零零",
            "幺三八,零零幺三,八零零零",
            "１３８００１３８０００",
            "138零零138000",
        ] {
            let got = redact(&format!("我电话{number}谢谢"));
            assert!(got.contains("[电话]") && got.ends_with("谢谢"), "{number}: {got}");
            assert!(!got.chars().any(|c| digit(c).is_some()), "{number}: {got}");
        }
    }

    #[test]
    fn identity_and_bank_cards_are_masked() {
        assert_eq!(redact("证号320402199001011234"), "证号[证件号]");
        assert_eq!(redact("证号32040219900101123X。"), "证号[证件号]。");
        assert_eq!(redact("证号320402900101123"), "证号[证件号]");
        assert_eq!(redact("卡号6222021234567890123"), "卡号[号码]");
    }

    #[test]
    fn plates_are_masked_and_the_province_alone_is_not() {
        assert_eq!(redact("车牌苏D12345占道"), "车牌[车牌]占道");
        assert_eq!(redact("苏D·D12345"), "[车牌]");
        assert_eq!(redact("新A座三楼"), "新A座三楼");
        assert_eq!(redact("黑白分明"), "黑白分明");
    }

    #[test]
    fn house_numbers_hotlines_dates_and_plain_words_stay() {
        for text in [
            "人民路88号3栋502室",
            "拨打12345和12319、110",
            "12345,12319,96310",
            "2026年5月1日",
            "20260501那天",
            "三五个人,一二百米",
            "一九八五年",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn arbitrary_text_never_panics_and_leaves_no_long_number() {
        let alphabet: Vec<char> = "0123456789零幺三八X苏DA· -,路号我\u{0}🙂".chars().collect();
        let mut seed = 11_u64;
        for _ in 0..5_000 {
            let mut text = String::new();
            for _ in 0..40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push(alphabet[(seed >> 33) as usize % alphabet.len()]);
            }
            let got = redact(&text);
            let mut longest = 0;
            let mut run = 0;
            for c in got.chars() {
                run = if digit(c).is_some() { run + 1 } else { 0 };
                longest = longest.max(run);
            }
            assert!(longest <= 8, "{text} → {got}");
        }
    }
}
