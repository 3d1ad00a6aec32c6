/** One row of a log. */

import { h } from "../dom.js";
import { duration } from "../format.js";

/** Addresses in plain text; what ends a sentence does not belong to them. */
const ADDRESS = /\bhttps?:\/\/(?:[^\s<>"'`()\u001b]|\([^\s<>"'`()\u001b]*\))*(?:[^\s<>"'`()\u001b.,;:!?\]}]|\([^\s<>"'`()\u001b]*\))/g;

/** The first 16, as xterm has them: only where a build names a ground for them that is none of these. */
const FIRST = [
  0x000000, 0xcd0000, 0x00cd00, 0xcdcd00, 0x0000ee, 0xcd00cd, 0x00cdcd, 0xe5e5e5,
  0x7f7f7f, 0xff0000, 0x00ff00, 0xffff00, 0x5c5cff, 0xff00ff, 0x00ffff, 0xffffff,
];

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

/** @param {number} colour @returns {number[]} red, green, blue */
function parts(colour) {
  if (colour >= 16 && colour < 0x1000000) return ofPalette(colour);
  const rgb = colour < 16 ? FIRST[colour] : colour;
  return [(rgb >> 16) & 255, (rgb >> 8) & 255, rgb & 255];
}

/** @param {number} colour */
function css(colour) {
  return `rgb(${parts(colour).join(" ")})`;
}

/** Relative luminance (WCAG 2.2), 0 to 1. @param {number} colour */
function luminance(colour) {
  const [r, g, b] = parts(colour).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Whether a text can be read on its ground. @param {number} text @param {number} ground */
function legible(text, ground) {
  const [dark, light] = [luminance(text), luminance(ground)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05) >= 3;
}

const STYLES = /** @type {const} */ (["bold", "dim", "italic", "underline", "strike"]);

/** @param {string} text @param {import("./ansi.js").Look | null} look */
function piece(text, look) {
  if (!look) return linked(text);
  const [fg, bg] = look.inverse ? [look.bg, look.fg] : [look.fg, look.bg];
  const classes = [];
  if (fg >= 0 && fg < 16 && bg < 16) classes.push(`f${fg}`);
  if (bg >= 0 && bg < 16) classes.push(`b${bg}`);
  if (look.inverse && fg < 0) classes.push("inverse-text");
  if (look.inverse && bg < 0) classes.push("inverse-ground");
  for (const name of STYLES) if (look[name]) classes.push(name);
  const element = look.link
    ? h("a", { ...OUT, href: look.link, title: look.link, class: classes.join(" ") || null }, text)
    : h("span", { class: classes.join(" ") || null }, linked(text));
  // Any colour that a build names keeps its hue, and can be read all the same.
  if (bg >= 16) {
    element.style.backgroundColor = css(bg);
    const dark = luminance(bg) < 0.18;
    element.classList.add("exact");
    element.style.setProperty("--said", fg >= 0 && legible(fg, bg) ? css(fg) : dark ? "#fff" : "#000");
  } else if (fg >= 16) {
    element.classList.add("lit");
    element.style.setProperty("--said", css(fg));
  }
  return element;
}

/** A link that leads away tells nobody where from. */
const OUT = { target: "_blank", rel: "noopener noreferrer" };

/** A text, the addresses in it as links. @param {string} text @returns {(string | HTMLElement)[]} */
function linked(text) {
  if (!text.includes("://")) return [text];
  /** @type {(string | HTMLElement)[]} */
  const pieces = [];
  let at = 0;
  for (const found of text.matchAll(ADDRESS)) {
    pieces.push(text.slice(at, found.index), h("a", { ...OUT, href: found[0] }, found[0]));
    at = found.index + found[0].length;
  }
  return [...pieces, text.slice(at)];
}

/** Mark a text in what is shown. @param {HTMLElement} content @param {string} needle
 * @param {boolean} exact capital letters and small ones differ */
function highlight(content, needle, exact) {
  const cased = (/** @type {string} */ words) => (exact ? words : words.toLowerCase());
  const walker = document.createTreeWalker(content, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const texts = [];
  while (walker.nextNode()) texts.push(/** @type {Text} */ (walker.currentNode));
  for (let text of texts) {
    for (let at = cased(text.data).indexOf(needle); at >= 0; at = cased(text.data).indexOf(needle)) {
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
 * @param {string} about.said that it is: an error, a warning…
 * @param {import("./folds.js").Section | undefined} about.section that begins here
 * @param {boolean} about.folded
 * @param {number} about.seconds that the section's step took, NaN if there is none
 * @param {boolean} about.chosen
 * @param {boolean} about.current match
 * @param {string} about.needle
 * @param {boolean} about.exact
 * @param {string} about.href
 */
export function rowOf({ line, row, pieces, said, section, folded, seconds, chosen, current, needle, exact, href }) {
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
    if (section.depth > 1) content.style.paddingLeft = `${2 * (section.depth - 1)}ch`;
    const hidden = folded && Number.isFinite(section.end) ? section.end - section.line - 1 : 0;
    content.append(
      h(
        "button",
        { class: "fold", type: "button", "data-fold": line, "aria-expanded": String(!folded) },
        section.title || "group",
      ),
    );
    if (hidden > 0) content.append(h("span", { class: "hidden-lines" }, `${hidden.toLocaleString("en")} lines`));
    if (!Number.isNaN(seconds)) content.append(h("span", { class: "took" }, duration(seconds)));
  } else if (pieces) {
    for (const [text, look] of pieces) content.append(...[piece(text, look)].flat());
    const text = content.textContent ?? "";
    if (said) element.classList.add(`said-${said}`);
    else if (/^(?:::|##\[)endgroup(?:::|\])/.test(text)) element.classList.add("said-endgroup");
    else if (/^\[.*\]$/.test(text)) element.classList.add("note");
  } else {
    element.classList.add("empty");
  }
  if (needle) highlight(content, needle, exact);
  if (chosen) element.classList.add("chosen");
  if (current) element.classList.add("current");
  return element;
}
