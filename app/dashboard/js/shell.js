/** What stands around every page: the name, the ways, and whoever is signed in. */

import { h } from "./dom.js";
import { icon, mark } from "./icons.js";
import { themeButton } from "./theme.js";

/** @param {import("./main.js").Parts} parts */
export function topBar({ session, shortcuts }) {
  const user = session.user?.name;
  return h(
    "header",
    { class: "top" },
    h("a", { class: "brand", href: "#/", "aria-label": "Baton, all builds" }, mark(), "Baton"),
    h("nav", { "aria-label": "Main" }, h("a", { href: "#/", "data-page": "builds" }, "Builds"), h("a", { href: "#/new", "data-page": "new" }, "New build")),
    h(
      "div",
      { class: "top-tools" },
      h("button", { class: "tool bare wide-only", type: "button", "aria-label": "Keyboard shortcuts", title: "Keyboard shortcuts (?)", onclick: () => shortcuts.list() }, icon("keyboard")),
      themeButton(),
      user ? h("span", { class: "who", title: session.user?.sub }, user) : null,
      h("button", { class: "tool", type: "button", onclick: () => session.signOut() }, "Sign out"),
    ),
  );
}

/** What is seldom wanted. @param {import("./shortcuts.js").Shortcuts} shortcuts */
export function footer(shortcuts) {
  return h(
    "footer",
    { class: "foot" },
    h("a", { href: "docs" }, "API reference"),
    h("button", { class: "plain", type: "button", onclick: () => shortcuts.list() }, "Keyboard shortcuts"),
  );
}

/** @param {HTMLElement} bar @param {string} page */
export function showWhere(bar, page) {
  for (const link of bar.querySelectorAll("nav a")) {
    if (link.getAttribute("data-page") === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
