// The work queue: one list, one piece of work in hand, keys for everything.
const RENEW_MS = 30000;
// Without news the list is read again so often: times left change.
const LOOK_MS = 15000;
const lanes = ["红 red", "紧急 urgent", "一般 normal"];
const channels = { phone: "电话", voicemail: "留言", sms: "短信", wechat: "微信", web: "网页", mail: "邮件" };
const results = { 1: "移交", 2: "答复", 3: "合并", 4: "作废" };
const states = { 待发: "待发 queued", 发送中: "发送中 sending", 已提交: "已提交 submitted", 已送达: "已送达 delivered", 失败: "失败 failed", 未知: "未知 unknown", 过期: "过期 expired", 取消: "取消 cancelled" };

export function workDesk({ api, $, fill, clock }) {
  let hand = null;
  let me = null;
  let renewing = null;
  let looking = null;

  const say = (text, good = false) => {
    $("work-note").textContent = text;
    $("work-note").className = good ? "" : "bad";
  };
  const post = (path, body) => api(path, { method: "POST", body: body ? JSON.stringify(body) : undefined });

  function due(work, now) {
    const minutes = Math.round((work.due_at - now) / 60000);
    const span = document.createElement("span");
    span.textContent = minutes >= 0 ? `${minutes} 分 min` : `超时 late ${-minutes} 分 min`;
    span.className = minutes >= 0 ? "" : "late";
    return span;
  }

  function lane(work) {
    const span = document.createElement("span");
    span.textContent = lanes[work.lane];
    span.className = `lane lane-${work.lane}`;
    return span;
  }

  function holder(work, now) {
    if (work.lease_until && work.lease_until > now) return work.holder === me ? "我 me" : "处理中 taken";
    return work.assignee ? (work.assignee === me ? "转给我 for me" : "已转交 passed on") : work.desk === "值班长" ? "值班长 leader" : "";
  }

  function takeButton(work) {
    const button = document.createElement("button");
    button.textContent = "领取 Take";
    button.dataset.key = work.id;
    button.addEventListener("click", () => attempt(() => post(`/api/v1/work/${work.id}/take`)));
    return button;
  }

  async function list() {
    const works = await api(`/api/v1/work?view=${$("work-view").value}&limit=50`);
    const now = Date.now();
    fill($("works"), works.map((w) => [
      lane(w), w.kind, channels[w.channel] || w.channel, clock(w.arrived_at), due(w, now),
      w.title || w.acceptance_no || "", holder(w, now), w.done_at ? w.result : w.lease_until > now && w.holder !== me ? "" : takeButton(w),
    ]), 8, "没有待办 Nothing to do");
    if (hand) return;
    const mine = works.find((w) => w.holder === me && w.lease_until > now && !w.done_at);
    if (mine) await open(mine);
  }

  function bubble(side, at, text, note) {
    const li = document.createElement("li");
    li.className = side;
    const time = document.createElement("time");
    time.textContent = `${clock(at)} ${note}`;
    const p = document.createElement("p");
    p.textContent = text;
    li.append(time, p);
    return li;
  }

  function place(message) {
    const p = document.createElement("p");
    p.className = "place";
    p.textContent = `位置 Place: ${message.place_label || ""} ${message.lon.toFixed(6)}, ${message.lat.toFixed(6)}`;
    return p;
  }

  function media(file) {
    if (!file.sha256) {
      const p = document.createElement("p");
      p.textContent = `附件 ${file.kind}: ${file.state}`;
      return p;
    }
    const link = document.createElement("a");
    link.href = `/api/v1/attachments/${file.sha256}`;
    link.target = "_blank";
    link.rel = "noopener";
    if (file.kind === "image") {
      const img = document.createElement("img");
      img.src = link.href;
      img.alt = "市民照片 photo from the citizen";
      img.loading = "lazy";
      link.append(img);
    } else {
      link.textContent = `附件 ${file.kind}`;
    }
    return link;
  }

  async function thread(work) {
    $("thread").replaceChildren();
    if (!work.contact) return;
    const story = await api(`/api/v1/messages/${work.contact}`).catch((e) => ({ messages: [], texts: [], error: e.message }));
    const lines = story.messages.map((m) => {
      const li = bubble("citizen", m.at, m.redacted_text, `${channels[m.channel] || m.channel} ${m.sender_mask} #${m.seq}${m.red ? " 红 red" : ""}`);
      if (typeof m.lon === "number") li.append(place(m));
      for (const file of m.media) li.append(media(file));
      return [m.at, li];
    });
    for (const text of story.texts) lines.push([text.created_at, bubble("ours", text.created_at, text.text, states[text.state] || text.state)]);
    lines.sort((a, b) => a[0] - b[0]);
    $("thread").replaceChildren(...lines.map((l) => l[1]));
    $("reply-form").hidden = !story.can_reply;
  }

  async function open(work) {
    hand = work;
    $("hand").hidden = false;
    $("hand-title").textContent = `${work.kind} · ${work.title || "未成诉求 no item yet"}`;
    $("hand-facts").textContent = [work.acceptance_no, work.location_text, channels[work.channel] || work.channel, `到达 arrived ${clock(work.arrived_at)}`, `时限 due ${clock(work.due_at)}`].filter(Boolean).join(" · ");
    await thread(work);
    clearInterval(renewing);
    renewing = setInterval(() => renew(), RENEW_MS);
  }

  function close() {
    hand = null;
    clearInterval(renewing);
    $("hand").hidden = true;
    $("thread").replaceChildren();
    $("reply").value = "";
    $("done-note").value = "";
  }

  async function renew() {
    if (!hand) return;
    try {
      hand = await post(`/api/v1/work/${hand.id}/renew`);
    } catch (e) {
      say(e.message);
      // A network that failed once keeps the work: the lease outlives two renewals.
      if (e.status === 409) close();
    }
  }

  // What the server answers is what holds: a work of mine is opened, anything else leaves my hand.
  async function attempt(step) {
    say("");
    try {
      const work = await step();
      if (work && work.holder === me && !work.done_at) await open(work);
      else if (hand) close();
      if (!work) say("没有待办 Nothing to do", true);
    } catch (e) {
      say(e.message);
    }
    await list().catch((e) => say(e.message));
  }

  const next = () => attempt(() => post("/api/v1/work/next"));
  const release = () => hand && attempt(() => post(`/api/v1/work/${hand.id}/release`));
  const done = (result) => {
    if (!hand) return;
    const form = { result, note: $("done-note").value };
    if (result === "合并") {
      const into = window.prompt("并入哪件诉求?填写受理编号;已并案的留空 / Into which item? Its acceptance number; empty if it is merged already");
      if (into === null) return;
      if (into.trim()) form.into = into.trim();
    }
    attempt(() => post(`/api/v1/work/${hand.id}/done`, form));
  };
  function transfer() {
    if (!hand) return;
    const to = $("transfer-to").value.trim() || "leader";
    attempt(() => post(`/api/v1/work/${hand.id}/transfer`, { to, note: $("done-note").value }));
  }

  async function reply(event) {
    event.preventDefault();
    if (!hand?.item || !$("reply").value.trim()) return;
    say("");
    const key = crypto.randomUUID?.() ?? String(Date.now() + Math.random());
    try {
      await api(`/api/v1/items/${hand.item}/reply`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify({ text: $("reply").value }),
      });
      $("reply").value = "";
      say("已发送 Sent", true);
      await thread(hand);
    } catch (e) {
      say(e.message);
    }
  }

  function keys(event) {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    if (typing || event.repeat || event.isComposing || event.ctrlKey || event.altKey || event.metaKey || $("desk").hidden || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    if (key === "n") next();
    else if (!hand) return;
    // Keys for the citizen, typed beside their field, end no work.
    else if (results[key] && !$("call").hidden) say("通话中请用按钮办结 During a call, end work by its button");
    else if (results[key]) done(results[key]);
    else if (key === "b") release();
    else if (key === "t") transfer();
    else if (key === "r" && !$("reply-form").hidden) $("reply").focus();
    else return;
    event.preventDefault();
  }

  let pending = null;
  // Many events at once are one look at the list.
  const soon = () => { pending ??= setTimeout(() => { pending = null; list().catch((e) => say(e.message)); }, 300); };

  $("work-next").addEventListener("click", next);
  $("work-view").addEventListener("change", () => list().catch((e) => say(e.message)));
  $("work-release").addEventListener("click", release);
  $("work-transfer").addEventListener("click", transfer);
  for (const button of document.querySelectorAll("[data-result]")) button.addEventListener("click", () => done(button.dataset.result));
  $("reply-form").addEventListener("submit", reply);
  document.addEventListener("keydown", keys);

  return {
    begin(session) {
      if (me) return;
      me = session.user;
      looking = setInterval(() => list().catch((e) => say(e.message)), LOOK_MS);
      list().catch((e) => say(e.message));
    },
    end() {
      me = null;
      clearInterval(looking);
      close();
    },
    on(kind) {
      if (["work", "red", "work_late", "supplement", "reset"].includes(kind)) soon();
      if (kind === "red") $("red-bell").textContent = "红色警情 Red: 有人可能处于危险 somebody may be in danger";
    },
  };
}
