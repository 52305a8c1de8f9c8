// What a shift leader sees and does: queues, people, calls, alarms, the roster. Everything with a reason is audited.
import { span, stateWord } from "/call.js";

const alarms = { wait: "等候过久 waiting too long", wrap_up: "话后过久 wrap-up too long", away: "脱岗 away too long", signed_out: "无人签到 nobody signed in" };
const stages = { greeting: "问候 greeting", queue: "排队 waiting", talk: "通话 talking", after_talk: "话后 after" };
const seats = { ready: "示闲", busy: "示忙", break: "小休", away: "离席", off: "签退" };

export function floorDesk({ api, $, fill, clock }) {
  let leads = false;
  let me = null;
  let pending = null;
  const names = new Map();
  const say = (text, good = false) => {
    $("floor-note").textContent = text;
    $("floor-note").className = good ? "" : "bad";
  };
  const send = (method, path, body) => api(path, { method, body: body === undefined ? undefined : JSON.stringify(body) });

  // Asks why, in a dialog that Escape leaves.
  function why(what) {
    const dialog = $("why");
    $("why-what").textContent = what;
    $("why-reason").value = "";
    dialog.returnValue = "";
    dialog.showModal();
    $("why-reason").focus();
    return new Promise((done) => {
      dialog.addEventListener("close", () => done(dialog.returnValue === "ok" ? $("why-reason").value.trim() : null), { once: true });
    });
  }

  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }
  // A list that is made anew keeps the focus where it was: on the same act for the same call or person.
  const keyed = (made, key) => { made.dataset.key = key; return made; };

  async function act(what, path, { method = "POST", body = {}, reason = false } = {}) {
    say("");
    if (reason) {
      const told = await why(what);
      if (told === null) return;
      body = { ...body, reason: told };
    }
    try {
      await send(method, path, method === "DELETE" ? undefined : body);
      say(`${what}: 完成 done`, true);
    } catch (e) {
      say(e.message);
    }
    soon();
  }

  function bar(...buttons) {
    const span = document.createElement("span");
    span.className = "acts";
    span.append(...buttons);
    return span;
  }

  function callActs(call) {
    const path = (what) => `/api/v1/calls/${call.call}/${what}`;
    const buttons = [];
    if (call.stage === "talk") {
      buttons.push(
        button("监听 Listen", () => act("监听 Listen", path("supervise"), { body: { part: "listen" } })),
        button("耳语 Whisper", () => act("耳语 Whisper", path("supervise"), { body: { part: "whisper" } })),
        button("强插 Barge", () => act("强插 Barge", path("supervise"), { body: { part: "barge" }, reason: true })),
        button("退出 Leave", () => act("退出 Leave", path("supervise"), { method: "DELETE" })),
        button("接管 Take", () => act("接管 Take", path("take"), { reason: true })),
      );
    }
    if (call.stage === "queue") {
      buttons.push(button("移到队首 To the front", () => act("移到队首 To the front", path("move"), { body: { front: true } })));
      for (const queue of queues.filter((name) => name !== call.queue)) {
        buttons.push(button(`转 ${queue}`, () => act(`转 Move: ${queue}`, path("move"), { body: { queue } })));
      }
    }
    buttons.push(button("强拆 End", () => act("强拆 End", path("force-end"), { reason: true })));
    return bar(...buttons.map((made) => keyed(made, `${call.call} ${made.textContent}`)));
  }

  function seatActs(seat) {
    const select = document.createElement("select");
    keyed(select, seat.id);
    select.setAttribute("aria-label", `改变状态 change the state of ${seat.name}`);
    select.append(new Option("改为… Set", ""), ...Object.entries(seats).map(([state, word]) => new Option(`${word} ${state}`, state)));
    select.addEventListener("change", () => {
      const state = select.value;
      select.value = "";
      if (state) act(`${seat.name} → ${stateWord(state)}`, `/api/v1/operators/${seat.id}/state`, { body: { state }, reason: true });
    });
    return select;
  }

  let queues = [];
  async function look() {
    const now = Date.now();
    const [view, live, on] = await Promise.all([api("/api/v1/queues"), api("/api/v1/calls/live"), api("/api/v1/alarms")]);
    queues = view.map((queue) => queue.name);
    const people = new Map(view.flatMap((queue) => queue.operators).map((seat) => [seat.id, seat]));
    for (const [id, seat] of people) names.set(id, seat.name);
    $("queues").textContent = view.map((q) => `${q.name}: ${q.waiting} 人等候 waiting${q.open ? "" : " · 已关闭 closed"}`).join(" · ");
    fill($("seats"), [...people.values()].map((seat) => [
      seat.name, stateWord(seat.state) + (seat.reason ? ` (${seat.reason})` : ""), span(now - seat.since),
      seat.registered ? "" : "未注册 not registered", seatActs(seat),
    ]), 5, "无人 Nobody");
    fill($("floor-calls"), live.map((call) => [
      call.caller, stages[call.stage] || call.stage, call.queue, names.get(call.operator) || call.operator || "", span(now - call.stage_since), callActs(call),
    ]), 6, "没有通话 No call");
    $("alarms").replaceChildren(...on.map((alarm) => {
      const li = document.createElement("li");
      li.textContent = `${alarms[alarm.alarm] || alarm.alarm}: ${alarm.queue || names.get(alarm.operator) || alarm.operator}`;
      return li;
    }));
  }

  async function roster() {
    const [shifts, handovers] = await Promise.all([api("/api/v1/shifts"), api("/api/v1/handovers?limit=20")]);
    // Who gives and takes is on some shift, or on the floor.
    for (const member of shifts.flatMap((shift) => shift.members)) names.set(member.account, member.name);
    fill($("shifts"), shifts.filter((shift) => shift.ends_at > Date.now()).map((shift) => [
      shift.name, clock(shift.starts_at), clock(shift.ends_at), shift.members.map((m) => `${m.name} ${m.role}`).join(", "),
      leads ? button("取消 Cancel", () => act("取消班次 Cancel the shift", `/api/v1/shifts/${shift.id}`, { method: "DELETE" }).then(rosterSoon)) : "",
    ]), 5, "没有班次 No shift");
    fill($("handovers"), handovers.map((row) => [
      clock(row.given_at), names.get(row.giver) ?? "", names.get(row.taker) ?? "", row.note || "",
      row.ending || "待接 open", row.genuine ? "签名有效 genuine" : "已被改动 CHANGED", handoverActs(row),
    ]), 7, "没有交接班 No handover");
  }

  function handoverActs(row) {
    if (row.ending) return "";
    const end = (word, ending) => button(word, () => act(word, `/api/v1/handovers/${row.id}/${ending}`).then(rosterSoon));
    if (row.taker === me) return bar(end("接班 Accept", "accept"), end("拒接 Decline", "decline"));
    return row.giver === me ? end("撤回 Withdraw", "withdraw") : "";
  }

  const trouble = (e) => say(e.message);
  const rosterSoon = () => roster().catch(trouble);
  // Many events at once are one look.
  function soon() {
    if (!leads) return;
    pending ??= setTimeout(() => { pending = null; look().catch(trouble); }, 300);
  }

  function form(id, go) {
    $(id).addEventListener("submit", async (event) => {
      event.preventDefault();
      say("");
      try {
        await go(Object.fromEntries(new FormData(event.target)));
        event.target.reset();
        say("完成 Done", true);
      } catch (e) {
        say(e.message);
      }
      rosterSoon();
    });
  }
  const roles = { 值班长: "leader", 备勤: "on_call", leader: "leader", on_call: "on_call" };
  form("broadcast-form", (f) => send("POST", "/api/v1/broadcasts", { text: f.text }));
  form("shift-form", (f) => {
    const members = f.members.split(/[\s,,]+/).filter(Boolean).map((word) => {
      const [login, role] = word.split(/[::]/);
      return { login, role: roles[role] || "operator" };
    });
    return send("POST", "/api/v1/shifts", { name: f.name, starts_at: new Date(f.from).getTime(), ends_at: new Date(f.to).getTime(), members });
  });
  form("leave-form", (f) => send("POST", "/api/v1/duty/leaves", { login: f.login, what: f.what, reason: f.reason, minutes: Number(f.minutes) }));
  form("handover-form", (f) => send("POST", "/api/v1/handovers", { to: f.to, note: f.note || null }));

  return {
    begin(session) {
      me = session.user;
      leads = session.roles.some((role) => role === "leader" || role === "manager");
      for (const part of document.querySelectorAll("[data-leader]")) part.hidden = !leads;
      rosterSoon();
      soon();
    },
    end() {
      leads = false;
      me = null;
      clearTimeout(pending);
      pending = null;
    },
    on(kind, data) {
      if (kind === "handover") rosterSoon();
      else if (!["work", "work_late", "supplement"].includes(kind)) soon();
      if (kind === "recusal" && leads) $("floor-bell").textContent = `回避 Recusal: ${data.queue} 有来电市民,在岗受理员均须回避,请安排他人接听 everybody signed in is named by a caller's matter: find somebody else`;
      if (kind === "help" && leads) $("floor-bell").textContent = data.on === false ? "" : `求助 Help: ${names.get(data.operator) || ""}`;
    },
  };
}
