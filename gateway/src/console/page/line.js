// Who waits, taking somebody out of turn, moving them; and when the queues are open.
import { span } from "/call.js";

const LOOK_MS = 15000;
const lanes = { red: "红 red", trouble: "遇困 in trouble", callback: "回拨 callback", normal: "" };

export function lineDesk({ api, $, fill, clock }) {
  let me = null;
  let serves = false;
  let leads = false;
  let looking = null;
  let pending = null;
  const names = new Map();
  const say = (text, good = false) => {
    $("line-note").textContent = text;
    $("line-note").className = good ? "" : "bad";
  };
  const send = (method, path, body) => api(path, { method, body: body === undefined ? undefined : JSON.stringify(body) });

  async function attempt(what, step) {
    say("");
    try {
      await step();
      say(`${what}: 完成 done`, true);
    } catch (e) {
      say(e.message);
    }
    soon();
  }

  function button(what, key, step) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = what;
    made.dataset.key = key;
    made.addEventListener("click", () => attempt(what, step));
    return made;
  }

  function acts(caller, queues) {
    const bar = document.createElement("span");
    bar.className = "acts";
    if (caller.ringing) bar.append("振铃中 rings");
    else if (serves) bar.append(button("接听 Take", `${caller.call} take`, () => send("POST", `/api/v1/queue/callers/${caller.call}/pull`, {})));
    if (!leads) return bar;
    const move = (body) => send("POST", `/api/v1/calls/${caller.call}/move`, body);
    bar.append(button("移到队首 To the front", `${caller.call} front`, () => move({ front: true })));
    for (const queue of queues.filter((q) => q.name !== caller.queue)) {
      bar.append(button(`转 To ${queue.name}`, `${caller.call} to ${queue.name}`, () => move({ queue: queue.name })));
    }
    return bar;
  }

  function opening(queue, byHand) {
    const bar = document.createElement("span");
    bar.className = "acts";
    if (leads && byHand) {
      bar.append(button("恢复按时段 By its hours", `${queue.name} clock`, () => send("DELETE", `/api/v1/queues/${encodeURIComponent(queue.name)}/opening`)));
    }
    return bar;
  }

  async function look() {
    const [callers, queues, openings] = await Promise.all([api("/api/v1/queue/callers"), api("/api/v1/queues"), api("/api/v1/queues/openings")]);
    const now = Date.now();
    for (const seat of queues.flatMap((q) => q.operators)) names.set(seat.id, seat.name);
    fill($("waiting"), callers.map((c) => [
      `${c.queue} ${c.place}`, c.number, lanes[c.lane] ?? c.lane, span(now - c.entered_at), acts(c, queues),
    ]), 5, "无人等候 Nobody waits");
    const byHand = new Map(openings.map((row) => [row.queue, row]));
    fill($("openings"), queues.map((q) => {
      const row = byHand.get(q.name);
      const why = row ? `${row.open ? "人工开启 opened" : "人工关闭 closed"} ${names.get(row.made_by) ?? ""}: ${row.reason}` : "按服务时段 by its hours";
      return [q.name, q.open ? "开放 open" : "已关闭 closed", why, row ? clock(row.until_at) : "", opening(q, row)];
    }), 5, "没有队列 No queue");
    const select = $("opening-queue");
    const known = [...select.options].map((o) => o.value).join();
    if (known !== queues.map((q) => q.name).join()) select.replaceChildren(...queues.map((q) => new Option(q.name, q.name)));
  }

  // Many events at once are one look.
  function soon() {
    if (!me) return;
    pending ??= setTimeout(() => { pending = null; look().catch((e) => say(e.message)); }, 300);
  }

  $("opening-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const f = Object.fromEntries(new FormData(event.target));
    const body = { open: f.open === "open", minutes: Number(f.minutes), reason: f.reason };
    attempt(body.open ? "开启 Open" : "关闭 Close", async () => {
      await send("POST", `/api/v1/queues/${encodeURIComponent(f.queue)}/opening`, body);
      event.target.elements.reason.value = "";
    });
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    if (typing || event.repeat || event.isComposing || event.ctrlKey || event.altKey || event.metaKey || $("desk").hidden || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    const to = key === "w" ? $("waiting").querySelector("button") : key === "o" && leads ? $("opening-queue") : null;
    if (!to) return;
    event.preventDefault();
    to.focus();
  });

  return {
    begin(session) {
      if (me) return;
      me = session.user;
      names.set(me, session.name);
      serves = session.roles.includes("operator");
      leads = session.roles.some((role) => role === "leader" || role === "manager");
      looking = setInterval(soon, LOOK_MS);
      soon();
    },
    end() {
      me = null;
      clearInterval(looking);
      clearTimeout(pending);
      pending = null;
      fill($("waiting"), [], 5, "");
    },
    on(kind) {
      if (["snapshot", "reset", "queue", "call", "call_left", "red"].includes(kind)) soon();
    },
  };
}
