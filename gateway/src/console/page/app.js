// The one page: lists refresh by themselves; a recording is fetched only with a reason.
import { callDesk } from "/call.js";
import { eventStream } from "/events.js";
import { figureDesk } from "/figures.js";
import { floorDesk } from "/floor.js";
import { lineDesk } from "/line.js";
import { workDesk } from "/work.js";

const $ = (id) => document.getElementById(id);
const REFRESH_MS = 3000;

async function api(path, options = {}) {
  const response = await fetch(path, { headers: { "content-type": "application/json" }, ...options });
  if (response.status === 401) throw Object.assign(new Error("sign in"), { status: 401 });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw Object.assign(new Error(body.message || `HTTP ${response.status}`), { status: response.status });
  }
  return response.status === 204 ? null : response.json();
}

const clock = (ms) => (ms ? new Date(ms).toLocaleString("zh-CN", { hour12: false }) : "");
const seconds = (ms) => (ms === null || ms === undefined ? "" : `${Math.round(ms / 1000)} s`);
const sides = { citizen: "市民 citizen", operator: "受理员 operator", network: "网络 network", system: "系统 system" };

function fill(body, rows, columns, empty) {
  const held = body.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  body.replaceChildren(
    ...rows.map((cells) => {
      const tr = document.createElement("tr");
      for (const cell of cells) {
        const td = document.createElement("td");
        if (cell instanceof Node) td.append(cell);
        else td.textContent = cell ?? "";
        if (typeof cell === "string" && cell.length > 24) td.className = "wide";
        tr.append(td);
      }
      return tr;
    }),
  );
  if (rows.length === 0) {
    const tr = body.insertRow();
    tr.className = "empty";
    const td = tr.insertCell();
    td.colSpan = columns;
    td.textContent = empty;
  }
  if (held) body.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
}

const grades = { good: "良好 good", fair: "一般 fair", poor: "差 poor" };
const grade = (mos) => (mos === null || mos === undefined ? "" : grades[mos >= 4 ? "good" : mos >= 3.1 ? "fair" : "poor"]);
const legs = { citizen: "市民 citizen", operator: "受理员 operator", third: "第三方 third party" };
const causes = { no_packets: "没有声音包 no packets", silence: "只有静音 only silence", not_received: "听不到我方 does not hear us" };
const trouble = (t) => `${legs[t.leg] || t.leg}: ${causes[t.cause] || t.cause}`;

function sounded(leg) {
  const mos = (v) => (v === null ? "-" : v.toFixed(2));
  const rtt = leg.rtt_ms === null ? "-" : `${leg.rtt_ms} ms`;
  return `${legs[leg.leg] || leg.leg} ${grades[leg.grade] || "未测 not measured"} · MOS 收 in ${mos(leg.mos_in)} (${mos(leg.mos_in_min)}) 发 out ${mos(leg.mos_out)} (${mos(leg.mos_out_min)}) · ` +
    `丢包 lost ${leg.lost_in}/${leg.lost_out} · 抖动 jitter ${leg.jitter_in_max_ms}/${leg.jitter_out_max_ms} ms · 往返 round trip ${rtt}`;
}

function playButton(call) {
  const button = document.createElement("button");
  button.textContent = "录音 Play";
  button.dataset.key = call;
  button.addEventListener("click", () => openPlayer(call));
  return button;
}

async function openPlayer(call) {
  const detail = await api(`/api/v1/calls/${call}`);
  $("tracks").replaceChildren();
  $("transcript").textContent = detail.recordings.length ? "" : "这次通话没有录音 No recording";
  $("sound").replaceChildren(
    ...detail.quality.map((leg) => {
      const p = document.createElement("p");
      p.textContent = sounded(leg);
      return p;
    }),
  );
  for (const recording of detail.recordings) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${recording.kind} · ${seconds(recording.duration_ms)}`;
    button.addEventListener("click", () => play(recording.id, button));
    $("tracks").append(button);
  }
  $("player").showModal();
  $("reason").focus();
}

async function play(id, button) {
  if (!$("reason").reportValidity()) return;
  const audio = document.createElement("audio");
  audio.controls = true;
  audio.autoplay = true;
  audio.src = `/api/v1/recordings/${id}/audio?reason=${encodeURIComponent($("reason").value)}`;
  audio.addEventListener("error", () => { $("transcript").textContent = "无法播放:没有权限或文件缺失 Cannot play: no permission or no file"; });
  button.replaceWith(audio);
  const t = await api(`/api/v1/recordings/${id}/transcript`).catch((e) => ({ text: e.message }));
  const waiting = "等待语音模型,运行 hotline model get small · waiting for a speech model";
  $("transcript").textContent = t.text || (t.status === "waiting_model" ? waiting : `转写 transcript: ${t.status}`);
}

async function refresh() {
  try {
    const [live, items, calls] = await Promise.all([api("/api/v1/calls/live"), api("/api/v1/items"), api("/api/v1/calls")]);
    fill($("live"), live.map((c) => [clock(c.since), c.caller, c.stage, c.audio.map(trouble).join("; ")]), 4, "没有正在进行的通话 No live call");
    fill($("items"), items.map((i) => [clock(i.created_at), i.acceptance_no, i.kind, i.title, i.location_text, i.state]), 6, "还没有诉求 No item yet");
    fill($("calls"), calls.map((c) => [clock(c.ring_at), String(c.seq), c.caller_masked, c.did, seconds(c.wait_ms), seconds(c.talk_ms), sides[c.end_side] || "进行中 live", grade(c.mos), playButton(c.id)]), 9, "还没有通话 No call yet");
  } catch (e) {
    if (e.status === 401) return signedOut();
    $("health").textContent = `连接中断,正在重试 Connection lost, retrying (${e.message})`;
    $("health").className = "down";
  }
}

async function health() {
  const response = await fetch("/healthz").catch(() => null);
  const body = response ? await response.json() : { status: "down", problems: [] };
  const words = { ok: "运行正常 OK", degraded: "可接电话,有待处理事项 Degraded", down: "停止服务 Down" };
  $("health").textContent = words[body.status];
  $("health").title = body.problems.join("\n");
  $("health").className = body.status;
}

const tools = { api, $, fill, clock };
const desks = [callDesk(tools), lineDesk(tools), floorDesk(tools), workDesk(tools), figureDesk(tools)];
const stream = eventStream((kind, data) => desks.forEach((desk) => desk.on(kind, data)));
let timer = null;
function signedIn(session) {
  $("sign-in").hidden = true;
  $("desk").hidden = false;
  $("who").textContent = session.name;
  refresh();
  desks.forEach((desk) => desk.begin(session));
  stream.begin();
  timer ??= setInterval(() => { refresh(); health(); }, REFRESH_MS);
}
function signedOut() {
  clearInterval(timer);
  timer = null;
  stream.end();
  desks.forEach((desk) => desk.end());
  $("sign-in").hidden = false;
  $("desk").hidden = true;
  $("who").textContent = "";
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("sign-in-error").textContent = "";
  const form = new FormData(event.target);
  try {
    signedIn(await api("/api/v1/session", { method: "POST", body: JSON.stringify(Object.fromEntries(form)) }));
  } catch (e) {
    $("sign-in-error").textContent = e.status === 401 ? "工号或密码不对 Wrong login or password" : e.message;
  }
});
$("player").addEventListener("close", () => $("tracks").replaceChildren());

health();
api("/api/v1/session").then(signedIn, signedOut);
