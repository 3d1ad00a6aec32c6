/** Keys that do things, and the list of them. */

import { h } from "./dom.js";
import { openDialog } from "./dialog.js";

/** @typedef {{keys: string, words: string, act: () => void}} Shortcut */

/** Milliseconds between the two keys of `g b`. */
const PAIR = 900;

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
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
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
    openDialog({ title: "Keyboard shortcuts", body: groups, wide: true });
  }
}
