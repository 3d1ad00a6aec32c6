/**
 * Which lines are shown: sections (a step, a `::group::`) hide all of their lines but the first when
 * they are folded. Rows are what is shown, counted from 0; lines are the log's.
 */

/** @typedef {{line: number, end: number, title: string, kind: "step" | "group", step?: number, depth: number}} Section */

export class Folds {
  constructor() {
    /** @type {Section[]} by their first line */
    this.sections = [];
    /** @type {Map<number, boolean>} what was asked for, by a section's first line */
    this.chosen = new Map();
    /** Hidden lines: from, to (exclusive), and how many are hidden before. @type {[number, number, number][]} */
    this.hidden = [];
    this.count = 0;
  }

  /** @param {Section[]} sections @param {number} count of lines */
  set(sections, count) {
    this.sections = sections.toSorted((a, b) => a.line - b.line || b.end - a.end);
    this.count = count;
    this.arrange();
  }

  /** The log has more lines. @param {number} count */
  grow(count) {
    this.count = count;
  }

  arrange() {
    this.hidden = [];
    let [hidden, reached] = [0, 0];
    for (const section of this.sections) {
      if (!this.folded(section)) continue;
      const from = Math.max(section.line + 1, reached);
      if (section.end <= from) continue;
      this.hidden.push([from, section.end, hidden]);
      hidden += section.end - from;
      reached = section.end;
    }
    this.total = hidden;
  }

  /** A group that has ended is folded unless somebody opened it; steps are open. @param {Section} section */
  folded(section) {
    return this.chosen.get(section.line) ?? (section.kind === "group" && Number.isFinite(section.end));
  }

  get rows() {
    const last = this.hidden.at(-1);
    if (!last) return this.count;
    const gone = last[2] + Math.max(0, Math.min(last[1], this.count) - last[0]);
    return Math.max(0, this.count - gone);
  }

  /** @param {number} row */
  lineOf(row) {
    let [low, high] = [0, this.hidden.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const [from, , before] = this.hidden[middle];
      if (from - before <= row) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return row;
    const [from, to, before] = this.hidden[low - 1];
    return row + before + (to - from);
  }

  /** The row of a line, or of the one that it is folded into. @param {number} line */
  rowOf(line) {
    let [low, high] = [0, this.hidden.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.hidden[middle][0] <= line) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return line;
    const [from, to, before] = this.hidden[low - 1];
    return line < to ? from - before - 1 : line - before - (to - from);
  }

  /** The section that begins at a line. @param {number} line @returns {Section | undefined} */
  at(line) {
    let [low, high] = [0, this.sections.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sections[middle].line < line) low = middle + 1;
      else high = middle;
    }
    return this.sections[low]?.line === line ? this.sections[low] : undefined;
  }

  /** The innermost section that a line stands in. @param {number} line */
  around(line) {
    return this.sections.findLast((section) => section.line <= line && line < section.end);
  }

  /** @param {Section} section @param {boolean} folded */
  choose(section, folded) {
    this.chosen.set(section.line, folded);
    this.arrange();
  }

  /** @param {boolean} folded */
  chooseAll(folded) {
    for (const section of this.sections) this.chosen.set(section.line, folded);
    this.arrange();
  }

  /** Open whatever hides a line; true when something did. @param {number} line */
  reveal(line) {
    let opened = false;
    for (const section of this.sections) {
      if (section.line >= line) break;
      if (line < section.end && this.folded(section)) {
        this.chosen.set(section.line, false);
        opened = true;
      }
    }
    if (opened) this.arrange();
    return opened;
  }
}

/**
 * The sections of a log: its steps, by the offsets that their worker reported; what came before them;
 * and groups.
 * @param {import("./lines.js").Mark[]} marks
 * @param {{name: string, line: number}[]} steps first lines of the current attempt's steps
 * @param {number} count of lines
 * @param {boolean} ended whether the log is complete
 * @returns {Section[]}
 */
export function sectionsOf(marks, steps, count, ended) {
  const open = ended ? count : Infinity;
  const first = steps.length ? steps[0].line : Infinity;
  // Headings are believed where no step of the current attempt can have printed them.
  const heads = [
    ...marks.filter((mark) => mark.kind === "header" && mark.line < first).map(({ line, title }) => ({ line, title, step: -1 })),
    ...steps.map((step, index) => ({ line: step.line, title: step.name, step: index })),
  ];
  const borders = marks.filter((mark) => mark.kind === "attempt").map((mark) => mark.line);
  /** @type {Section[]} */
  const sections = heads.map((head, index) => {
    const next = heads[index + 1]?.line ?? open;
    const border = borders.find((line) => line > head.line) ?? Infinity;
    return { ...head, end: Math.min(next, border), kind: "step", depth: 0 };
  });
  return [...sections, ...groupsOf(marks, heads.map((head) => head.line))];
}

/** @param {import("./lines.js").Mark[]} marks @param {number[]} heads @returns {Section[]} */
function groupsOf(marks, heads) {
  /** @type {Section[]} */
  const groups = [];
  /** @type {Section[]} */
  let stack = [];
  let head = 0;
  for (const mark of marks) {
    while (head < heads.length && heads[head] <= mark.line) {
      for (const group of stack) group.end = heads[head]; // a group ends with its step
      stack = [];
      head += 1;
    }
    if (mark.kind === "group") {
      /** @type {Section} */
      const group = { line: mark.line, end: Infinity, title: mark.title, kind: "group", depth: stack.length + 1 };
      stack.push(group);
      groups.push(group);
    } else if (mark.kind === "endgroup") {
      const group = stack.pop();
      if (group) group.end = mark.line + 1;
    }
  }
  for (const group of stack) if (head < heads.length) group.end = heads[head];
  return groups;
}
