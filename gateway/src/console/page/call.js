// The operator's own state and the call at hand: one key for everything, the server's answer is what is shown.
const states = { off: "签退 off", ready: "示闲 ready", busy: "示忙 busy", break: "小休 break", ringing: "振铃 ringing", talking: "通话 talking", wrap_up: "话后 wrap-up", away: "离席 away", device_fault: "设备异常 phone fault" };
const stages = { greeting: "问候 greeting", queue: "排队 waiting", talk: "通话 talking", after_talk: "话后 after the talk" };
const lanes = { red: "红 red", trouble: "遇困 in trouble", callback: "回拨 callback" };
const parts = { join: "三方 three-way", consult: "咨询 consulted", whisper: "耳语 whispering", barge: "强插 barged in", listen: "监听 listening" };

// These can't be taken back: a second press within so long, or Shift.
const weighty = { end: "结束 End", transfer: "转接 Transfer", flag: "紧急标记 Red flag" };
const AGAIN_MS = 1000;

export const stateWord = (state) => states[state] || state;
export const span = (ms) => { const s = Math.max(0, Math.floor(ms / 1000)); return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`; };

export function callDesk({ api, $ }) {
  let me = null;
  let call = null;
  let seat = null;
  let ticking = null;
  let armed = { act: null, at: 0 };
  const say = (text, good = false) => {
    $("call-note").textContent = text;
    $("call-note").className = good ? "" : "bad";
  };
  const key = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  const send = (method, path, body, headers = {}) =>
    api(path, { method, headers: { "content-type": "application/json", ...headers }, body: body === undefined ? undefined : JSON.stringify(body) });

  // Several keys pressed one after the other go out one after the other.
  let last = Promise.resolve();
  function ask(method, what, body, headers) {
    const id = call?.call;
    if (!id) return last;
    last = last.then(async () => {
      say("");
      try {
        const state = await send(method, `/api/v1/calls/${id}/${what}`, body, headers);
        if (state?.call === call?.call && state?.stage) show(state);
        return state;
      } catch (e) {
        say(e.message);
        if (e.status === 404) show(null);
      }
      return null;
    });
    return last;
  }

  const isMine = (state) => state?.operator?.id === me;
  const consulted = () => call?.guests.find((guest) => guest.part === "consult");

  // What was filled in for one citizen is no other's.
  function forget() {
    for (const id of ["call-place", "call-to", "call-digits", "call-reason"]) $(id).value = "";
    $("call-context").textContent = "";
  }

  function show(state) {
    const before = call?.call;
    // Handed to somebody else, or over.
    call = isMine(state) ? state : null;
    if (call?.call !== before) forget();
    $("call").hidden = !call;
    $("call-none").hidden = Boolean(call);
    if (!call) return;
    const talking = call.operator.talking;
    $("call-title").textContent = `${call.caller} · ${talking ? stages[call.stage] || call.stage : "振铃 ringing"}`;
    const facts = [
      lanes[call.lane], call.queue, call.held && "保持中 on hold", call.muted && "静音 muted",
      call.recording && (call.paused ? "录音暂停 recording paused" : "录音中 recording"),
      call.transfer && `转接 transfer: ${call.transfer.name}${call.transfer.rings ? " 振铃 ringing" : ""}`,
      call.help_since && "已求助 help is asked for",
    ];
    $("call-facts").textContent = facts.filter(Boolean).join(" · ");
    $("call-guests").replaceChildren(...call.guests.map(guest));
    const pressed = { hold: call.held, mute: call.muted, pause: call.paused, help: Boolean(call.help_since), flag: call.lane === "red" };
    for (const [name, on] of Object.entries(pressed)) $(`call-${name}`).setAttribute("aria-pressed", String(on));
    const asked = consulted();
    $("call-consult-text").textContent = asked ? "结束咨询 End consultation" : "咨询 Consult";
    $("call-transfer-text").textContent = asked ? "转给被咨询人 Hand over" : call.transfer ? "收回转接 Take back" : "转接 Transfer";
    $("call-answer").hidden = talking;
    tick();
  }

  function guest(one) {
    const li = document.createElement("li");
    li.textContent = `${one.name} · ${parts[one.part] || one.part}${one.talking ? "" : " · 振铃 ringing"} `;
    if (one.part === "join") {
      const out = document.createElement("button");
      out.type = "button";
      out.className = "quiet";
      out.textContent = "请退出 Dismiss";
      out.addEventListener("click", () => ask("DELETE", `guests/${encodeURIComponent(one.user)}`));
      li.append(out);
    }
    return li;
  }

  function seatIs(next) {
    seat = next ?? seat;
    $("seat").textContent = seat ? `${stateWord(seat.state)}${seat.reason ? ` (${seat.reason})` : ""}${seat.next ? ` → ${stateWord(seat.next)}` : ""}` : states.off;
    $("seat-phone").textContent = seat && !seat.registered ? "话机未注册,不会来电 The phone is not registered: no calls come" : "";
    for (const button of document.querySelectorAll("[data-seat]")) {
      button.setAttribute("aria-pressed", String((seat?.next ?? seat?.state ?? "off") === button.dataset.seat));
    }
  }

  function tick() {
    const now = Date.now();
    if (call) $("call-time").textContent = span(now - call.since);
    $("seat-time").textContent = seat ? span(seat.wrap_until ? seat.wrap_until - now : now - seat.since) : "";
  }

  async function wish(state) {
    say("");
    try {
      const answer = await send("POST", "/api/v1/operators/me/state", { state, reason: $("seat-reason").value.trim() });
      if (!answer.phone_registered) $("seat-phone").textContent = "话机未注册,不会来电 The phone is not registered: no calls come";
    } catch (e) {
      say(e.message);
    }
  }

  const target = () => {
    const to = $("call-to").value.trim();
    if (!to) {
      $("call-to").focus();
      say("先填写对方 Say to whom first");
    }
    return to;
  };
  const toggle = (what, on) => ask("POST", what, { on });
  const acts = {
    answer: () => ask("POST", "answer", {}),
    hold: () => toggle("hold", !call.held),
    mute: () => toggle("mute", !call.muted),
    consult: () => {
      if (consulted()) return ask("DELETE", "consult");
      const phone = target();
      return phone && ask("POST", "consult", { phone });
    },
    join: () => {
      if (consulted()) return ask("POST", "consult/join", {}, { "idempotency-key": key() });
      const phone = target();
      return phone && ask("POST", "guests", { phone });
    },
    transfer: () => {
      if (consulted()) return ask("POST", "consult/complete", {}, { "idempotency-key": key() });
      if (call.transfer) return ask("DELETE", "transfer");
      const to = target();
      return to && ask("POST", "transfer", { [$("call-kind").value]: to }, { "idempotency-key": key() });
    },
    pause: () => ask("POST", call.paused ? "record/resume" : "record/pause", {}),
    link: async () => {
      const sent = await ask("POST", "link");
      if (sent) say(`已发送 Sent: ${sent.to}`, true);
    },
    help: () => toggle("help", !call.help_since),
    flag: () => ask("POST", "flag"),
    end: () => ask("POST", "end", {}, { "idempotency-key": key() }),
    emergency: () => $("call-emergency").querySelector("button").focus(),
    digits: () => $("call-digits").focus(),
  };
  const keys = { a: "answer", h: "hold", m: "mute", c: "consult", j: "join", x: "transfer", p: "pause", l: "link", q: "help", f: "flag", e: "end", k: "emergency", d: "digits" };

  for (const name of Object.keys(acts)) {
    $(`call-${name}`)?.addEventListener("click", (event) => {
      if (event.currentTarget.tagName === "BUTTON" && call) acts[name]();
    });
  }
  // What the phone does when it rings: asked of the server, which tells the phone.
  const phoneBoxes = [["seat-auto", "auto_answer"], ["seat-home", "home"]];
  const phonePath = () => `/api/v1/users/${me}/phone`;
  const knowPhone = () => api(phonePath()).then((phone) => { for (const [id, field] of phoneBoxes) $(id).checked = phone[field]; }).catch((e) => say(e.message));
  let set = Promise.resolve();
  for (const [id, field] of phoneBoxes) {
    $(id).addEventListener("change", (event) => {
      const wanted = { [field]: event.target.checked };
      // One after the other: the last wish is the one that stays.
      set = set.then(() => send("PUT", phonePath(), wanted)).catch((e) => { say(e.message); return knowPhone(); });
    });
  }
  for (const button of document.querySelectorAll("[data-seat]")) button.addEventListener("click", () => wish(button.dataset.seat));
  for (const button of document.querySelectorAll("[data-emergency]")) {
    button.addEventListener("click", async () => {
      const asked = await ask("POST", "emergency", { number: button.dataset.emergency, place: $("call-place").value.trim() || null });
      if (asked && asked.call === call?.call) $("call-context").textContent = asked.context.line;
    });
  }
  $("call-digits-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const digits = $("call-digits").value.trim();
    if (digits && (await ask("POST", "digits", { digits }, { "idempotency-key": key() }))) $("call-digits").value = "";
  });
  $("call-hangup").addEventListener("click", () => {
    const reason = $("call-reason").value;
    if (reason) ask("POST", "end", { reason }, { "idempotency-key": key() });
    else say("真正挂断须选理由 A real hang-up needs a reason");
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    if (event.key === "Escape" && typing && $("call").contains(event.target)) return event.target.blur();
    if (typing || event.repeat || event.isComposing || event.ctrlKey || event.altKey || event.metaKey || !call || document.querySelector("dialog[open]")) return;
    const act = keys[event.key.toLowerCase()];
    const sure = event.shiftKey || (armed.act === act && event.timeStamp - armed.at <= AGAIN_MS);
    armed = { act, at: event.timeStamp };
    if (!act) return;
    event.preventDefault();
    if (weighty[act] && !sure) {
      const letter = event.key.toUpperCase();
      return say(`再按一次 ${letter} 或按 Shift+${letter}:${weighty[act]} Press ${letter} once more, or Shift+${letter}`);
    }
    armed = { act: null, at: 0 };
    acts[act]();
  });

  async function look(id) {
    const state = await api(`/api/v1/calls/${id}/state`).catch(() => null);
    if (isMine(state)) show(state);
    else if (call?.call === id) show(null);
  }

  return {
    begin(session) {
      me = session.user;
      seatIs(null);
      show(null);
      knowPhone();
      ticking ??= setInterval(tick, 1000);
    },
    end() {
      me = null;
      seat = null;
      show(null);
      clearInterval(ticking);
      ticking = null;
    },
    on(kind, data) {
      if (kind === "snapshot") {
        seat = data.me ?? null;
        seatIs(seat);
        show(data.call ?? null);
      } else if (kind === "state" && data.operator === me) seatIs(data);
      else if (kind === "call" && (data.operator === me || data.call === call?.call)) look(data.call);
      else if (kind === "call_left" && data.operator === me && data.call === call?.call) show(null);
      else if (kind === "broadcast") $("broadcast").textContent = `${data.from}: ${data.text}`;
    },
  };
}
