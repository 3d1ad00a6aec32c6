/** The rows in sight: decoded when they are needed, and made anew only where something changed. */

import { between } from "../format.js";
import { rowOf } from "./row.js";

/** Decoded lines that are kept. */
const KEPT = 4000;

/** @typedef {{id: string, build: import("../build.js").Build | null, chosen: [number, number] | null, current: number, needle: string, exact: boolean}} Shown
 *   what, besides the lines, decides how they look */

export class Rows {
  /**
   * @param {HTMLElement} element that holds them
   * @param {import("./model.js").LogModel} model
   * @param {import("./folds.js").Folds} folds
   * @param {() => Shown} shown
   */
  constructor(element, model, folds, shown) {
    this.element = element;
    this.model = model;
    this.folds = folds;
    this.shown = shown;
    /** @type {Map<number, import("./model.js").Line>} */
    this.lines = new Map();
    /** @type {Map<number, {sign: string, line: import("./model.js").Line | undefined, element: HTMLElement}>} */
    this.drawn = new Map();
  }

  /** These lines are not any more what they were. @param {number} from @param {number} to */
  forget(from, to) {
    for (let line = from; line <= to; line += 1) this.lines.delete(line);
  }

  /** Decode lines that are not known yet. @param {number[]} lines */
  async fetch(lines) {
    const missing = lines.filter((line) => !this.lines.has(line));
    if (!missing.length) return;
    for (const line of await this.model.rows(missing)) {
      // A line that turns out as it was keeps its row, and whatever somebody has selected there.
      const before = this.drawn.get(line.line)?.line;
      this.lines.set(line.line, before && JSON.stringify(before) === JSON.stringify(line) ? before : line);
    }
    while (this.lines.size > KEPT) {
      this.lines.delete(/** @type {number} */ (this.lines.keys().next().value));
    }
  }

  /** The text of a line that is in sight. @param {number} line */
  textOf(line) {
    return (this.lines.get(line)?.pieces ?? []).map(([text]) => text).join("");
  }

  /** @param {number} from @param {number} to rows */
  draw(from, to) {
    const lines = Array.from({ length: Math.max(0, to - from) }, (_, index) => this.folds.lineOf(from + index));
    if (lines.some((line) => !this.lines.has(line) && !this.folds.at(line))) {
      this.fetch(lines).then(() => this.paint(from, lines));
      if (lines.some((line) => this.drawn.has(line))) return; // a moment more, and nothing blinks
    }
    this.paint(from, lines);
  }

  /** @param {number} from @param {number[]} lines */
  paint(from, lines) {
    const shown = this.shown();
    /** @type {Rows["drawn"]} */
    const next = new Map();
    lines.forEach((line, index) => {
      const found = this.lines.get(line);
      const about = this.about(line, from + index, shown);
      const sign = Object.values(about.sign).join("|");
      const known = this.drawn.get(line);
      if (known && known.sign === sign && known.line === found) next.set(line, known);
      else {
        const element = rowOf({ ...about.sign, line, section: about.section, pieces: found?.pieces, said: found?.said ?? "", href: about.href });
        next.set(line, { sign, line: found, element });
      }
    });
    this.drawn = next;
    this.place([...next.values()].map((each) => each.element));
  }

  /** @param {number} line @param {number} row @param {Shown} shown */
  about(line, row, { id, build, chosen, current, needle, exact }) {
    const section = this.folds.at(line);
    const step = section?.step !== undefined && section.step >= 0 ? build?.steps[section.step] : undefined;
    const sign = {
      row,
      folded: section ? this.folds.folded(section) : false,
      end: section?.end ?? 0,
      seconds: step?.started_at && step.finished_at ? between(step.started_at, step.finished_at) : NaN,
      chosen: Boolean(chosen && line >= chosen[0] && line <= chosen[1]),
      current: current === line,
      needle,
      exact,
    };
    return { sign, section, href: `#/builds/${id}/L${line + 1}` };
  }

  /** Put elements in their order. Those that stay are not touched, so that a selection or the focus
   * in them stays as well; who had the focus on a fold keeps it. @param {HTMLElement[]} elements */
  place(elements) {
    const fold = document.activeElement?.closest("[data-fold]")?.getAttribute("data-fold");
    const stay = new Set(elements);
    for (const child of [...this.element.children]) if (!stay.has(/** @type {HTMLElement} */ (child))) child.remove();
    let at = this.element.firstElementChild;
    for (const element of elements) {
      if (element === at) at = at.nextElementSibling;
      else this.element.insertBefore(element, at);
    }
    if (!fold || document.activeElement !== document.body) return;
    const again = this.element.querySelector(`[data-fold="${fold}"]`) ?? this.element.closest("[tabindex]");
    /** @type {HTMLElement | null} */ (again)?.focus({ preventScroll: true });
  }
}
