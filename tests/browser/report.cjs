// Fills in the report page with Chromium as a citizen does, and prints what it saw as one line of JSON.
//   node report.cjs PEERS CHROMIUM URL WIDTH PHOTO SHOTS NAME
"use strict";
const path = require("path");
const [peers, executablePath, url, width, photo, shots, name] = process.argv.slice(2);
const { chromium } = require(path.join(peers, "node_modules", "playwright-core"));
const axe = require.resolve(path.join(peers, "node_modules", "axe-core", "axe.min.js"));

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const seen = { errors: [], outside: [] };
  try {
    const context = await browser.newContext({
      viewport: { width: Number(width), height: Number(width) < 600 ? 740 : 900 },
      deviceScaleFactor: 2,
      locale: "zh-CN",
      geolocation: { latitude: 31.81071, longitude: 119.97412, accuracy: 18 },
      permissions: ["geolocation"],
      hasTouch: Number(width) < 600,
      // The page's own policy must let the checker's script be put in.
      bypassCSP: true,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(20000);
    const home = new URL(url).origin;
    page.on("request", (r) => { if (!r.url().startsWith(home) && !r.url().startsWith("blob:")) seen.outside.push(r.url()); });
    page.on("pageerror", (e) => seen.errors.push(String(e)));
    page.on("console", (m) => { if (m.type() === "error") seen.errors.push(m.text()); });
    const shot = (step) => page.screenshot({ path: path.join(shots, `${name}-${width}-${step}.png`), fullPage: true });
    const judge = async (step) => {
      await page.addScriptTag({ path: axe });
      const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      seen[step] = found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
      seen.scrolls = (seen.scrolls || false) ||
        await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    };

    await page.goto(url);
    await shot("1-empty");
    await judge("axe_empty");

    // Nothing filled in: the page says what is missing, where it is missing.
    await page.getByRole("button", { name: "提交", exact: true }).click();
    await page.getByRole("alert").getByRole("link").first().waitFor();
    seen.alert = await page.getByRole("alert").innerText();
    seen.focused_alert = await page.evaluate(() => document.activeElement.id);
    await shot("2-errors");
    await judge("axe_errors");

    await page.getByRole("button", { name: "拍照或选择照片" }).setInputFiles(photo);
    await page.getByRole("button", { name: "使用我的位置" }).click();
    await page.getByText("已定位").waitFor();
    await page.locator("#ground").focus();
    await page.keyboard.press("ArrowUp");
    await page.getByRole("textbox", { name: "在哪里" }).fill("文三路与学院路口东北角人行道");
    await page.getByRole("textbox", { name: "发生了什么" }).fill("井盖缺失,晚上没有路灯,已经有人绊倒。");
    await page.getByRole("combobox", { name: "问题类别" }).selectOption({ label: "井盖缺失破损" });
    const phone = page.getByRole("textbox", { name: "联系电话" });
    if (await phone.count()) await phone.fill("13812345678");
    seen.where = await page.locator("#where").innerText();

    // A reload loses nothing but the photos.
    await page.waitForFunction(() => localStorage.length > 0);
    await page.reload();
    await page.getByText("已恢复上次未提交的内容").waitFor();
    seen.restored = await page.getByRole("textbox", { name: "发生了什么" }).inputValue();
    await page.getByRole("button", { name: "拍照或选择照片" }).setInputFiles(photo);
    await page.locator("#shots img").waitFor();
    await shot("3-filled");
    await judge("axe_filled");

    // The network fails once; what was written stays, and the second try arrives.
    await page.route("**/r**", (route) => route.request().method() === "POST" ? route.abort() : route.continue());
    await page.getByRole("button", { name: "提交", exact: true }).click();
    await page.getByRole("button", { name: "重试" }).waitFor();
    seen.errors = seen.errors.filter((e) => !e.includes("ERR_FAILED") && !e.includes("422"));
    await page.unroute("**/r**");
    await page.getByRole("button", { name: "重试" }).click();
    await page.getByText("受理编号", { exact: true }).waitFor();
    seen.acceptance_no = await page.locator(".value").first().innerText();
    seen.query_code = await page.locator(".value.code").innerText();
    await shot("4-receipt");
    await judge("axe_receipt");
    seen.draft = await page.evaluate(() => localStorage.length);
    console.log(JSON.stringify(seen));
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
