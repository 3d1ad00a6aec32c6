/** Keys that do things, and the list of them. */

import { h } from "./dom.js";
import { openDialog } from "./dialog.js";

/** @typedef {{keys: string, words: string, act: () => void}} Shortcut */

/** Milliseconds between the two keys of `g b`. */
const PAIR = 900;
/** Where it is kept that somebody does not want them: who speaks to the machine, or whose hands are not
 * sure, presses single keys without meaning to (WCAG 2.2, 2.1.4). */
const KEY = "baton.keys";

function wanted() {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true; // storage is forbidden
  }
}

/** @param {boolean} on */
function want(on) {
  try {
    if (on) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, "off");
  } catch {
    // it stays as it was
  }
}

export class Shortcuts {
  constructor() {
    /** @type {Map<string, Shortcut[]>} by the part of the page that they belong to */
    this.groups = new Map();
    this.first = "";
    this.timer = 0;
    document.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** @param {string} group @param {Shortcut[]} shortcuts none: the group goes */
  set(group, shortcuts) {
    if (shortcuts.length) this.groups.set(group, shortcuts);
    else this.groups.delete(group);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !wanted()) return;
    if (document.querySelector("dialog[open]")) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest("input, textarea, select, [contenteditable]")) return;
    const pair = this.first ? `${this.first} ${event.key}` : event.key;
    const all = [...this.groups.values()].flat();
    const found = all.find((each) => each.keys === pair) ?? all.find((each) => each.keys === event.key);
    clearTimeout(this.timer);
    this.first = "";
    if (found) {
      event.preventDefault();
      found.act();
    } else if (all.some((each) => each.keys.startsWith(`${event.key} `))) {
      this.first = event.key;
      this.timer = window.setTimeout(() => (this.first = ""), PAIR);
    }
  }

  /** Show all of them. */
  list() {
    const groups = [...this.groups].map(([name, shortcuts]) =>
      h(
        "section",
        {},
        h("h3", {}, name),
        h(
          "dl",
          { class: "keys" },
          shortcuts.map(({ keys, words }) =>
            h("div", {}, h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, words)),
          ),
        ),
      ),
    );
    const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", checked: wanted(), onchange: () => want(box.checked) }));
    const actions = [h("label", { class: "check" }, box, "Single keys do this"), h("a", { href: "docs" }, "API reference")];
    openDialog({ title: "Keyboard shortcuts", body: groups, actions, wide: true });
  }
}
