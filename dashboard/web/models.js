// What serves since when, what it is proven in, and what the gate decided.

import { data } from "./data.js";
import { clock } from "./format.js";
import { el, zone } from "./view.js";

export class Models {
  constructor(place) {
    this.list = el("div");
    place.replaceChildren(el("h1", {}, "Models"), this.list);
  }

  async refresh() {
    const [models, decisions] = await Promise.all([data.models(), data.decisions()]);
    const held = JSON.stringify([models, decisions, zone()]);
    if (held === this.held) return; // a text that somebody selects stays
    this.held = held;
    if (!models.length) {
      this.list.replaceChildren(el("p", {}, "No model yet. ", command("candlecast train"), " trains one from the bars that there are; the gate puts it in service if it is better than the last price."));
      return;
    }
    const serving = models.filter((model) => model.is_champion);
    this.list.replaceChildren(
      el("h2", {}, "In service"), ...(serving.length ? serving.map((model) => this.card(model, decisions)) : [el("p", {}, "None: bars are archived, nothing is predicted. Below is why none passed the gate.")]),
      el("h2", {}, "All models"), ...models.filter((model) => !model.is_champion).map((model) => this.card(model, decisions)),
      el("h2", {}, "Decisions"), ...decisions.map((one) => el("p", { class: "decision" }, el("time", {}, clock(one.decided_at, zone())), ` ${one.action} of `, el("code", {}, one.challenger), `: ${one.promoted ? "in service" : "not in service"}; `, el("bdi", {}, one.reason))));
  }

  card(model, decisions) {
    const since = decisions.find((one) => one.promoted && model.version.replace("-unproven", "") === one.challenger)?.decided_at ?? model.registered_at;
    const proven = model.version.endsWith("-unproven") ? "Unproven: it never beat the last price by more than chance." : model.reason;
    const text = model.is_champion ? `since ${clock(since, zone())}` : `registered ${clock(model.registered_at, zone())}`;
    return el("article", { class: "model" }, el("h3", {}, model.version, " ", el("small", {}, text)), el("p", {}, el("bdi", {}, proven || "Not judged yet.")),
      command(model.is_champion ? `candlecast rollback ${model.interval}` : `candlecast promote ${model.version.replace("-unproven", "")} --reason "..."`));
  }
}

/** A command to copy. */
function command(text) {
  const said = el("span", { role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = " copied";
    } catch { // without https there is no clipboard
      said.textContent = " select it to copy";
    }
  };
  return el("span", { class: "command" }, el("code", {}, text), el("button", { type: "button", onclick: copy, "aria-label": `Copy: ${text}` }, "Copy"), said);
}
