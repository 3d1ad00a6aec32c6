/** One row of a log. */

import { h } from "../dom.js";
import { duration } from "../format.js";

/** The 6 × 6 × 6 cube and the greys of the palette's upper 240. @param {number} index */
function ofPalette(index) {
  if (index >= 232) {
    const grey = 8 + 10 * (index - 232);
    return [grey, grey, grey];
  }
  const level = (/** @type {number} */ part) => (part === 0 ? 0 : 55 + 40 * part);
  const cube = index - 16;
  return [level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)];
}

/** @param {number} colour */
function css(colour) {
  const [r, g, b] = colour >= 0x1000000
    ? [(colour >> 16) & 255, (colour >> 8) & 255, colour & 255]
    : ofPalette(colour);
  return `rgb(${r} ${g} ${b})`;
}

/** @param {string} text @param {Record<string, any> | null} look */
function piece(text, look) {
  if (!look) return document.createTextNode(text);
  const [fg, bg] = look.inverse ? [look.bg, look.fg] : [look.fg, look.bg];
  const classes = [];
  if (fg >= 0 && fg < 16) classes.push(`f${fg}`);
  if (bg >= 0 && bg < 16) classes.push(`b${bg}`);
  if (look.inverse && fg < 0) classes.push("inverse-text");
  if (look.inverse && bg < 0) classes.push("inverse-ground");
  for (const name of ["bold", "dim", "italic", "underline", "strike"]) if (look[name]) classes.push(name);
  const element = h("span", { class: classes.join(" ") || null }, text);
  // Any colour that a build names keeps its hue; `lit` sees to it that it can be read.
  if (fg >= 16) {
    element.style.setProperty("--said", css(fg));
    element.classList.add(bg >= 16 ? "exact" : "lit");
  }
  if (bg >= 16) element.style.backgroundColor = css(bg);
  return element;
}

/** Mark a text in what is shown. @param {HTMLElement} content @param {string} needle lower case */
function highlight(content, needle) {
  const walker = document.createTreeWalker(content, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const texts = [];
  while (walker.nextNode()) texts.push(/** @type {Text} */ (walker.currentNode));
  for (let text of texts) {
    for (let at = text.data.toLowerCase().indexOf(needle); at >= 0; at = text.data.toLowerCase().indexOf(needle)) {
      const found = text.splitText(at);
      const rest = found.splitText(needle.length);
      found.replaceWith(h("mark", {}, found.data));
      text = rest;
    }
  }
}

/**
 * @param {object} about
 * @param {number} about.line
 * @param {number} about.row
 * @param {import("./model.js").Pieces | undefined} about.pieces undefined while they are fetched
 * @param {import("./folds.js").Section | undefined} about.section that begins here
 * @param {boolean} about.folded
 * @param {number} about.seconds that the section's step took, NaN if there is none
 * @param {boolean} about.chosen
 * @param {boolean} about.current match
 * @param {string} about.needle
 * @param {string} about.href
 */
export function rowOf({ line, row, pieces, section, folded, seconds, chosen, current, needle, href }) {
  const number = h(
    "a",
    { class: "number", href, tabindex: "-1", "data-line": line, "aria-label": `Line ${line + 1}` },
    line + 1,
  );
  const content = h("span", { class: "content" });
  const element = h(
    "div",
    { class: "row", role: "row", "aria-rowindex": row + 1 },
    h("span", { role: "rowheader" }, number),
    h("span", { role: "cell", class: "cell" }, content),
  );
  if (section) {
    element.classList.add(section.kind === "step" ? "step-head" : "group-head");
    const hidden = folded && Number.isFinite(section.end) ? section.end - section.line - 1 : 0;
    content.append(
      h(
        "button",
        { class: "fold", type: "button", tabindex: "-1", "data-fold": line, "aria-expanded": String(!folded) },
        section.title || "group",
      ),
    );
    if (hidden > 0) content.append(h("span", { class: "hidden-lines" }, `${hidden.toLocaleString("en")} lines`));
    if (!Number.isNaN(seconds)) content.append(h("span", { class: "took" }, duration(seconds)));
  } else if (pieces) {
    for (const [text, look] of pieces) content.append(piece(text, look));
    const text = content.textContent ?? "";
    const told = /^(?:::|##\[)(error|warning|notice|debug|endgroup)(?:[^\]:]*)(?:::|\])/.exec(text);
    if (told) element.classList.add(`said-${told[1]}`);
    else if (/^\[.*\]$/.test(text)) element.classList.add("note");
  } else {
    element.classList.add("empty");
  }
  if (needle) highlight(content, needle);
  if (chosen) element.classList.add("chosen");
  if (current) element.classList.add("current");
  return element;
}
