// The console's page in Chromium, by keyboard alone: takes the waiting citizen, does with the call what an operator
// does, hands it to 1002 and supervises it as a shift leader. Prints what it saw as one line of JSON.
//   node console.cjs PEERS CHROMIUM ORIGIN TOKEN SHOTS
"use strict";
const path = require("path");
const [peers, executablePath, origin, token, shots] = process.argv.slice(2);
const { chromium } = require(path.join(peers, "node_modules", "playwright-core"));
const axe = require.resolve(path.join(peers, "node_modules", "axe-core", "axe.min.js"));

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const seen = { errors: [], violations: [], steps: [] };
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "zh-CN", bypassCSP: true });
    await context.addCookies([{ name: "hotline_session", value: token, domain: new URL(origin).hostname, path: "/" }]);
    const page = await context.newPage();
    page.setDefaultTimeout(30000);
    page.on("pageerror", (e) => seen.errors.push(String(e)));
    const judge = async (step) => {
      await page.screenshot({ path: path.join(shots, `console-${step}.png`), fullPage: true });
      await page.addScriptTag({ path: axe });
      const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      seen.violations.push(...found.violations.map((v) => `${step}: ${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`));
    };
    const text = (id, wanted) => page.waitForFunction(([id, wanted]) => document.getElementById(id).textContent.includes(wanted), [id, wanted]);
    const lacks = (id, wanted) => page.waitForFunction(([id, wanted]) => !document.getElementById(id).textContent.includes(wanted), [id, wanted]);
    const pressed = (id, on) => page.waitForFunction(([id, on]) => document.getElementById(id).getAttribute("aria-pressed") === on, [id, String(on)]);
    const key = (name) => page.keyboard.press(name);
    const button = async (name, scope = page) => {
      await scope.getByRole("button", { name }).first().focus();
      await key("Enter");
    };
    const write = async (selector, words) => {
      await page.locator(selector).focus();
      await page.keyboard.type(words);
    };
    const done = (step) => seen.steps.push(step);

    await page.goto(origin);
    await page.locator("#desk").waitFor();
    const waits = page.locator("#waiting tr").filter({ hasText: "main 1" });
    await waits.waitFor();
    await page.locator("#openings tr").filter({ hasText: "main" }).filter({ hasText: "按服务时段" }).waitFor();
    await key("o");
    await page.waitForFunction(() => document.activeElement.id === "opening-queue");
    await write("#opening-form [name=reason]", "设备检修");
    await key("Enter");
    await page.locator("#openings tr").filter({ hasText: "人工关闭" }).filter({ hasText: "设备检修" }).waitFor();
    await judge("0-waiting");
    await button("恢复按时段", page.locator("#openings"));
    await page.locator("#openings tr").filter({ hasText: "按服务时段" }).waitFor();
    done("closed and opened");
    await page.locator("#seat-auto").focus();
    await key("Space");
    await page.waitForFunction(() => document.getElementById("seat-auto").checked);
    await key("Space");
    await button("移到队首 To the front", waits);
    await text("line-note", "移到队首 To the front: 完成");
    await button("示闲 Ready");
    await page.locator("#call").waitFor();
    await text("call-title", "通话");
    done("answered");
    await key("h");
    await pressed("call-hold", true);
    await key("h");
    await pressed("call-hold", false);
    done("held");
    await key("m");
    await pressed("call-mute", true);
    await key("m");
    await pressed("call-mute", false);
    done("muted");
    await text("call-facts", "录音中");
    await key("p");
    await text("call-facts", "录音暂停");
    await key("p");
    await lacks("call-facts", "录音暂停");
    done("paused");
    await key("q");
    await pressed("call-help", true);
    await key("q");
    await pressed("call-help", false);
    done("helped");
    await key("d");
    await page.keyboard.type("19#");
    await key("Enter");
    await page.waitForFunction(() => document.getElementById("call-digits").value === "");
    await key("Escape");
    done("keyed");
    await write("#call-to", "1002");
    await key("Escape");
    await key("c");
    await text("call-guests", "咨询");
    await lacks("call-guests", "振铃");
    await judge("1-consultation");
    await key("j");
    await text("call-guests", "三方");
    await button("请退出 Dismiss");
    await lacks("call-guests", "三方");
    done("three-way");
    await key("x");
    await text("call-note", "再按一次");
    await key("Shift+X");
    await page.locator("#call").waitFor({ state: "hidden" });
    done("handed on");

    const row = page.locator("#floor-calls tr").filter({ hasText: "受理员1002" });
    await row.waitFor();
    await button("监听 Listen", row);
    await text("floor-note", "监听 Listen: 完成");
    await button("强插 Barge", row);
    await page.locator("#why[open]").waitFor();
    await page.keyboard.type("协助处置");
    await key("Enter");
    await text("floor-note", "强插 Barge: 完成");
    done("barged in");
    await write("#broadcast-form input", "暴雨红色预警");
    await key("Enter");
    await text("broadcast", "暴雨红色预警");
    done("broadcast");
    await write("#shift-form [name=name]", "早班");
    await page.locator("#shift-form [name=from]").fill("2030-01-01T08:00");
    await page.locator("#shift-form [name=to]").fill("2030-01-01T16:00");
    await write("#shift-form [name=members]", "1001:值班长 1002");
    await key("Enter");
    await text("floor-note", "完成");
    done("planned");
    await judge("2-floor");
    await key("Escape");
    await page.locator("h1").click();
    await key("g");
    await page.waitForFunction(() => document.activeElement.id === "figures-days");
    await button("查看 Show");
    const first = page.locator("#figures tr").filter({ hasText: "首次解决率" });
    await first.waitFor();
    seen.firstContact = await first.locator("td").nth(3).textContent();
    seen.answered = await page.locator("#figures tr").filter({ hasText: "接通率(全部来电)" }).locator("td").nth(3).textContent();
    await judge("3-figures");
  } catch (e) {
    seen.errors.push(String(e));
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(seen));
})();
