//! Every sentence of the citizens' pages, in both languages.

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lang {
    /// Chinese.
    Zh,
    /// English.
    En,
}

impl Lang {
    /// The one asked for, else the first the browser prefers that we have, else the site's.
    pub(super) fn choose(wanted: Option<&str>, accepted: Option<&str>, site: &str) -> Self {
        let of = |text: &str| match text.trim().to_ascii_lowercase() {
            t if t.starts_with("zh") => Some(Self::Zh),
            t if t.starts_with("en") => Some(Self::En),
            _ => None,
        };
        let preferred = accepted.and_then(|list| list.split(',').take(8).find_map(of));
        wanted.and_then(of).or(preferred).or_else(|| of(site)).unwrap_or(Self::Zh)
    }

    /// The tag in `lang=""`.
    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::Zh => "zh-CN",
            Self::En => "en",
        }
    }

    /// The word in `?lang=`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }

    /// The one not chosen.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Zh => Self::En,
            Self::En => Self::Zh,
        }
    }

    pub(super) const fn pick<'a>(self, zh: &'a str, en: &'a str) -> &'a str {
        match self {
            Self::Zh => zh,
            Self::En => en,
        }
    }
}

/// What is reported most; the Chinese name goes into the report, where the intake looks for it.
pub(super) const CLASSES: [(&str, &str); 12] = [
    ("道路破损", "Damaged road"),
    ("井盖缺失破损", "Manhole cover"),
    ("路灯不亮", "Street light out"),
    ("垃圾堆积", "Rubbish"),
    ("污水外溢", "Sewage"),
    ("占道经营", "Street vendors in the way"),
    ("违章停车", "Parking"),
    ("施工噪声", "Noise"),
    ("绿化损坏", "Trees and green"),
    ("违章搭建", "Illegal building"),
    ("供水供气供热", "Water, gas, heating"),
    ("其他问题", "Something else"),
];

/// A sentence by its key; the page's test finds missing ones.
pub(super) fn sentence(lang: Lang, key: &str) -> Option<&'static str> {
    SENTENCES.iter().find(|(k, _, _)| *k == key).map(|(_, zh, en)| lang.pick(zh, en))
}

#[rustfmt::skip]
const SENTENCES: &[(&str, &str, &str)] = &[
    ("report", "问题上报", "Report a problem"),
    ("lead", "拍张照、说清地点，我们来处理。不用注册，一分钟填完。", "Take a photo, say where, and we take care of it. No account, one minute."),
    ("skip", "跳到表单", "Skip to the form"),
    ("danger_label", "紧急情况", "Emergencies"),
    ("danger", "有人员受伤或生命危险？请立即拨打", "Somebody hurt or in danger? Call now:"),
    ("danger_110", "110 报警", "110 police"),
    ("danger_119", "119 消防", "119 fire"),
    ("danger_120", "120 急救", "120 ambulance"),
    ("photo", "现场照片", "Photos"),
    ("photo_hint", "最多 {n} 个，照片或短视频。拍清问题和周围环境。", "Up to {n} photos or short videos. Show the problem and what is around it."),
    ("photo_add", "拍照或选择照片", "Take or choose photos"),
    ("photo_remove", "移除第 {n} 张", "Remove number {n}"),
    ("photo_again", "照片需要重新选择", "Please choose the photos again"),
    ("place", "在哪里", "Where"),
    ("place_hint", "路名、门牌、路口、公交站、灯杆编号都可以", "Street and number, crossing, bus stop, lamp-post number"),
    ("place_sample", "例：文三路 90 号门口人行道", "e.g. pavement in front of 90 Wensan Road"),
    ("locate", "使用我的位置", "Use my position"),
    ("locating", "正在定位…", "Finding your position…"),
    ("located", "已定位", "Position found"),
    ("located_precise", "误差约 {n} 米", "within about {n} m"),
    ("locate_denied", "没有定位权限：请在浏览器中允许，或直接填写地点", "No permission: allow it in the browser, or write the place"),
    ("locate_failed", "定位失败：请到开阔处再试，或直接填写地点", "No position found: try in the open, or write the place"),
    ("pin", "图钉位置", "Pin"),
    ("pin_hint", "拖动图钉，或用方向键微调（每次 5 米）", "Drag the pin, or move it with the arrow keys (5 m each)"),
    ("pin_remove", "不用定位", "Remove the position"),
    ("metres", "米", "m"),
    ("text", "发生了什么", "What happened"),
    ("text_hint", "什么问题、影响了谁、从什么时候开始", "What is wrong, whom it affects, since when"),
    ("text_sample", "例：人行道井盖缺失，晚上没有路灯，已有人绊倒", "e.g. a manhole cover is missing, there is no light at night, somebody fell"),
    ("class", "问题类别", "Kind of problem"),
    ("class_none", "不确定", "Not sure"),
    ("optional", "选填", "optional"),
    ("phone", "联系电话", "Telephone"),
    ("phone_hint", "用于告诉您受理编号和处理结果，不会公开", "To tell you the number of your report and what came of it; never published"),
    ("phone_known", "处理结果将告知您来电的号码", "We will tell you what came of it at the number you called from:"),
    ("trap", "请勿填写此栏", "Leave this empty"),
    ("send", "提交", "Send"),
    ("sending", "正在提交…", "Sending…"),
    ("sent_percent", "已上传 {n}%", "{n}% sent"),
    ("privacy", "内容仅用于处理您反映的问题。照片中的位置信息不会公开。", "Used only to handle your report. Positions inside photos are never published."),
    ("draft", "已恢复上次未提交的内容", "What you had not sent is back"),
    ("draft_clear", "清空重填", "Start over"),
    ("errors", "还差一点：", "Almost done:"),
    ("offline", "网络已断开，内容已保存在本机。恢复后点“重试”。", "You are offline. What you wrote is kept on this phone: press “Try again” when you are back."),
    ("failed", "没有提交成功，内容仍在这里。请点“重试”。", "It was not sent, and nothing is lost. Press “Try again”."),
    ("retry", "重试", "Try again"),
    ("file_large", "“{name}”过大，未添加", "“{name}” is too large and was left out"),
    ("file_many", "最多 {n} 个，多余的未添加", "At most {n}: the others were left out"),
    ("call", "也可以打电话", "You can call, too"),
    ("call_hint", "24 小时，人工接听", "Day and night, a person answers"),
    ("next", "提交之后", "What happens next"),
    ("next_1", "马上得到受理编号和查询码", "You get an acceptance number and a query code at once"),
    ("next_2", "按紧急程度派给责任单位处理", "The unit in charge is sent, urgent things first"),
    ("next_3", "办结后我们会回访，请您评价", "When it is done we ask you what you think"),
    ("lang", "English", "中文"),
    ("received", "已收到，谢谢您", "Received, thank you"),
    ("received_lead", "请保存下面的编号，用它可以查询进度。", "Keep these numbers: with them you can ask how far it is."),
    ("acceptance_no", "受理编号", "Acceptance number"),
    ("query_code", "查询码", "Query code"),
    ("copy", "复制", "Copy"),
    ("copied", "已复制", "Copied"),
    ("numbering", "正在生成受理编号，请稍候，本页会自动更新。", "The numbers are on their way; this page updates by itself."),
    ("journaled", "内容已安全保存。系统恢复后会生成受理编号：请稍后再打开本页。", "Your report is safely stored. It gets its numbers soon: open this page again later."),
    ("no_item", "您的内容已并入正在处理的诉求，无需重复提交。", "Your report was added to a case already being handled."),
    ("progress", "查询进度", "How far is it?"),
    ("progress_hint", "拨打热线后按 4，输入查询码；或发短信“CX+查询码”。", "Call the hotline, press 4 and key the query code, or text “CX” with the code."),
    ("another", "再报一个问题", "Report something else"),
    ("gone", "这个链接已过期", "This link has lapsed"),
    ("gone_lead", "链接的有效期已过。请拨打热线，我们再发一个给您。", "It was valid for a while only. Call the hotline and we send another."),
    ("missing", "没有这个页面", "There is no such page"),
    ("missing_lead", "请检查链接是否完整（短信里的链接有时会断行）,或拨打热线。", "See whether the link is complete (texts break lines), or call the hotline."),
    ("closed", "请通过短信链接上报", "Please use the link from our text"),
    ("closed_lead", "拨打热线并按 3,我们会把上报链接发到您的手机。", "Call the hotline and press 3: we text you a link."),
    ("busy", "现在上报的人太多", "Too many reports right now"),
    ("busy_lead", "请过几分钟再试。紧急情况请直接拨打热线。", "Try again in some minutes. If it is urgent, call."),
    ("away", "暂时无法打开", "Not available right now"),
    ("away_lead", "系统正在维护，请几分钟后再试。紧急情况请直接拨打热线。", "Try again in some minutes. If it is urgent, call."),
    ("err_form", "页面已过期：请刷新后重新提交，填写的文字会保留", "This page is too old: reload it and send again; what you wrote is kept"),
    ("err_fast", "提交得太快：请检查内容，再点一次“提交”", "That was fast: look it over and press “Send” again"),
    ("err_trap", "无法确认是您本人填写：请清空自动填充的内容后再试，或拨打热线", "We could not tell a person filled this in: undo automatic filling and try again, or call"),
    ("err_large", "照片和视频合计过大：请减少数量或截短视频", "Photos and videos are too large together: send fewer or shorter ones"),
    ("err_slow", "网络太慢，没有收完：请换个网络，或少选几张照片", "The connection is too slow: try another one, or fewer photos"),
    ("err_cut", "网络中断，没有收完：请重试", "The connection broke off: try again"),
    ("err_refused", "无法受理此次上报：请拨打热线", "This report can't be taken: please call the hotline"),
    ("err_store", "系统繁忙，没有提交成功，内容仍在这里：请稍后重试", "The system is busy and nothing was sent; what you wrote is kept: try again"),
    ("survey", "办理评价", "How was it?"),
    ("survey_lead", "您反映的问题已处理，请告诉我们结果如何。", "Your case was handled. Please tell us how it went."),
    ("s_about", "受理编号", "About number"),
    ("s_contacted", "有人与您联系过吗？", "Did somebody contact you?"),
    ("s_solved", "问题解决了吗？", "Is it solved?"),
    ("s_satisfied", "您满意吗？", "Are you satisfied?"),
    ("s_reason", "想补充的话", "Anything to add"),
    ("s_yes", "有", "Yes"),
    ("s_no", "没有", "No"),
    ("s_solved_yes", "已解决", "Solved"),
    ("s_solved_partly", "部分解决", "In part"),
    ("s_solved_no", "未解决", "Not solved"),
    ("s_satisfied_1", "满意", "Satisfied"),
    ("s_satisfied_2", "基本满意", "Mostly"),
    ("s_satisfied_5", "不满意", "Not satisfied"),
    ("s_thanks", "感谢您的评价", "Thank you"),
    ("s_thanks_lead", "我们已记录。未解决或不满意的，会退回责任单位重新办理。", "We noted it. What is not solved goes back to the unit in charge."),
    ("s_need", "请选择是否解决和是否满意", "Choose whether it is solved and whether you are satisfied"),
    ("s_done", "这次评价已经提交过", "This was answered before"),
    ("s_done_lead", "每个链接只能评价一次。有新情况请拨打热线。", "Each link counts once. If something changed, call the hotline."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_asked_for_or_preferred() {
        assert_eq!(Lang::choose(Some("en"), Some("zh-CN"), "zh-CN"), Lang::En);
        assert_eq!(Lang::choose(None, Some("fr, en-GB;q=0.8, zh;q=0.5"), "zh-CN"), Lang::En);
        assert_eq!(Lang::choose(Some("<script>"), Some("zh-TW,zh"), "en"), Lang::Zh);
        assert_eq!(Lang::choose(None, None, "en"), Lang::En);
        assert_eq!(Lang::choose(None, Some("fr"), "xx"), Lang::Zh);
    }

    #[test]
    fn every_key_stands_once_and_asks_for_the_same_values_in_both_languages() {
        for (n, (key, zh, en)) in SENTENCES.iter().enumerate() {
            assert!(!SENTENCES[..n].iter().any(|(k, _, _)| k == key), "{key} stands twice");
            for value in ["{n}", "{name}"] {
                assert_eq!(zh.contains(value), en.contains(value), "{key} {value}");
            }
        }
    }
}
