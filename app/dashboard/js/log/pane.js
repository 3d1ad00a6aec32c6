/** The log of a build: its tools, and the window on its lines. */

import { announce } from "../announce.js";
import { h, fill, say } from "../dom.js";
import { plural, size } from "../format.js";
import { icon } from "../icons.js";
import { isFinal } from "../status.js";
import { Folds, sectionsOf } from "./folds.js";
import { LogModel } from "./model.js";
import { Rows } from "./rows.js";
import { LogSearch } from "./search.js";
import { ROW, Viewport } from "./viewport.js";

/** Milliseconds after which the address names what was chosen. */
const SETTLED = 120;

export class LogPane {
  /**
   * @param {{id: string, chosen: [number, number] | null, download: () => void, choose: (from: number, to: number) => void}} about
   *   `chosen`: lines that the address names, from 0
   */
  constructor(about) {
    this.about = about;
    this.chosen = about.chosen;
    this.head = about.chosen?.[1] ?? 0;
    /** @type {import("../build.js").Build | null} */
    this.build = null;
    this.ended = false;
    this.following = false;
    /** @type {{name: string, line: number, end: number}[]} */
    this.steps = [];
    this.folds = new Folds();
    this.model = new LogModel();
    this.model.ongrown = () => this.grown();
    this.view = new Viewport({
      draw: (from, to) => this.rows.draw(from, to),
      moved: (byUser) => this.moved(byUser),
    });
    this.search = new LogSearch(this.model, (line) => this.showMatch(line));
    this.rows = new Rows(this.view.rows, this.model, this.folds, () => ({
      id: about.id, build: this.build, chosen: this.chosen, current: this.search.current, needle: this.search.needle, exact: this.search.exact,
    }));
    const tool = (/** @type {any} */ picture, /** @type {string} */ words, /** @type {() => void} */ act, /** @type {string} */ key) =>
      h("button", { class: "tool", type: "button", onclick: act, title: `${words} (${key})` }, icon(picture), h("span", {}, words));
    this.errorTool = tool("alert", "First error", () => this.toFirstError(), "e");
    this.foldTool = tool("fold", "Fold all", () => this.foldAll(), "z");
    this.followTool = tool("down", "Follow", () => this.follow(!this.following), "f");
    this.followTool.setAttribute("aria-pressed", "false");
    this.facts = h("span", { class: "log-facts" });
    this.trouble = h("p", { class: "log-trouble", role: "status", hidden: true });
    this.blank = h("p", { class: "log-blank" });
    this.element = this.make();
    this.growing = false;
    this.unseen = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.naming = undefined;
    /** Steps that have begun; their first lines may be on their way yet. */
    this.begun = 0;
    /** Marks that the sections were made of. */
    this.marked = 0;
    /** There was more while it was shown. */
    this.more = false;
    /** The lines that the address names have been shown. */
    this.arrived = false;
  }

  make() {
    const download = h(
      "button",
      { class: "tool", type: "button", title: "Download the raw log (d)", onclick: () => this.about.download() },
      icon("download"),
      h("span", {}, "Raw"),
    );
    this.view.element.addEventListener("click", (event) => this.clicked(event));
    this.view.element.addEventListener("keydown", (event) => this.pressed(event));
    return h(
      "section",
      { class: "log", "aria-label": "Log" },
      h(
        "div",
        { class: "log-tools", role: "group", "aria-label": "Log tools" },
        this.search.element,
        h("div", { class: "tools" }, this.errorTool, this.foldTool, this.followTool, download),
      ),
      this.trouble,
      h("div", { class: "log-body" }, this.blank, this.view.element),
      h("div", { class: "log-foot" }, this.facts),
    );
  }

  // ── what comes in ──────────────────────────────────────────────────────────────────────────

  /** The build as it is now. @param {import("../build.js").Build} build */
  async update(build) {
    const first = !this.build;
    this.build = build;
    say(this.blank, isFinal(build) ? "Nothing was printed." : "Nothing has been printed yet.");
    if (first) {
      await this.model.expect(build.log.length);
      this.follow(!isFinal(build));
      if (this.chosen) this.follow(false);
    }
    await this.locateSteps();
  }

  /** All of the log is here. */
  async finish() {
    this.ended = true;
    this.element.classList.add("ended");
    await this.locateSteps();
    await this.grown();
    const status = this.build?.status;
    const watched = this.following;
    this.follow(false);
    if (this.chosen || watched || this.unseen) return;
    if (status !== "succeeded" && this.view.top === 0) this.view.moveToEnd();
  }

  /** A step's first line is the heading just before its output. */
  async locateSteps() {
    const begun = (this.build?.steps ?? []).filter((step) => step.log_offset !== null);
    this.begun = begun.length;
    const offsets = begun.map((step) => Math.max(0, (step.log_offset ?? 0) - 1));
    const lines = offsets.length ? await this.model.linesAt(offsets) : [];
    this.steps = begun
      .map((step, index) => ({ name: step.name, line: lines[index], end: offsets[index] }))
      .filter((/** @type {{end: number}} */ step) => step.end < this.model.end);
    this.section();
  }

  section() {
    const sections = sectionsOf(this.model.marks, this.steps, this.model.count, this.ended);
    this.folds.set(sections, this.model.count);
    this.view.setCount(this.folds.rows);
  }

  async grown() {
    if (this.growing) {
      this.more = true;
      return;
    }
    this.growing = true;
    do {
      this.more = false;
      const before = this.folds.count;
      const count = this.model.count;
      // The last line may have been begun only; whatever was kept of it is old.
      this.rows.forget(before - 1, before + 1);
      this.folds.count = count;
      if (this.model.marks.length !== this.marked || this.ended) this.section();
      this.marked = this.model.marks.length;
      if (this.begun > this.steps.length) await this.locateSteps();
      if (this.following) await this.rows.fetch(this.tail());
      this.view.setCount(this.folds.rows);
      if (this.following) this.view.moveToEnd();
      else if (this.chosen && !this.arrived && count > this.chosen[0]) this.toChosen();
      this.search.stale();
      this.facts.textContent = count ? `${plural(count, "line")} · ${size(this.model.end)}` : "";
      this.blank.hidden = count > 0;
      await new Promise((resolve) => requestAnimationFrame(resolve));
    } while (this.more);
    this.growing = false;
  }

  /** The lines that will be in sight at the end. */
  tail() {
    const rows = this.folds.rows;
    const from = Math.max(0, rows - Math.ceil(this.view.height / ROW) - 14);
    return Array.from({ length: rows - from }, (_, index) => this.folds.lineOf(from + index));
  }

  /** @param {string} words about the connection; empty: all is well */
  troubled(words) {
    this.trouble.hidden = !words;
    say(this.trouble, words);
  }

  repaint() {
    this.view.ask();
  }

  // ── moving about ───────────────────────────────────────────────────────────────────────────

  /** @param {boolean} byUser */
  moved(byUser) {
    if (!byUser) return;
    this.unseen = true;
    const live = this.build && !isFinal(this.build);
    if (this.following && !this.view.atEnd) this.setFollowing(false);
    else if (!this.following && live && this.view.atEnd) this.setFollowing(true);
  }

  /** @param {boolean} following */
  setFollowing(following) {
    this.following = following;
    this.followTool.setAttribute("aria-pressed", String(following));
    this.element.classList.toggle("following", following);
  }

  /** @param {boolean} following */
  follow(following) {
    this.setFollowing(following);
    if (following) this.view.moveToEnd();
  }

  /** @param {number} line */
  show(line) {
    this.setFollowing(false);
    this.element.scrollIntoView({ block: "nearest" }); // on a phone, it is further down
    if (this.folds.reveal(line)) this.view.setCount(this.folds.rows);
    this.view.show(this.folds.rowOf(line));
    this.repaint();
  }

  /** @param {number} line of a match; -1 when there is none */
  showMatch(line) {
    if (line >= 0) this.show(line);
    this.repaint();
  }

  toChosen() {
    if (!this.chosen) return;
    this.arrived = true;
    this.show(this.chosen[0]);
  }

  /** @param {[number, number] | null} chosen lines, from 0 */
  setChosen(chosen) {
    clearTimeout(this.naming);
    this.chosen = chosen;
    this.head = chosen?.[1] ?? 0;
    this.arrived = false;
    if (chosen && this.model.count > chosen[0]) this.toChosen();
    this.repaint();
  }

  /** @param {number} index of a step of the build */
  toStep(index) {
    const begun = this.folds.sections.find((section) => section.step === index);
    if (!begun) return;
    if (this.folds.folded(begun)) this.folds.choose(begun, false);
    this.view.setCount(this.folds.rows);
    this.setFollowing(false);
    this.element.scrollIntoView({ block: "nearest" });
    this.view.moveTo(this.folds.rowOf(begun.line) * ROW);
    this.repaint();
  }

  /** To the step before or after what is in sight. @param {1 | -1} way */
  toNextStep(way) {
    const here = this.folds.lineOf(Math.round(this.view.top / ROW));
    const heads = this.folds.sections.filter((section) => section.kind === "step").map((section) => section.line);
    const next = way > 0 ? heads.find((line) => line > here) : heads.findLast((line) => line < here);
    if (next === undefined) return;
    this.setFollowing(false);
    this.view.moveTo(this.folds.rowOf(next) * ROW);
  }

  /** Choose the next line, or take it to those that are chosen. @param {1 | -1} way @param {boolean} more */
  step(way, more) {
    const rows = this.folds.rows;
    if (!rows) return;
    const first = Math.ceil(this.view.top / ROW);
    const [from, to] = this.chosen ?? [0, 0];
    const anchor = more && this.chosen ? (this.head === from ? to : from) : -1;
    const head = this.chosen ? (more ? this.head : way > 0 ? to : from) : -1;
    const row = this.chosen ? Math.max(0, Math.min(rows - 1, this.folds.rowOf(head) + way)) : Math.min(first, rows - 1);
    const line = this.folds.lineOf(row);
    this.choose(anchor < 0 ? line : anchor, line);
    this.view.reveal(row);
    this.setFollowing(false);
    this.repaint();
    this.rows.fetch([line]).then(() => announce(`Line ${line + 1}: ${this.rows.textOf(line)}`));
  }

  /** Fold or unfold what the chosen line stands in. */
  foldHere() {
    const line = this.chosen ? this.chosen[0] : this.folds.lineOf(Math.ceil(this.view.top / ROW));
    const section = this.folds.around(line);
    if (!section) return;
    this.toggle(section.line);
    announce(`${section.title}, ${this.folds.folded(section) ? "folded" : "unfolded"}`);
    if (this.chosen) this.choose(section.line, section.line);
  }

  /** @param {number} anchor @param {number} head the line that moves when there are to be more */
  choose(anchor, head) {
    const from = Math.min(anchor, head);
    const to = Math.max(anchor, head);
    this.chosen = /** @type {[number, number]} */ ([from, to]);
    this.head = head;
    this.arrived = true;
    this.repaint();
    // A key that is held down chooses faster than browsers let addresses change.
    clearTimeout(this.naming);
    this.naming = setTimeout(() => this.about.choose(from, to), SETTLED);
  }

  async toFirstError() {
    const bad = this.build?.steps.findIndex((step) => ["failed", "timed_out"].includes(step.status)) ?? -1;
    const step = this.folds.sections.find((section) => section.step === bad && bad >= 0);
    const end = step ? Math.min(step.end, this.model.count) : this.model.count;
    let line = await this.model.firstError(step ? step.line + 1 : 0, end);
    if (line < 0 && step) line = end - 1;
    if (line < 0) return announce("No line looks like an error.", { seen: true });
    this.setChosen([line, line]);
    this.about.choose(line, line);
    announce(`Line ${line + 1}`);
  }

  foldAll() {
    const fold = !this.folds.sections.every((section) => this.folds.folded(section));
    this.folds.chooseAll(fold);
    this.setFollowing(false);
    this.view.setCount(this.folds.rows);
    fill(this.foldTool, icon("fold"), h("span", {}, fold ? "Unfold all" : "Fold all"));
    this.repaint();
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const target = /** @type {Element} */ (event.target);
    const fold = target.closest("[data-fold]");
    if (fold) return this.toggle(Number(fold.getAttribute("data-fold")));
    const number = target.closest("[data-line]");
    if (!number || event.ctrlKey || event.metaKey || event.button) return;
    event.preventDefault();
    const line = Number(number.getAttribute("data-line"));
    this.choose(event.shiftKey && this.chosen ? this.chosen[0] : line, line);
  }

  /** @param {number} line */
  toggle(line) {
    const section = this.folds.at(line);
    if (!section) return;
    this.setFollowing(false);
    this.folds.choose(section, !this.folds.folded(section));
    this.view.setCount(this.folds.rows);
    this.repaint();
  }

  /** @param {KeyboardEvent} event on the lines themselves */
  pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = this.view.height - 40;
    const ways = { PageDown: page, PageUp: -page, ArrowDown: ROW, ArrowUp: -ROW, " ": event.shiftKey ? -page : page };
    const way = ways[/** @type {keyof typeof ways} */ (event.key)];
    const onButton = /** @type {Element} */ (event.target).tagName === "BUTTON";
    if (event.key === "Home") this.jump(0);
    else if (event.key === "End") this.jump(Infinity);
    else if (way !== undefined && !(onButton && event.key === " ")) this.jump(this.view.top + way);
    else return;
    event.preventDefault();
  }

  /** As if somebody had moved the scroll bar. @param {number} top */
  jump(top) {
    this.view.moveTo(top);
    this.moved(true);
  }

  close() {
    clearTimeout(this.naming);
    this.view.close();
    this.model.close();
  }
}
