// The figures of a span: each with what it is made of, so that nobody has to believe a percentage.
const DAY_MS = 86400000;
const rate = "rate";
const span = "span";
const calls = [
  ["answer_rate_all", "接通率(全部来电) Answered of all", rate], ["answer_rate_queued", "接通率(进队) Answered of queued", rate],
  ["in_time", "15 秒应答及时率 In 15 s", rate], ["in_time_strict", "15 秒及时率(严) In 15 s, strict", rate],
  ["in_time_from_answer", "15 秒及时率(自 SIP 应答) In 15 s from the SIP answer", rate],
  ["abandoned", "放弃率 Given up", rate], ["abandoned_short", "其中不足 5 秒 Within 5 s of these", rate],
  ["asa_ms", "平均等候 Mean wait", span], ["aht_ms", "平均处理 Mean handling", span], ["hold_ms", "平均保持 Mean hold", span],
  ["cut_by_operator", "坐席先挂率 Cut by operators", rate],
];
const care = [
  ["called_back", "漏接回拨率 Missed calls called back", rate], ["called_back_in_time", "15 分钟回拨率 Within 15 min", rate],
  ["first_contact", "首次解决率 Served by the first contact", rate], ["followed_up", "回访率 Followed up", rate],
  ["contacted", "响应率 Contacted", rate], ["solved", "解决率 Solved", rate], ["satisfied", "满意率 Content", rate],
  ["talk_satisfied", "通话满意率 Content with the talk", rate], ["dispatched_right", "派遣准确率 Dispatched right", rate],
];

export function figureDesk({ api, $, fill }) {
  let may = false;

  function shown(figure, as) {
    if (figure.value === null) return "–";
    return as === rate ? `${(figure.value * 100).toFixed(2)} %` : `${(figure.value / 1000).toFixed(1)} s`;
  }

  function rows(list, figures, group) {
    return list.map(([key, word, as]) => {
      const f = figures[key];
      const parts = as === rate ? `${f.numerator} ÷ ${f.denominator}` : `${Math.round(f.numerator / 1000)} s ÷ ${f.denominator}`;
      return [group, word, shown(f, as), parts];
    });
  }

  // People and shifts by name; days and hours by their beginning.
  const names = new Map();
  async function learn() {
    const none = () => [];
    const [queues, shifts] = await Promise.all([api("/api/v1/queues").catch(none), api("/api/v1/shifts").catch(none)]);
    for (const seat of queues.flatMap((q) => q.operators)) names.set(seat.id, seat.name);
    for (const shift of shifts) {
      names.set(shift.id, shift.name);
      for (const member of shift.members) names.set(member.account, member.name);
    }
  }
  const named = (by, key) => names.get(key) ?? (by === "day" ? new Date(Number(key)).toLocaleDateString("zh-CN") : by === "hour" ? new Date(Number(key)).toLocaleString("zh-CN", { hour12: false }) : key || "全部 all");

  async function look() {
    const by = $("figures-by").value;
    const to = Date.now();
    const midnight = new Date().setHours(0, 0, 0, 0);
    const from = midnight - (Number($("figures-days").value) - 1) * DAY_MS;
    if (by === "operator" || by === "shift") await learn();
    const asked = `from=${from}&to=${to}`;
    const [report, owed] = await Promise.all([api(`/api/v1/metrics/calls?${asked}&by=${by}`), api(`/api/v1/metrics/care?${asked}`)]);
    const groups = Object.entries(report.groups);
    fill($("figures"), [
      ...groups.flatMap(([key, figures]) => [
        ...rows(calls, figures, named(by, key)),
        [named(by, key), "最长等候 Longest wait", `${(figures.longest_wait_ms / 1000).toFixed(1)} s`, ""],
      ]),
      ...rows(care, owed, "全部 all"),
      ["全部 all", "无法联系 Not reached", String(owed.unreachable), ""],
    ], 4, "");
  }

  $("figures-form").addEventListener("submit", (event) => {
    event.preventDefault();
    $("figures-note").textContent = "";
    look().catch((e) => { $("figures-note").textContent = e.message; });
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    if (!may || typing || event.repeat || event.isComposing || event.ctrlKey || event.altKey || event.metaKey || $("desk").hidden || document.querySelector("dialog[open]")) return;
    if (event.key.toLowerCase() !== "g") return;
    event.preventDefault();
    $("figures-days").focus();
  });

  return {
    begin(session) {
      may = session.roles.some((role) => role === "leader" || role === "manager" || role === "qa");
      $("figures-section").hidden = !may;
    },
    end() {
      may = false;
      fill($("figures"), [], 4, "");
    },
    on() {},
  };
}
