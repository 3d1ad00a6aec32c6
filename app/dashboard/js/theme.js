/** Light or dark: as the system says, or as it was chosen. */

import { fill, h } from "./dom.js";
import { icon } from "./icons.js";

const KEY = "baton.theme";
const ORDER = ["system", "light", "dark"];
/** @type {Record<string, "half" | "sun" | "moon">} */
const PICTURES = { system: "half", light: "sun", dark: "moon" };

function chosen() {
  try {
    return localStorage.getItem(KEY) ?? "system";
  } catch {
    return "system"; // storage is forbidden; then it is as the system says
  }
}

/** @param {string} theme */
function apply(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function restoreTheme() {
  apply(chosen());
}

/** On to the next one; returns it. */
export function nextTheme() {
  const next = ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length];
  try {
    if (next === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // it is forgotten with the page
  }
  apply(next);
  document.dispatchEvent(new CustomEvent("theme", { detail: next }));
  return next;
}

/** The button that changes it. */
export function themeButton() {
  const button = h("button", { class: "tool bare", type: "button", onclick: nextTheme });
  const show = (/** @type {string} */ theme) => {
    fill(button, icon(PICTURES[theme] ?? "half"));
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = `Theme: ${theme} (t)`;
  };
  document.addEventListener("theme", (event) => show(/** @type {CustomEvent} */ (event).detail));
  show(chosen());
  return button;
}
