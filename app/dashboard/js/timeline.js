/** A build's steps: how each went, and when and how long it ran, as bars on one scale. */

import { fill, h, say } from "./dom.js";
import { between, duration, now } from "./format.js";
import { STATES, sign } from "./status.js";

/** @typedef {import("./build.js").StepReport} StepReport */
/** @typedef {{sign: HTMLElement, name: HTMLElement, code: HTMLElement, took: HTMLElement, bar: HTMLElement,
 *   button: HTMLButtonElement, element: HTMLElement, shown: string, step: StepReport}} Row */

/** A step of which nothing has been heard. @param {string} name @returns {StepReport} */
function pending(name) {
  return { name, status: "pending", started_at: null, finished_at: null, exit_code: null, log_offset: null };
}

export class Timeline {
  /** @param {(index: number) => void} choose a step */
  constructor(choose) {
    this.choose = choose;
    this.list = h("ol", { class: "timeline" });
    this.element = h("section", { class: "card", "aria-label": "Steps" }, h("h2", {}, "Steps"), this.list);
    /** @type {import("./build.js").Build | null} */
    this.build = null;
    /** @type {Row[]} */
    this.rows = [];
  }

  /** @param {import("./build.js").Build} build */
  update(build) {
    this.build = build;
    const reported = build.steps.length ? build.steps : build.spec.steps.map(({ name }) => pending(name));
    while (this.rows.length > reported.length) this.rows.pop()?.element.remove();
    reported.forEach((step, index) => {
      const row = (this.rows[index] ??= this.add(index, step));
      row.step = step;
      if (row.shown !== step.status) {
        row.shown = step.status;
        fill(row.sign, sign(step.status), h("span", { class: "unseen" }, `${STATES[step.status].word}: `));
        row.bar.className = `bar ${STATES[step.status].tone}`;
        row.element.classList.toggle("waits", step.status === "pending" || step.status === "skipped");
      }
      say(row.name, step.name);
      row.button.disabled = !step.started_at;
      row.button.title = step.name;
      row.code.hidden = !step.exit_code;
      if (step.exit_code) say(row.code, `exit ${step.exit_code}`);
    });
    this.tick();
  }

  /** @param {number} index @param {StepReport} step @returns {Row} */
  add(index, step) {
    const sign = h("span", { class: "step-sign" });
    const name = h("span", { class: "step-name" });
    const code = h("span", { class: "step-code", hidden: true });
    const took = h("span", { class: "step-took" });
    const bar = h("span", { class: "bar" });
    const track = h("span", { class: "track", "aria-hidden": "true" }, bar);
    const button = h("button", { type: "button", onclick: () => this.choose(index) }, sign, name, code, took, track);
    const element = h("li", {}, button);
    this.list.append(element);
    return { sign, name, code, took, bar, button: /** @type {HTMLButtonElement} */ (button), element, shown: "", step };
  }

  /** Let what runs grow. */
  tick() {
    if (!this.build) return;
    const begin = Date.parse(this.build.started_at ?? "");
    const end = this.build.finished_at ? Date.parse(this.build.finished_at) : now();
    const whole = Math.max(1, end - begin);
    for (const { step, took, bar } of this.rows) {
      const from = step.started_at ? Date.parse(step.started_at) : NaN;
      const to = step.finished_at ? Date.parse(step.finished_at) : end;
      const ran = Number.isFinite(from) && Number.isFinite(begin);
      say(took, step.started_at ? duration(between(step.started_at, step.finished_at ?? this.build.finished_at)) : "");
      bar.hidden = !ran;
      if (!ran) continue;
      const left = Math.min(99, Math.max(0, ((from - begin) / whole) * 100));
      bar.style.left = `${left.toFixed(2)}%`;
      bar.style.width = `${Math.max(1, Math.min(100 - left, ((to - from) / whole) * 100)).toFixed(2)}%`;
    }
  }
}
