/** The dashboard: signs in, then shows the page that the address names. */

import { Api } from "./api.js";
import { BuildPage } from "./build_page.js";
import { BuildsPage } from "./builds_page.js";
import { fill, h, heading } from "./dom.js";
import { NewPage } from "./new_page.js";
import { parse } from "./router.js";
import { Session } from "./session.js";
import { footer, showWhere, topBar } from "./shell.js";
import { Shortcuts } from "./shortcuts.js";
import { askAgain, signInPage } from "./sign_in_page.js";
import { dressTab } from "./status.js";
import { nextTheme, restoreTheme } from "./theme.js";

/** @typedef {{api: Api, session: Session, shortcuts: Shortcuts}} Parts what pages work with */

const app = /** @type {HTMLElement} */ (document.getElementById("app"));

class Dashboard {
  /** @param {Session} session */
  constructor(session) {
    const shortcuts = new Shortcuts();
    this.parts = { api: new Api(session), session, shortcuts };
    this.bar = topBar(this.parts);
    /** @type {any} */
    this.page = null;
    this.place = h("div", { class: "place" });
    this.foot = footer(shortcuts);
    session.ask = () => askAgain(session);
    shortcuts.set("Everywhere", [
      { keys: "g b", words: "Go to the builds", act: () => (location.hash = "#/") },
      { keys: "n", words: "New build", act: () => (location.hash = "#/new") },
      { keys: "t", words: "Light, dark, or as the system has it", act: nextTheme },
      { keys: "?", words: "This list", act: () => shortcuts.list() },
    ]);
    fill(app, this.bar, this.place, this.foot);
    window.addEventListener("hashchange", () => this.show(true));
    this.show(false);
  }

  /** @param {boolean} moved from another page, so that the focus has to follow */
  show(moved) {
    const route = parse(location.hash);
    if (route.page === "build" && this.page instanceof BuildPage && this.page.id === route.id) {
      this.page.setLines(route.lines);
      return;
    }
    this.page?.close();
    this.page = this.make(route);
    showWhere(this.bar, route.page);
    this.foot.hidden = route.page === "build"; // the log goes down to the window's edge
    fill(this.place, this.page.element);
    if (moved) {
      window.scrollTo(0, 0);
      (this.page.element.querySelector("h1") ?? this.page.element).focus({ preventScroll: true });
    }
  }

  /** @param {import("./router.js").Route} route */
  make(route) {
    if (route.page === "builds") return new BuildsPage(this.parts, route.query);
    if (route.page === "new") return new NewPage(this.parts, route.query);
    if (route.page === "build") return new BuildPage(this.parts, route);
    dressTab("Nothing here");
    const element = h("main", { id: "main", class: "page", tabindex: "-1" }, h("div", { class: "lone" }, heading("Nothing is here"), h("a", { class: "button", href: "#/" }, "All builds")));
    return { element, close() {} };
  }
}

async function begin() {
  restoreTheme();
  // The address after the `#` is a route, so this link cannot be one.
  document.getElementById("skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main")?.focus();
  });
  const session = new Session();
  try {
    const how = await session.begin();
    if (how === "in") new Dashboard(session);
    else if (how === "out") fill(app, signInPage(session, { signedOut: location.hash === "#/signed-out" }));
    else if (how === "closing") fill(app, h("main", { id: "main", class: "sign-in" }, h("p", {}, "You are signed in; this window can be closed.")));
  } catch (error) {
    fill(app, signInPage(session, { trouble: /** @type {Error} */ (error).message }));
  }
}

begin();
