/** The log of a build: its tools, and the window on its lines. */

import { announce } from "../announce.js";
import { h, fill, say } from "../dom.js";
import { between, plural, size } from "../format.js";
import { icon } from "../icons.js";
import { Folds, sectionsOf } from "./folds.js";
import { LogModel } from "./model.js";
import { rowOf } from "./row.js";
import { LogSearch } from "./search.js";
import { Viewport } from "./viewport.js";

/** Decoded lines that are kept. */
const KEPT = 4000;

export class LogPane {
  /**
   * @param {{id: string, chosen: [number, number] | null, download: () => void, choose: (from: number, to: number) => void}} about
   *   `chosen`: lines that the address names, from 0
   */
  constructor(about) {
    this.about = about;
    this.chosen = about.chosen;
    /** @type {any} */
    this.build = null;
    this.ended = false;
    this.following = false;
    /** @type {{name: string, line: number, end: number}[]} */
    this.steps = [];
    this.folds = new Folds();
    /** @type {Map<number, import("./model.js").Pieces>} */
    this.pieces = new Map();
    /** @type {Map<number, {sign: string, element: HTMLElement}>} */
    this.drawn = new Map();
    this.model = new LogModel();
    this.model.ongrown = () => this.grown();
    this.view = new Viewport({
      draw: (from, to) => this.draw(from, to),
      moved: (byUser) => this.moved(byUser),
    });
    this.search = new LogSearch(this.model, (line) => this.showMatch(line));
    const tool = (/** @type {any} */ picture, /** @type {string} */ words, /** @type {() => void} */ act, /** @type {string} */ key) =>
      h("button", { class: "tool", type: "button", onclick: act, title: `${words} (${key})` }, icon(picture), h("span", {}, words));
    this.errorTool = tool("alert", "First error", () => this.toFirstError(), "e");
    this.foldTool = tool("fold", "Fold all", () => this.foldAll(), "z");
    this.followTool = tool("down", "Follow", () => this.follow(!this.following), "f");
    this.followTool.setAttribute("aria-pressed", "false");
    this.facts = h("span", { class: "log-facts" });
    this.trouble = h("p", { class: "log-trouble", role: "status", hidden: true });
    this.blank = h("p", { class: "log-blank" }, "Nothing has been printed yet.");
    this.element = this.make();
    this.growing = false;
    this.unseen = false;
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

  /** The build as it is now. @param {any} build */
  async update(build) {
    const first = !this.build;
    this.build = build;
    if (first) {
      await this.model.expect(build.log.length);
      this.follow(build.status === "queued" || build.status === "running");
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
    const begun = (this.build?.steps ?? []).filter((/** @type {any} */ step) => step.log_offset !== null);
    this.begun = begun.length;
    const offsets = begun.map((/** @type {any} */ step) => Math.max(0, step.log_offset - 1));
    const lines = offsets.length ? await this.model.linesAt(offsets) : [];
    this.steps = begun
      .map((/** @type {any} */ step, /** @type {number} */ index) => ({ name: step.name, line: lines[index], end: offsets[index] }))
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
      for (let line = before - 1; line <= before + 1; line += 1) this.pieces.delete(line);
      this.folds.count = count;
      if (this.model.marks.length !== this.marked || this.ended) this.section();
      this.marked = this.model.marks.length;
      if (this.begun > this.steps.length) await this.locateSteps();
      if (this.following) await this.fetch(this.tail());
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
    const from = Math.max(0, rows - Math.ceil(this.view.height / 20) - 14);
    return Array.from({ length: rows - from }, (_, index) => this.folds.lineOf(from + index));
  }

  /** @param {string} words about the connection; empty: all is well */
  troubled(words) {
    this.trouble.hidden = !words;
    say(this.trouble, words);
  }

  // ── drawing ────────────────────────────────────────────────────────────────────────────────

  /** Decode lines that are not known yet. @param {number[]} lines */
  async fetch(lines) {
    const missing = lines.filter((line) => !this.pieces.has(line));
    if (!missing.length) return;
    for (const row of await this.model.rows(missing)) this.pieces.set(row.line, row.pieces);
    while (this.pieces.size > KEPT) {
      this.pieces.delete(/** @type {number} */ (this.pieces.keys().next().value));
    }
  }

  /** @param {number} from @param {number} to rows */
  draw(from, to) {
    const lines = Array.from({ length: Math.max(0, to - from) }, (_, index) => this.folds.lineOf(from + index));
    if (lines.some((line) => !this.pieces.has(line) && !this.folds.byLine(line))) {
      this.fetch(lines).then(() => this.paint(from, lines));
      if (lines.some((line) => this.drawn.has(line))) return; // a moment more, and nothing blinks
    }
    this.paint(from, lines);
  }

  /** @param {number} from @param {number[]} lines */
  paint(from, lines) {
    /** @type {Map<number, {sign: string, element: HTMLElement}>} */
    const next = new Map();
    lines.forEach((line, index) => {
      const section = this.folds.byLine(line);
      const folded = section ? this.folds.folded(section) : false;
      const pieces = this.pieces.get(line);
      const chosen = Boolean(this.chosen && line >= this.chosen[0] && line <= this.chosen[1]);
      const current = this.search.current === line;
      const step = section?.step !== undefined && section.step >= 0 ? this.build?.steps[section.step] : null;
      const seconds = step ? between(step.started_at, step.finished_at) : NaN;
      const said = pieces ? pieces.map(([text]) => text.length).join() : "-";
      const took = step?.finished_at ? seconds : 0;
      const sign = [from + index, said, folded, section?.end, took, chosen, current, this.search.needle].join("|");
      const known = this.drawn.get(line);
      if (known && known.sign === sign && this.pieces.get(line) === pieces) {
        next.set(line, known);
        return;
      }
      const href = `#/builds/${this.about.id}/L${line + 1}`;
      const about = { line, row: from + index, pieces, section, folded, chosen, current, href };
      const element = rowOf({ ...about, seconds: step?.finished_at ? seconds : NaN, needle: this.search.needle });
      next.set(line, { sign, element });
    });
    this.drawn = next;
    fill(this.view.rows, [...next.values()].map((each) => each.element));
  }

  repaint() {
    this.view.ask();
  }

  // ── moving about ───────────────────────────────────────────────────────────────────────────

  /** @param {boolean} byUser */
  moved(byUser) {
    if (!byUser) return;
    this.unseen = true;
    const live = this.build?.status === "running" || this.build?.status === "queued";
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
    this.chosen = chosen;
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
    this.view.moveTo(this.folds.rowOf(begun.line) * 20);
    this.repaint();
  }

  /** To the step before or after what is in sight. @param {1 | -1} way */
  toNextStep(way) {
    const here = this.folds.lineOf(Math.round(this.view.top / 20));
    const heads = this.folds.sections.filter((section) => section.kind === "step").map((section) => section.line);
    const next = way > 0 ? heads.find((line) => line > here) : heads.findLast((line) => line < here);
    if (next === undefined) return;
    this.setFollowing(false);
    this.view.moveTo(this.folds.rowOf(next) * 20);
  }

  async toFirstError() {
    const bad = this.build?.steps.findIndex((/** @type {any} */ step) => ["failed", "timed_out"].includes(step.status)) ?? -1;
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
    const anchor = event.shiftKey && this.chosen ? this.chosen[0] : line;
    const from = Math.min(anchor, line);
    const to = Math.max(anchor, line);
    this.chosen = /** @type {[number, number]} */ ([from, to]);
    this.arrived = true;
    this.about.choose(from, to);
    this.repaint();
  }

  /** @param {number} line */
  toggle(line) {
    const section = this.folds.byLine(line);
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
    const ways = { PageDown: page, PageUp: -page, ArrowDown: 20, ArrowUp: -20, " ": event.shiftKey ? -page : page };
    const way = ways[/** @type {keyof typeof ways} */ (event.key)];
    const onButton = /** @type {Element} */ (event.target).tagName !== "DIV";
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
    this.view.close();
    this.model.close();
  }
}
