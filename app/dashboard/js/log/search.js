/** The search in a log: the field, how many lines match, and which of them is the current one. */

import { h, say } from "../dom.js";
import { icon } from "../icons.js";
import { MOST } from "./find.js";

/** Milliseconds after the last key, and after the last line that came. */
const PATIENCE = 160;
const AGAIN = 1000;

export class LogSearch {
  /** @param {import("./model.js").LogModel} model @param {(line: number) => void} show */
  constructor(model, show) {
    this.model = model;
    this.show = show;
    this.needle = "";
    this.exact = false;
    /** @type {Uint32Array} */
    this.matches = new Uint32Array();
    this.at = -1;
    this.timer = 0;
    this.input = /** @type {HTMLInputElement} */ (
      h("input", {
        type: "search", class: "search-text", placeholder: "Search the log", "aria-label": "Search the log",
        autocomplete: "off", spellcheck: "false", enterkeyhint: "search", title: "Search (/)",
        oninput: () => this.later(PATIENCE, true),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.pressed(event),
      })
    );
    this.count = h("span", { class: "search-count", role: "status" });
    this.caseTool = h("button", { class: "tool bare search-case", type: "button", "aria-pressed": "false", "aria-label": "Match case", title: "Match case", onclick: () => this.setExact(!this.exact) }, "Aa");
    const step = (/** @type {"up" | "down"} */ picture, /** @type {string} */ words, /** @type {number} */ way) =>
      h("button", { class: "tool bare", type: "button", "aria-label": words, title: words, onclick: () => this.step(way) }, icon(picture));
    this.steps = h("span", { class: "search-steps", hidden: true }, step("up", "Previous match", -1), step("down", "Next match", 1));
    this.element = h("div", { class: "search", role: "search" }, icon("search"), this.input, this.caseTool, this.count, this.steps);
  }

  /** The line of the current match; -1 when there is none. */
  get current() {
    return this.at >= 0 ? this.matches[this.at] : -1;
  }

  /** @param {boolean} exact capital letters and small ones differ */
  setExact(exact) {
    this.exact = exact;
    this.caseTool.setAttribute("aria-pressed", String(exact));
    if (this.input.value) this.run(true);
  }

  /** There are more lines than were searched. */
  stale() {
    if (this.needle && !this.timer) this.later(AGAIN, false);
  }

  /** @param {number} wait @param {boolean} anew */
  later(wait, anew) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      this.run(anew);
    }, wait);
  }

  /** @param {boolean} anew whether to go to the first match */
  async run(anew) {
    const text = this.input.value;
    this.needle = this.exact ? text : text.toLowerCase();
    if (!text) {
      this.matches = new Uint32Array();
      this.at = -1;
      this.tell();
      return this.show(-1);
    }
    if (anew) say(this.count, "…");
    const found = await this.model.find(text, this.exact);
    if (!found) return;
    this.matches = found;
    if (anew) this.at = found.length ? 0 : -1;
    this.tell();
    if (anew) this.show(this.current);
  }

  tell() {
    this.steps.hidden = !this.needle;
    const all = this.matches.length >= MOST ? `${MOST.toLocaleString("en")}+` : this.matches.length.toLocaleString("en");
    const words = this.matches.length ? `${(this.at + 1).toLocaleString("en")} of ${all}` : "None";
    say(this.count, this.needle ? words : "");
  }

  /** @param {number} way */
  step(way) {
    if (!this.matches.length) return;
    this.at = (this.at + way + this.matches.length) % this.matches.length;
    this.tell();
    this.show(this.current);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
      this.input.value = "";
      this.run(true);
      this.input.blur();
    } else return;
    event.preventDefault();
  }
}
