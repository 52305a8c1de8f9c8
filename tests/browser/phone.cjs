// A browser phone: Chromium with JsSIP in a plain page of the console's origin, told what to do line by line.
//   node phone.cjs PEERS CHROMIUM ORIGIN TOKEN WAV
// A line on standard input is {"id": n, "do": WORD, …}; the answer is a line {"id": n, …}. Words: start {obeys} (answers only
// what it is told to), state,
// hears (what the newest call sounds of, or with "hz": […] how loud each is), cut, mend, close_pc, restart_ice,
// call {to}, hand_on (the first call, to whom the second reached), codec, kill.
"use strict";
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const { createRequire } = require("module");
const [peers, executablePath, origin, token, wav] = process.argv.slice(2);
const modules = path.join(peers, "node_modules");
const { chromium } = require(path.join(modules, "playwright-core"));

// JsSIP is published as CommonJS: its files and what they need become one script.
function bundle() {
  const own = { debug: "debug/src/browser.js", events: "events/events.js", ms: "ms/index.js" };
  const entry = path.join(modules, "jssip", "lib", "JsSIP.js");
  const files = new Map();
  const take = (file) => {
    if (files.has(file)) return;
    const text = fs.readFileSync(file, "utf8");
    const known = {};
    files.set(file, { text, known });
    if (file.endsWith(".json")) return;
    const resolve = createRequire(file).resolve;
    for (const [, name] of text.matchAll(/require\(\s*['"]([^'"]+)['"]\s*\)/g)) {
      known[name] = own[name] ? path.join(modules, own[name]) : resolve(name);
      take(known[name]);
    }
  };
  take(entry);
  const parts = [...files].map(([file, { text, known }]) => {
    const body = file.endsWith(".json") ? `module.exports = ${text};` : text;
    return `${JSON.stringify(file)}: [function (require, module, exports) {${body}\n}, ${JSON.stringify(known)}]`;
  });
  return `window.process = { env: {} };
    window.JsSIP = (function (files) {
      const made = {};
      const load = (file) => {
        if (made[file]) return made[file].exports;
        const module = (made[file] = { exports: {} });
        files[file][0].call(module.exports, (name) => load(files[file][1][name]), module, module.exports);
        return module.exports;
      };
      return load(${JSON.stringify(entry)});
    })({${parts.join(",\n")}});`;
}

// Runs in the page.
function page() {
  const state = (window.state = { registered: 0, unregistered: 0, calls: 0, talking: false, offers: 0, connected: false, ended: [], reached: 0, notified: [] });
  const Socket = window.WebSocket;
  window.WebSocket = function (...all) {
    if (!window.blocked) return (window.socket = new Socket(...all));
    // While it is cut off every attempt fails soon.
    const lost = { CONNECTING: 0, OPEN: 1, readyState: 0, close() {}, send() {} };
    setTimeout(() => { lost.readyState = 3; lost.onclose({ wasClean: false, code: 1006, reason: "" }); }, 50);
    return lost;
  };
  Object.assign(window.WebSocket, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
  window.start = async (obeys) => {
    const answer = await fetch("/api/v1/operators/me/phone", { method: "POST" });
    if (!answer.ok) throw new Error(await answer.text());
    const key = await answer.json();
    const { JsSIP } = window;
    const ua = (window.ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(key.ws_url)],
      uri: `sip:${key.user}@${key.realm}`,
      password: key.password,
      register_expires: 120,
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 2,
    }));
    ua.on("connected", () => { state.connected = true; });
    ua.on("disconnected", () => { state.connected = false; });
    ua.on("registered", () => { state.registered += 1; });
    ua.on("unregistered", () => { state.unregistered += 1; });
    ua.on("registrationFailed", (e) => { state.failed = String(e.cause); });
    ua.on("newRTCSession", ({ originator, session, request }) => {
      if (originator !== "remote") return;
      state.calls += 1;
      window.session = session;
      const began = performance.now();
      session.on("peerconnection", ({ peerconnection: pc }) => {
        pc.addEventListener("track", ({ track }) => listen(track));
        pc.addEventListener("connectionstatechange", () => {
          if (pc.connectionState === "connected") state.setup_ms ??= performance.now() - began;
          state.pc = pc.connectionState;
        });
      });
      session.on("sdp", ({ originator, type }) => { if (originator === "remote" && type === "offer") state.offers += 1; });
      session.on("confirmed", () => { state.talking = true; });
      session.on("ended", ({ originator, cause }) => { state.talking = false; state.ended.push(`${originator}: ${cause}`); });
      session.on("failed", ({ originator, cause }) => { state.talking = false; state.ended.push(`${originator}: ${cause}`); });
      // One that obeys picks up where it is told to answer by itself, and rings on otherwise.
      if (!obeys || (request.getHeader("Call-Info") ?? "").includes("answer-after=0")) session.answer(media());
    });
    ua.start();
  };
  function media() {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return { mediaConstraints: { audio, video: false }, pcConfig: { iceServers: [] } };
  }
  window.restartIce = () => new Promise((done, failed) => {
    const changed = window.session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, () => done(true));
    if (!changed) failed(new Error("not now"));
  });
  // Beside the call at hand, as a phone with two lines does.
  window.call = (to) => {
    const second = (window.second = window.ua.call(to, media()));
    second.on("confirmed", () => { state.reached += 1; });
    second.on("ended", ({ originator, cause }) => { state.ended.push(`second ${originator}: ${cause}`); });
    second.on("failed", ({ originator, cause }) => { state.ended.push(`second ${originator}: ${cause}`); });
    second.connection.addEventListener("track", ({ track }) => listen(track));
  };
  window.handOn = () => {
    const told = { requestSucceeded: () => {}, accepted: () => state.notified.push("accepted"), failed: () => state.notified.push("failed") };
    window.session.refer(window.second.remote_identity.uri, { replaces: window.second, eventHandlers: told });
  };
  // The codec the newest call is heard in, as the browser's own statistics name it.
  window.codec = async () => {
    const stats = [...(await window.session.connection.getStats()).values()];
    const heard = stats.find((s) => s.type === "inbound-rtp" && s.kind === "audio");
    const codec = heard && stats.find((s) => s.id === heard.codecId);
    return { codec: codec ? codec.mimeType : null, packets: heard ? heard.packetsReceived : 0 };
  };
  function listen(track) {
    const stream = new MediaStream([track]);
    // A remote stream flows into Web Audio only while an element plays it.
    const element = new Audio();
    element.srcObject = stream;
    element.play();
    const context = new AudioContext({ sampleRate: 8000 });
    const analyser = context.createAnalyser();
    analyser.fftSize = 4096;
    analyser.smoothingTimeConstant = 0;
    context.createMediaStreamSource(stream).connect(analyser);
    window.analyser = analyser;
    const first = setInterval(() => {
      const { hz, db } = window.hears();
      if (db < -60) return;
      state.first_hz ??= hz;
      clearInterval(first);
    }, 50);
  }
  window.hears = (hz) => {
    if (!window.analyser) return hz ? hz.map(() => -200) : { hz: 0, db: -200 };
    const bins = new Float32Array(window.analyser.frequencyBinCount);
    window.analyser.getFloatFrequencyData(bins);
    const near = (bin) => Math.max(-200, ...bins.slice(bin - 2, bin + 3));
    if (hz) return hz.map((one) => near(Math.round((one * 4096) / 8000)));
    let best = 0;
    bins.forEach((db, n) => { if (db > bins[best]) best = n; });
    return { hz: best * 8000 / 4096, db: Number.isFinite(bins[best]) ? bins[best] : -200 };
  };
}

(async () => {
  const server = await chromium.launchServer({
    executablePath,
    args: [
      "--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
      `--use-file-for-fake-audio-capture=${wav}`, "--autoplay-policy=no-user-gesture-required",
      "--allow-loopback-in-peer-connection",
    ],
  });
  const browser = await chromium.connect(server.wsEndpoint());
  const context = await browser.newContext();
  const { hostname } = new URL(origin);
  await context.addCookies([{ name: "hotline_session", value: token, domain: hostname, path: "/" }]);
  const tab = await context.newPage();
  const errors = [];
  tab.on("pageerror", (e) => errors.push(String(e)));
  // A plain document of the console's own: a made-up one would count as a public site's, which may open no
  // connection to this machine.
  await tab.goto(`${origin}/openapi.json`);
  await tab.evaluate(`${bundle()}\n(${page})();`);
  const words = {
    start: ({ obeys }) => tab.evaluate((obeys) => window.start(obeys), obeys),
    state: async () => ({ ...(await tab.evaluate(() => window.state)), errors }),
    hears: ({ hz }) => tab.evaluate((hz) => window.hears(hz), hz),
    codec: () => tab.evaluate(() => window.codec()),
    cut: () => tab.evaluate(() => { window.blocked = true; window.socket.close(); }),
    mend: () => tab.evaluate(() => { window.blocked = false; }),
    close_pc: () => tab.evaluate(() => window.session.connection.close()),
    restart_ice: () => tab.evaluate(() => window.restartIce()),
    call: ({ to }) => tab.evaluate((to) => window.call(to), to),
    hand_on: () => tab.evaluate(() => window.handOn()),
    kill: () => server.kill(),
  };
  console.log(JSON.stringify({ ready: true }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, do: word, ...rest } = JSON.parse(line);
    try {
      console.log(JSON.stringify({ id, answer: (await words[word](rest)) ?? null }));
    } catch (e) {
      console.log(JSON.stringify({ id, error: String(e), errors }));
    }
  }
  await server.kill();
  process.exit(0);
})().catch((e) => { console.error(e); process.exit(1); });
