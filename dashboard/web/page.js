// The page: which view, how often it looks, and whether everything runs.

import { Cards } from "./cards.js";
import { data } from "./data.js";
import { Models } from "./models.js";
import { Series } from "./series.js";
import { address, choices, choose, el, readAddress, say } from "./view.js";

const main = document.getElementById("main"), status = document.getElementById("status");
const LOOK_MS = 10_000, SLOW_LOOK_MS = 30_000;
let view = null, shown = "";

function open() {
  readAddress();
  history.replaceState(null, "", address({})); // a link holds every choice
  const wanted = choices.v === "one" ? choices.s : choices.v;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === choices.v) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (wanted !== shown) {
    view?.close?.();
    if (shown) main.focus({ preventScroll: true });
    shown = wanted;
    view = choices.v === "one" ? new Series(main) : choices.v === "models" ? new Models(main) : new Cards(main);
    document.title = choices.v === "one" ? `${choices.s} · Candlecast` : "Candlecast";
    scrollTo(0, 0);
  }
  buttons();
  refresh(view);
}

async function refresh(one) {
  try {
    await one.refresh();
    main.querySelector(":scope > .problem")?.remove();
  } catch (error) {
    if (one !== view) return;
    const text = data.lost ? "The server does not answer; this page goes on by itself once it does." : error.message;
    main.querySelector(":scope > .problem")?.remove();
    main.prepend(el("p", { class: "problem", role: "alert" }, text));
  }
}

/** One line: all is well, or the first cause with its remedy; the others behind it. */
async function running() {
  let found;
  try {
    found = await data.troubles();
  } catch (error) {
    const text = data.lost ? "The page's server does not answer." : `The page's server could not say: ${error.message}.`;
    found = [{ part: "server", text, remedy: "`candlecast dashboard` starts it; this page goes on by itself." }];
  }
  const text = found.map((one) => `${one.part}${one.text}${one.remedy}`).join();
  if (status.dataset.text === text) return;
  status.dataset.text = text;
  status.className = found.length ? "trouble" : "well";
  const [first, ...rest] = found;
  if (!first) status.replaceChildren(el("p", { role: "status" }, "Everything runs."));
  else status.replaceChildren(line(first), ...(rest.length ? [el("details", { open: status.querySelector("details")?.open }, el("summary", {}, `${rest.length} more`), ...rest.map(line))] : []));
}

function line({ part, text, remedy }) {
  const words = remedy.split("`").map((piece, at) => (at % 2 ? el("code", {}, piece) : piece));
  return el("p", { role: "status" }, el("strong", {}, `${part}: `), text, " ", ...words);
}

function buttons() {
  const zone = document.getElementById("zone"), theme = document.getElementById("theme");
  say(zone, choices.z === "local" ? "Local time" : "UTC");
  zone.setAttribute("aria-label", `Times: ${zone.textContent}. Change`);
  say(theme, dark() ? "Light" : "Dark");
  theme.setAttribute("aria-label", `${theme.textContent} colours`);
}

const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* a file has no storage everywhere */ }
  buttons();
  view?.restyle?.();
}

document.getElementById("theme").addEventListener("click", () => setTheme(dark() ? "light" : "dark"));
document.getElementById("zone").addEventListener("click", () => {
  choose({ z: choices.z === "local" ? "UTC" : "local" });
  buttons();
  if (view?.restyle) view.restyle(); else refresh(view);
});
try { const kept = localStorage.getItem("theme"); if (kept) document.documentElement.dataset.theme = kept; } catch { /* as above */ }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { buttons(); view?.restyle?.(); });
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", open);
data.follow((row) => (view?.predictedNow ?? view?.predicted)?.call(view, row));
setInterval(() => document.hidden || view?.tick?.(), 1_000);
setInterval(() => document.hidden || running(), LOOK_MS);
setInterval(() => document.hidden || refresh(view), SLOW_LOOK_MS);
setInterval(() => document.hidden || (data.lost && refresh(view)), LOOK_MS);
document.addEventListener("visibilitychange", () => document.hidden || refresh(view));
open();
running();
