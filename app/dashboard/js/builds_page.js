/** All builds of whoever is signed in, newest first, as they change. */

import { announce } from "./announce.js";
import { BuildList } from "./build_list.js";
import { buildRow } from "./build_row.js";
import { fill, h, heading, reconcile } from "./dom.js";
import { plural } from "./format.js";
import { icon } from "./icons.js";
import { listAddress } from "./router.js";
import { FILTERS, STATES, dressTab } from "./status.js";

export class BuildsPage {
  /** @param {import("./main.js").Parts} parts @param {URLSearchParams} query */
  constructor({ api, shortcuts }, query) {
    this.query = query;
    this.status = FILTERS.includes(query.get("status") ?? "") ? query.get("status") : null;
    this.labels = query.getAll("label").filter(Boolean);
    /** @type {Map<string, ReturnType<typeof buildRow>>} */
    this.rows = new Map();
    this.list = new BuildList(api, { status: this.status, labels: this.labels }, () => this.show());
    this.rowsList = h("ol", { class: "build-rows", "aria-label": "Builds" });
    this.more = h("button", { class: "button", type: "button", onclick: () => this.list.more() }, "Show older builds");
    this.news = h("button", { class: "news", type: "button", hidden: true, onclick: () => this.takeNews() });
    this.state = h("div", { class: "list-state" });
    this.labelInput = /** @type {HTMLInputElement} */ (
      h("input", {
        type: "search", placeholder: "Label, like pr or pr: 17", "aria-label": "Filter by label",
        autocomplete: "off", autocapitalize: "none", spellcheck: "false", enterkeyhint: "search",
      })
    );
    this.element = this.make();
    this.timer = setInterval(() => this.tick(), 1000);
    shortcuts.set("Builds", [
      { keys: "j", words: "Next build", act: () => this.step(1) },
      { keys: "k", words: "Previous build", act: () => this.step(-1) },
      { keys: "/", words: "Filter by label", act: () => this.labelInput.focus() },
    ]);
    this.shortcuts = shortcuts;
    dressTab("Builds");
    this.show();
    this.list.start();
  }

  make() {
    const chip = (/** @type {string | null} */ status, /** @type {string} */ word) =>
      h(
        "a",
        { class: "chip", href: listAddress(status, this.labels), "aria-current": status === this.status ? "true" : null },
        word,
      );
    const byLabel = h(
      "form",
      {
        class: "label-filter",
        role: "search",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          const label = labelOf(this.labelInput.value);
          if (label) location.hash = listAddress(this.status, [...new Set([...this.labels, label])]);
        },
      },
      icon("search"),
      this.labelInput,
    );
    const chosen = this.labels.map((label) =>
      h(
        "a",
        { class: "chosen-label", href: listAddress(this.status, this.labels.filter((each) => each !== label)), "aria-label": `Label ${label}: take away`, title: "Take away" },
        label.replace(":", ": "),
        icon("cross"),
      ),
    );
    return h(
      "main",
      { id: "main", class: "page builds", tabindex: "-1" },
      h("div", { class: "page-head" }, heading("Builds"), h("a", { class: "button primary", href: "#/new" }, icon("plus"), "New build")),
      h(
        "div",
        { class: "filters" },
        h("nav", { class: "chips", "aria-label": "Filter by status" }, chip(null, "All"), FILTERS.map((status) => chip(status, STATES[status].word))),
        h("div", { class: "by-label" }, chosen, byLabel),
      ),
      this.news,
      this.rowsList,
      this.state,
    );
  }

  show() {
    const { builds, state, next, fresh } = this.list;
    reconcile(this.rowsList, builds, (build) => build.id, buildRow, this.rows);
    this.rowsList.hidden = builds.length === 0;
    const atTop = window.scrollY < 80;
    this.news.hidden = fresh.length === 0;
    if (fresh.length && atTop) return this.takeNews();
    this.news.textContent = `Show ${plural(fresh.length, "new build")}`;
    if (state === "loading") fill(this.state, skeleton(builds.length === 0));
    else if (state === "failed") fill(this.state, this.failed());
    else if (!builds.length && next) fill(this.state, this.further());
    else if (!builds.length) fill(this.state, this.status || this.labels.length ? nothingLikeThat() : firstSteps());
    else if (next) fill(this.state, this.more);
    else fill(this.state);
  }

  takeNews() {
    const count = this.list.takeFresh();
    announce(`${plural(count, "new build")}`);
    this.show();
  }

  failed() {
    return h(
      "div",
      { class: "lone", role: "alert" },
      h("p", {}, this.list.error),
      h("button", { class: "button", type: "button", onclick: () => this.list.more() }, "Try again"),
    );
  }

  further() {
    return h("div", { class: "lone" }, h("p", {}, "None of your newer builds is like that; older ones may be."), this.more);
  }

  tick() {
    for (const row of this.rows.values()) row.tick();
  }

  /** @param {number} way */
  step(way) {
    const links = [...this.rowsList.querySelectorAll("a")];
    const at = links.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
    const to = at < 0 ? (way > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, at + way));
    links[to]?.focus();
  }

  close() {
    clearInterval(this.timer);
    this.list.close();
    this.shortcuts.set("Builds", []);
  }
}

/** What somebody typed, as the API has it: `pr: 17` and `pr=17` are `pr:17`. @param {string} typed */
function labelOf(typed) {
  return typed.trim().replace(/\s*[:=]\s*/, ":");
}

/** @param {boolean} tall */
function skeleton(tall) {
  return h(
    "div",
    { class: "skeleton", role: "status" },
    h("span", { class: "unseen" }, "Loading"),
    Array.from({ length: tall ? 6 : 1 }, () => h("div", { class: "bone" })),
  );
}

function nothingLikeThat() {
  return h("div", { class: "lone" }, h("p", {}, "No build is like that."), h("a", { class: "button", href: "#/" }, "Show all builds"));
}

/** For who is here for the first time. */
function firstSteps() {
  const origin = location.origin + location.pathname.replace(/\/$/, "");
  const commands = `export BATON_API_URL=${origin}\nbaton login\nbaton submit --run 'echo hello' --follow`;
  return h(
    "div",
    { class: "first" },
    h("h2", {}, "Nothing has been built yet"),
    h("p", {}, "A build is a git repository, or an empty folder, and the steps to run in it. Submit the first one here, or from a terminal:"),
    h("pre", { tabindex: "0", "aria-label": "Commands" }, commands),
    h("a", { class: "button primary", href: "#/new" }, icon("plus"), "Submit your first build"),
  );
}
