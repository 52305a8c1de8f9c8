//! The batch as the cashier's system reads it: CSV (UTF-8 with a byte-order mark) and XLSX.

use hotline_db::{Payee, RewardBatch};
use rust_xlsxwriter::{Workbook, XlsxError};

use crate::clock::local_date;
use crate::privacy::Sealer;

const HEAD: [&str; 9] =
    ["序号", "受理编号", "收款人手机", "领取码", "渠道", "到达序号", "到达时间", "名次", "金额(元)"];

/// Why a sheet couldn't be made.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// The CSV writer's.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// The workbook's.
    #[error(transparent)]
    Xlsx(#[from] XlsxError),
    /// A number couldn't be opened.
    #[error("号码无法解密 / a number can't be opened: is secret.key the one it was sealed with?")]
    Sealed,
}

/// Yuan with two places: fen are whole.
#[must_use]
pub fn yuan(fen: i64) -> String {
    format!("{}{}.{:02}", if fen < 0 { "-" } else { "" }, fen.abs() / 100, fen.abs() % 100)
}

fn moment(at: i64, utc_offset_min: i32) -> String {
    let (year, month, day) = local_date(at, utc_offset_min);
    let second = (at.div_euclid(1_000) + i64::from(utc_offset_min) * 60).rem_euclid(86_400);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

const fn channel(word: &str) -> &str {
    match word.as_bytes() {
        b"phone" | b"voicemail" => "电话",
        b"sms" => "短信",
        b"wechat" => "微信",
        b"web" => "网页",
        b"mail" => "邮件",
        _ => word,
    }
}

/// A cell can't become a formula in the cashier's program.
fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

fn rows(payees: &[Payee], sealer: &Sealer, utc_offset_min: i32) -> Result<Vec<[String; 9]>, SheetError> {
    let mut rows = Vec::with_capacity(payees.len());
    for (n, p) in (1..).zip(payees) {
        let phone = match &p.phone_sealed {
            Some(sealed) => sealer.open_sealed(sealed).map_err(|_| SheetError::Sealed)?,
            None => String::new(),
        };
        // Who is known by a number is paid there; whoever isn't claims it with the query code.
        let code = if phone.is_empty() { p.query_code.clone() } else { String::new() };
        let phone = phone.strip_prefix("+86").map_or(phone.clone(), str::to_owned);
        rows.push([
            n.to_string(),
            p.acceptance_no.clone(),
            harmless(phone),
            code,
            channel(&p.channel).to_owned(),
            p.seq.to_string(),
            moment(p.arrived_at, utc_offset_min),
            p.place.to_string(),
            yuan(p.amount_fen),
        ]);
    }
    Ok(rows)
}

/// The batch as CSV, UTF-8 with a byte-order mark so that a spreadsheet reads the Chinese.
pub fn csv(payees: &[Payee], sealer: &Sealer, utc_offset_min: i32) -> Result<Vec<u8>, SheetError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(b"\xef\xbb\xbf".to_vec());
    writer.write_record(HEAD)?;
    for row in rows(payees, sealer, utc_offset_min)? {
        writer.write_record(&row)?;
    }
    writer.into_inner().map_err(|e| SheetError::Csv(csv::Error::from(e.into_error())))
}

/// The batch as a workbook; numbers and codes as text, amounts as numbers, the sum below.
pub fn xlsx(
    batch: &RewardBatch,
    payees: &[Payee],
    sealer: &Sealer,
    utc_offset_min: i32,
) -> Result<Vec<u8>, SheetError> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.set_name(format!("奖励 {}", batch.month))?;
    for (col, head) in (0..).zip(HEAD) {
        sheet.write_string(0, col, head)?;
    }
    let mut line = 1;
    for (row, payee) in rows(payees, sealer, utc_offset_min)?.iter().zip(payees) {
        for (col, text) in (0..8).zip(row) {
            sheet.write_string(line, col, text)?;
        }
        #[allow(clippy::cast_precision_loss, reason = "at most 20,000 fen")]
        sheet.write_number(line, 8, payee.amount_fen as f64 / 100.0)?;
        line += 1;
    }
    sheet.write_string(line, 7, "合计")?;
    sheet.write_string(line, 8, yuan(batch.total_fen))?;
    Ok(book.save_to_buffer()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fen_become_yuan_without_rounding() {
        assert_eq!([0, 5, 200, 20_000, 12_345, -5].map(yuan), ["0.00", "0.05", "2.00", "200.00", "123.45", "-0.05"]);
    }

    #[test]
    fn a_cell_never_becomes_a_formula() {
        for text in ["=1+1", "+8613800138000", "-1", "@x", "\tx"] {
            assert!(harmless(text.into()).starts_with('\''));
        }
        assert_eq!(harmless("13800138000".into()), "13800138000");
    }

    #[test]
    fn moments_are_local() {
        assert_eq!(moment(1_772_413_200_000, 480), "2026-03-02 09:00:00");
        assert_eq!(moment(1_772_413_200_000, 0), "2026-03-02 01:00:00");
    }
}
