/** Words for those who do not see what changed, and short notes for those who do. */

import { h, say } from "./dom.js";

/** Milliseconds that a note stays. */
const STAYS = 5000;

/** @param {string} words @param {{seen?: boolean, bad?: boolean}} [how] `seen`: show a note as well */
export function announce(words, { seen = false, bad = false } = {}) {
  const announcer = /** @type {HTMLElement} */ (document.getElementById("announcer"));
  say(announcer, words);
  if (!seen) return;
  const note = h("div", { class: bad ? "toast bad" : "toast", "aria-hidden": "true" }, words);
  document.querySelector(".toast")?.remove();
  document.body.append(note);
  setTimeout(() => note.remove(), STAYS);
}
