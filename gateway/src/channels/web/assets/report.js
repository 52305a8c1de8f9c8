// 市民页面脚本:没有它,表单也能用。The form works without this; with it there are previews, position,
// a draft that survives, and a second try when the network fails.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const by = (id) => document.getElementById(id);
  const head = by("head");
  if (head) {
    word(head);
    return;
  }
  const form = by("report");
  if (!form) return;
  const say = JSON.parse(form.dataset.say);
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const loadedAt = Date.now();

  // ---- receipt and other short pages ----
  function word(title) {
    title.focus({ preventScroll: true });
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(button.dataset.copy);
          button.textContent = button.dataset.done;
        } catch {
          getSelection().selectAllChildren(button.parentElement.querySelector(".value"));
        }
      });
    }
    const sent = document.querySelector("[data-clear]");
    try {
      if (sent) localStorage.removeItem(sent.dataset.clear);
    } catch { /* storage is off */ }
  }

  // ---- draft ----
  const KEPT = ["text", "place", "class", "lon", "lat"];
  const draftKey = form.dataset.draft;
  const DRAFT_MS = 24 * 3600 * 1000;
  let timer = 0;
  function save() {
    const draft = { at: Date.now() };
    for (const name of KEPT) draft[name] = form.elements[name].value;
    try {
      if (draft.text || draft.place || draft.lon) localStorage.setItem(draftKey, JSON.stringify(draft));
      else localStorage.removeItem(draftKey);
    } catch { /* storage is off or full: the page works without */ }
  }
  function restore() {
    let draft = null;
    try {
      draft = JSON.parse(localStorage.getItem(draftKey) || "null");
    } catch { /* not ours */ }
    if (!draft || Date.now() - draft.at > DRAFT_MS || form.elements.text.value) return;
    for (const name of KEPT) if (draft[name]) form.elements[name].value = draft[name];
    by("draft").hidden = false;
  }
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(save, 300);
  });
  addEventListener("pagehide", () => { if (!done) save(); });
  by("draft-clear").addEventListener("click", () => {
    for (const name of KEPT) form.elements[name].value = "";
    by("draft").hidden = true;
    pinOff();
    save();
    form.elements.text.focus();
  });

  // ---- photos ----
  const input = by("files");
  const shots = by("shots");
  const filesMax = Number(form.dataset.filesMax);
  const bytesMax = Number(form.dataset.bytesMax);
  let files = [];
  input.addEventListener("change", () => {
    setError("files", "");
    for (const file of input.files) {
      if (files.length >= filesMax) {
        setError("files", fill(say.many, { n: filesMax }));
        break;
      }
      const size = files.reduce((sum, f) => sum + f.size, file.size);
      if (size > bytesMax) setError("files", fill(say.large, { name: file.name }));
      else files.push(file);
    }
    input.value = "";
    show();
  });
  function show() {
    for (const old of shots.querySelectorAll("img, video")) URL.revokeObjectURL(old.src);
    shots.replaceChildren(...files.map((file, n) => {
      const item = document.createElement("li");
      const shot = document.createElement(file.type.startsWith("video/") ? "video" : "img");
      shot.src = URL.createObjectURL(file);
      if (shot.tagName === "IMG") shot.alt = file.name;
      else shot.muted = true;
      const remove = document.createElement("button");
      remove.type = "button";
      const cross = document.createElement("span");
      cross.textContent = "×";
      cross.setAttribute("aria-hidden", "true");
      remove.append(cross);
      remove.setAttribute("aria-label", fill(say.remove, { n: n + 1 }));
      remove.addEventListener("click", () => {
        files.splice(n, 1);
        show();
        input.focus();
      });
      item.append(shot, remove);
      return item;
    }));
    by("add").hidden = files.length >= filesMax;
    by("add").parentElement.classList.toggle("few", files.length > 0);
  }

  // ---- position ----
  const METRE = 1 / 111320;
  const ground = by("ground");
  const bounds = ground.dataset.bounds ? ground.dataset.bounds.split(",").map(Number) : null;
  let view = null;
  if (bounds) {
    const picture = document.createElement("img");
    picture.src = "/r/map";
    picture.alt = "";
    picture.addEventListener("load", () => draw());
    ground.classList.add("mapped");
    ground.prepend(picture);
    by("pin").hidden = false;
    view = { west: bounds[0], south: bounds[1], east: bounds[2], north: bounds[3] };
  }
  const at = () => {
    const [lon, lat] = [parseFloat(by("lon").value), parseFloat(by("lat").value)];
    return Number.isFinite(lon) && Number.isFinite(lat) ? { lon, lat } : null;
  };
  function around(lon, lat, accuracy) {
    if (bounds) return;
    const half = Math.max(60, Math.min(accuracy * 1.6, 2000)) * METRE;
    const wide = half * (ground.clientWidth || 320) / (ground.clientHeight || 208) / Math.cos(lat * Math.PI / 180);
    view = { west: lon - wide, east: lon + wide, south: lat - half, north: lat + half, accuracy, lon, lat };
  }
  function put(lon, lat) {
    if (view) {
      lon = Math.min(view.east, Math.max(view.west, lon));
      lat = Math.min(view.north, Math.max(view.south, lat));
    }
    by("lon").value = lon.toFixed(6);
    by("lat").value = lat.toFixed(6);
    draw();
    save();
  }
  function draw() {
    const where = at();
    by("needle").hidden = !where;
    by("where").textContent = where ? where.lat.toFixed(5) + ", " + where.lon.toFixed(5) : "";
    if (!where || !view) return;
    const needle = by("needle").style;
    needle.left = 100 * (where.lon - view.west) / (view.east - view.west) + "%";
    needle.top = 100 * (view.north - where.lat) / (view.north - view.south) + "%";
    if (!bounds) grid();
  }
  function grid() {
    const [width, height] = [ground.clientWidth, ground.clientHeight];
    if (!width) return;
    const metres = (view.north - view.south) / METRE;
    const step = [10, 20, 50, 100, 200, 500, 1000].find((s) => metres / s <= 8) || 2000;
    const gap = height * step / metres;
    let path = "";
    for (let x = (width / 2) % gap; x < width; x += gap) path += "M" + x + " 0V" + height;
    for (let y = (height / 2) % gap; y < height; y += gap) path += "M0 " + y + "H" + width;
    const svg = ground.querySelector(".grid");
    const ns = "http://www.w3.org/2000/svg";
    const lines = document.createElementNS(ns, "path");
    lines.setAttribute("d", path);
    const ring = document.createElementNS(ns, "circle");
    ring.setAttribute("cx", width / 2);
    ring.setAttribute("cy", height / 2);
    ring.setAttribute("r", Math.max(6, height * view.accuracy / metres));
    svg.replaceChildren(lines, ring);
    by("scale").textContent = "▦ " + step + " " + say.metres;
  }
  function pinOff() {
    by("lon").value = by("lat").value = "";
    if (!bounds) by("pin").hidden = true;
    state("", "");
    draw();
  }
  function state(text, tone) {
    const status = by("located");
    status.textContent = text;
    status.className = "status " + tone;
  }
  by("pin-remove").addEventListener("click", () => { pinOff(); save(); by("locate").focus(); });
  by("locate").addEventListener("click", () => {
    if (!navigator.geolocation) return state(say.failed_locate, "bad");
    state(say.locating, "");
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => {
        by("pin").hidden = false;
        around(coords.longitude, coords.latitude, coords.accuracy);
        put(coords.longitude, coords.latitude);
        state(say.located + " · " + fill(say.precise, { n: Math.max(1, Math.round(coords.accuracy)) }), "good");
        setError("place", "");
      },
      (error) => state(error.code === 1 ? say.denied : say.failed_locate, "bad"),
      { enableHighAccuracy: true, timeout: 15000, maximumAge: 30000 });
  });
  function dragged(event) {
    if (!view) return;
    const box = ground.getBoundingClientRect();
    put(view.west + (event.clientX - box.left) / box.width * (view.east - view.west),
        view.north - (event.clientY - box.top) / box.height * (view.north - view.south));
  }
  ground.addEventListener("pointerdown", (event) => { ground.setPointerCapture(event.pointerId); dragged(event); });
  ground.addEventListener("pointermove", (event) => { if (event.buttons) dragged(event); });
  ground.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (!step || !view) return;
    event.preventDefault();
    const where = at() || { lon: (view.west + view.east) / 2, lat: (view.south + view.north) / 2 };
    put(where.lon + step[0] * 5 * METRE / Math.cos(where.lat * Math.PI / 180), where.lat + step[1] * 5 * METRE);
  });

  // ---- errors ----
  function setError(name, text) {
    const place = by("e-" + name);
    if (place) place.textContent = text;
    const field = form.elements[name];
    if (field && name !== "files") {
      if (text) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
  }
  function complain(errors) {
    for (const name of ["files", "place", "text", "phone"]) setError(name, "");
    const list = document.createElement("ul");
    for (const { field, message } of errors) {
      const item = document.createElement("li");
      if (field && by(field)) {
        setError(field, message);
        const link = document.createElement("a");
        link.href = "#" + field;
        link.textContent = message;
        link.addEventListener("click", (event) => { event.preventDefault(); by(field).focus(); });
        item.append(link);
      } else {
        item.textContent = message;
      }
      list.append(item);
    }
    const title = document.createElement("strong");
    title.textContent = say.errors;
    by("errors").replaceChildren(title, list);
    by("errors").hidden = false;
    by("errors").focus();
  }

  // ---- sending ----
  let done = false;
  let busy = false;
  function status(text, tone) {
    by("status").textContent = text;
    by("status").className = "status " + tone;
  }
  function lost(text) {
    busy = false;
    by("send").disabled = false;
    by("send").textContent = say.retry;
    by("progress").hidden = true;
    status(text, "bad");
    save();
  }
  function send() {
    const data = new FormData(form);
    data.delete("files");
    for (const file of files) data.append("files", file, file.name);
    const request = new XMLHttpRequest();
    request.open("POST", location.href);
    request.setRequestHeader("Accept", "application/json");
    request.timeout = 300000;
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      const percent = Math.round(100 * event.loaded / event.total);
      by("progress").hidden = false;
      by("bar").style.width = percent + "%";
      if (percent < 100) status(fill(say.percent, { n: percent }), "");
    });
    for (const kind of ["error", "abort", "timeout"]) {
      request.addEventListener(kind, () => lost(navigator.onLine ? say.failed : say.offline));
    }
    request.addEventListener("load", () => {
      let answer = null;
      try {
        answer = JSON.parse(request.responseText);
      } catch { /* a proxy's page */ }
      if (request.status === 200 && answer && answer.receipt) {
        done = true;
        try {
          localStorage.removeItem(draftKey);
        } catch { /* storage is off */ }
        location.assign(answer.receipt);
        return;
      }
      if (request.status === 200 && answer && answer.stored) {
        done = true;
        try {
          localStorage.removeItem(draftKey);
        } catch { /* storage is off */ }
        by("progress").hidden = true;
        by("send").hidden = true;
        status(answer.message, "good");
        return;
      }
      if (answer && answer.errors && request.status < 500) {
        lost("");
        by("send").textContent = say.send;
        complain(answer.errors);
        return;
      }
      lost(answer && answer.errors ? answer.errors[0].message : say.failed);
    });
    request.send(data);
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    by("errors").hidden = true;
    by("send").disabled = true;
    status(say.sending, "");
    save();
    // A form sent in its first moments is taken for a program's.
    setTimeout(send, Math.max(0, Number(form.dataset.waitMs) - (Date.now() - loadedAt)));
  });
  addEventListener("online", () => { if (by("send").textContent === say.retry) status("", ""); });

  restore();
  if (at()) {
    by("pin").hidden = false;
    around(at().lon, at().lat, 30);
  }
  draw();
})();
