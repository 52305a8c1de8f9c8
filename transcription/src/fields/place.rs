//! Place candidates: runs of Chinese that end in a word for a place.

use serde::{Deserialize, Serialize};

use crate::limits;

/// A place named in the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its words, at most [`limits::PLACE_CHARS_MAX`] characters.
    pub text: String,
    /// Where it begins, characters from the text's begin.
    pub at_chars: usize,
    /// How precise it seems: higher is better.
    pub score: u32,
}

/// A word that ends a place, and what it tells about precision.
const SUFFIXES: &[(&str, u32)] = &[
    ("交叉路口", 4),
    ("交叉口", 4),
    ("交汇处", 4),
    ("十字路口", 3),
    ("公交站", 3),
    ("地铁站", 3),
    ("火车站", 3),
    ("开发区", 1),
    ("高新区", 1),
    ("居委会", 3),
    ("村委会", 3),
    ("菜市场", 3),
    ("农贸市场", 3),
    ("停车场", 2),
    ("幼儿园", 3),
    ("派出所", 3),
    ("小区", 4),
    ("社区", 3),
    ("花园", 3),
    ("家园", 3),
    ("新村", 3),
    ("公寓", 3),
    ("大厦", 3),
    ("广场", 3),
    ("市场", 2),
    ("商场", 3),
    ("超市", 2),
    ("学校", 2),
    ("小学", 3),
    ("中学", 3),
    ("大学", 3),
    ("医院", 3),
    ("公园", 3),
    ("大道", 3),
    ("国道", 2),
    ("省道", 2),
    ("高速", 1),
    ("大街", 3),
    ("胡同", 3),
    ("弄堂", 3),
    ("路口", 3),
    ("街道", 1),
    ("大桥", 3),
    ("高架", 2),
    ("隧道", 2),
    ("车站", 2),
    ("东门", 2),
    ("南门", 2),
    ("西门", 2),
    ("北门", 2),
    ("门口", 1),
    ("对面", 1),
    ("旁边", 1),
    ("路", 3),
    ("街", 3),
    ("巷", 3),
    ("弄", 3),
    ("里", 0),
    ("号", 4),
    ("栋", 2),
    ("幢", 2),
    ("单元", 2),
    ("室", 1),
    ("村", 3),
    ("组", 1),
    ("镇", 1),
    ("乡", 1),
    ("桥", 3),
    ("苑", 3),
    ("城", 1),
    ("区", 1),
    ("市", 1),
    ("县", 1),
];

/// Words that go on only behind a numeral: 88号, 3栋.
const NUMBERED: &[&str] = &["号", "栋", "幢", "单元", "室", "组", "弄", "里"];

/// Words that stand before a place and are no part of one.
const LEADS: &[&str] = &[
    "位于", "靠近", "这里", "这边", "那边", "那里", "我们", "我家", "你们", "他们", "地址", "就是", "您好", "你好",
    "这个", "那个", "这条", "那条", "一个", "一条", "什么", "哪个", "哪条", "反映", "投诉", "举报", "经过", "昨天",
    "今天", "晚上", "早上", "中午", "下午", "上午", "现在", "发现", "看到", "看见", "听到", "附近", "前面", "后面",
    "里面", "外面", "没有", "出现", "地方", "因为", "所以", "但是", "然后", "大概", "可能", "应该", "好像", "已经",
    "一直", "在", "住", "是", "的", "了", "把", "被", "请", "吗", "呢", "吧", "啊", "呃", "嗯", "哎", "喂", "我", "你",
    "您", "他", "她", "它", "这", "那", "就", "也", "还", "着", "说", "叫",
];

/// Single characters that stand before a place or inside its name: they cut
/// only where a name of two characters or more remains.
const WEAK_LEADS: &str = "到从去往有和与跟来看对想要走都过上下";

/// Names that contain such a character.
const NAMES: &[&str] = &[
    "和平", "和谐", "和睦", "上海", "上饶", "上城", "上街", "上塘", "下关", "下沙", "下城", "下街", "成都", "首都",
    "都江", "都匀", "大有", "富有", "有色", "来安", "来宾", "从化", "太和", "中和", "仁和", "永和", "祥和", "人和",
    "呼和", "过街",
];

/// Runs that end like a place but aren't one.
const FALSE: &[&str] = &[
    "道路",
    "马路",
    "公路",
    "线路",
    "电路",
    "短路",
    "走路",
    "修路",
    "堵路",
    "问路",
    "让路",
    "过路",
    "一路",
    "半路",
    "铁路",
    "挂号",
    "信号",
    "账号",
    "号",
    "街",
    "路",
    "桥",
    "村",
    "区",
    "小区",
    "社区",
    "路口",
    "门口",
    "对面",
    "旁边",
    "城市",
    "城",
    "市",
    "市场",
    "超市",
    "里",
    "家里",
    "井里",
    "河里",
    "水里",
    "心里",
    "夜里",
    "手里",
    "街道",
    "公园",
    "学校",
    "医院",
    "广场",
    "停车场",
    "十字路口",
    "人行道路",
    "广告区",
    "小组",
    "教室",
    "办公室",
    "室",
    "组",
    "单元",
    "巷",
    "弄",
    "东门",
    "南门",
    "西门",
    "北门",
    "公交站",
    "大街",
    "大道",
    "胡同",
    "上路",
    "下路",
    "路路",
    "型号",
    "电话号",
    "门牌号",
    "车站",
    "地铁站",
    "火车站",
    "隧道",
    "高架",
    "大桥",
    "村委会",
    "居委会",
    "派出所",
    "幼儿园",
    "大厦",
    "公寓",
    "花园",
    "家园",
    "新村",
    "小学",
    "中学",
    "大学",
    "商场",
    "菜市场",
    "农贸市场",
    "开发区",
    "高新区",
    "镇",
    "乡",
    "县",
    "栋",
    "幢",
    "苑",
    "郊区",
    "山区",
    "地区",
    "时区",
    "禁区",
];

/// All candidates, best first, at most [`limits::PLACES_MAX`], none twice.
#[must_use]
pub fn find(text: &[char]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut from = 0;
    while from < text.len() {
        let end = from + text[from..].iter().take_while(|c| belongs(**c)).count();
        if end > from {
            in_run(text, from, end, &mut places);
        }
        from = end + 1;
    }
    places.sort_by(|a, b| b.score.cmp(&a.score).then(a.at_chars.cmp(&b.at_chars)));
    let mut out: Vec<Place> = Vec::new();
    for place in places {
        if out.len() < limits::PLACES_MAX && !out.iter().any(|o| o.text.contains(&place.text)) {
            out.push(place);
        }
    }
    out
}

fn belongs(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c) || c.is_ascii_alphanumeric() || c == '-' || c == '〇'
}

fn starts(text: &[char], word: &str) -> bool {
    let mut at = text.iter();
    word.chars().all(|c| at.next() == Some(&c))
}

/// Length and weight of the place word that begins here.
fn suffix(text: &[char]) -> Option<(usize, u32, bool)> {
    SUFFIXES
        .iter()
        .find(|(word, _)| starts(text, word))
        .map(|(word, score)| (word.chars().count(), *score, NUMBERED.contains(word)))
}

/// Candidates of one run without punctuation.
fn in_run(text: &[char], from: usize, end: usize, places: &mut Vec<Place>) {
    let run = &text[from..end];
    let (mut begin, mut at) = (0, 0);
    let mut before: Option<Found> = None;
    while at < run.len() {
        match suffix(&run[at..]) {
            Some((_, _, true)) if !numeral_before(run, begin, at) => at += 1,
            Some(_) => {
                let name = name_begin(run, begin, at);
                let (stop, score) = chain(run, name, at);
                let mut found = Found { begin: name, name_len: at - name, stop, score };
                if let Some(joined) = before.take_if(|b| b.joins(run, &found)) {
                    places.pop();
                    found = Found { begin: joined.begin, score: joined.score + found.score, ..found };
                }
                before = push(run, from, &found, places).then_some(found);
                (begin, at) = (stop, stop);
            }
            None => at += 1,
        }
    }
}

/// A candidate within its run.
struct Found {
    begin: usize,
    /// Characters before its first place word.
    name_len: usize,
    stop: usize,
    score: u32,
}

impl Found {
    /// 人民路 + 阳光小区; 人民路 和 解放路交叉口.
    fn joins(&self, run: &[char], next: &Self) -> bool {
        if next.name_len > 4 || next.stop - self.begin > limits::PLACE_CHARS_MAX {
            return false;
        }
        let crossing = ["路口", "叉口", "汇处"].iter().any(|w| ends(&run[..next.stop], w));
        match &run[self.stop..next.begin] {
            [] => true,
            [c] => crossing && "和与跟".contains(*c),
            _ => false,
        }
    }
}

fn ends(text: &[char], word: &str) -> bool {
    let len = word.chars().count();
    text.len() >= len && starts(&text[text.len() - len..], word)
}

/// Where the name before the place word at `at` begins: behind the last word
/// that can't be part of it.
fn name_begin(run: &[char], from: usize, at: usize) -> usize {
    let (mut begin, mut i) = (from, from);
    while i < at {
        if let Some(name) = NAMES.iter().find(|n| starts(&run[i..at], n)) {
            i += name.chars().count();
        } else if let Some(len) = lead(&run[i..at]) {
            i += len;
            begin = i;
        } else {
            i += 1;
            if WEAK_LEADS.contains(run[i - 1]) && at - i >= 2 {
                begin = i;
            }
        }
    }
    begin
}

/// Length of the longest leading word here.
fn lead(text: &[char]) -> Option<usize> {
    LEADS.iter().filter(|w| starts(text, w)).map(|w| w.chars().count()).max()
}

fn numeral(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || "零〇一二三四五六七八九十百千甲乙丙丁".contains(c)
}

fn numeral_before(run: &[char], begin: usize, at: usize) -> bool {
    at > begin && numeral(run[at - 1])
}

/// Follows place words one behind another: 人民路 88号 3栋 门口.
fn chain(run: &[char], begin: usize, at: usize) -> (usize, u32) {
    let Some((len, mut score, _)) = suffix(&run[at..]) else {
        return (at, 0);
    };
    let mut stop = at + len;
    loop {
        let digits = run[stop..].iter().take_while(|c| numeral(**c)).count();
        let next = stop + digits;
        let goes_on = suffix(&run[next.min(run.len())..]).filter(|(_, _, numbered)| *numbered == (digits > 0));
        match goes_on {
            Some((len, more, _)) if next + len - begin <= limits::PLACE_CHARS_MAX => {
                stop = next + len;
                score += more;
            }
            _ => break,
        }
    }
    (stop, score)
}

/// True where the candidate is one.
fn push(run: &[char], from: usize, found: &Found, places: &mut Vec<Place>) -> bool {
    let name_len = found.stop - found.begin;
    // What is longer is half a sentence.
    let begin = found.stop - name_len.min(limits::PLACE_CHARS_MAX);
    let text: String = run[begin..found.stop].iter().collect();
    if name_len < 2 || FALSE.contains(&text.as_str()) {
        return false;
    }
    let penalty = u32::try_from(found.name_len / 6).unwrap_or(u32::MAX).saturating_mul(3);
    let score = (found.score + 1).saturating_sub(penalty);
    if score > 1 {
        places.push(Place { text, at_chars: from + begin, score });
    }
    score > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(text: &str) -> Option<String> {
        find(&text.chars().collect::<Vec<_>>()).first().map(|p| p.text.clone())
    }

    #[test]
    fn addresses_are_found_in_sentences() {
        for (text, place) in [
            ("我在人民路88号门口", "人民路88号门口"),
            ("位于解放大道120号3栋2单元", "解放大道120号3栋2单元"),
            ("阳光小区的路灯不亮", "阳光小区"),
            ("投诉中山广场有人摆摊", "中山广场"),
            ("李家村三组没有路灯", "李家村三组"),
            ("住文昌巷十二号", "文昌巷十二号"),
            ("请到北京西路来看看", "北京西路"),
            ("就是长江大桥下面", "长江大桥"),
            ("和平路上有垃圾", "和平路"),
            ("我在上海西路看到的", "上海西路"),
            ("来成都路看看", "成都路"),
            ("去和平里小区", "和平里小区"),
            ("在人民路和解放路交叉口", "人民路和解放路交叉口"),
            ("从人民路和解放路走", "人民路"),
            ("人民路阳光小区三栋", "人民路阳光小区三栋"),
            ("昨天晚上发现文化宫广场有噪音", "文化宫广场"),
        ] {
            assert_eq!(best(text).as_deref(), Some(place), "{text}");
        }
    }

    #[test]
    fn words_that_only_look_like_places_are_none() {
        for text in ["马路上有垃圾", "道路破损", "信号不好", "我们小区停水", "城市管理", "走路不方便", "这个路口"]
        {
            assert_eq!(best(text), None, "{text}");
        }
    }

    #[test]
    fn a_place_is_named_once_and_the_precise_one_comes_first() {
        let text: Vec<char> = "人民路脏,人民路,解放路18号,人民路".chars().collect();
        let got = find(&text);
        assert_eq!(got.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), ["解放路18号", "人民路"]);
        assert_eq!(got[1].at_chars, 0);
    }
}
