/** A spec as the JSON that is sent. */

import { h, fill } from "./dom.js";
import { lineOf, placeOf } from "./json_place.js";
import { sentence } from "./spec_form.js";

export class SpecEditor {
  /** @param {any} spec */
  constructor(spec) {
    this.text = /** @type {HTMLTextAreaElement} */ (
      h("textarea", {
        id: "spec-text", class: "code editor", rows: 18, spellcheck: "false", autocomplete: "off", autocapitalize: "none",
        wrap: "off", "aria-describedby": "spec-wrong", oninput: () => this.changed(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.pressed(event),
      })
    );
    this.problems = h("ul", { class: "wrong-list", id: "spec-wrong", hidden: true });
    this.element = h(
      "div",
      { class: "field" },
      h("label", { for: "spec-text" }, "Spec, as JSON"),
      this.text,
      h("p", { class: "hint" }, "What POST /builds takes; Tab leaves the field, two blanks indent."),
      this.problems,
    );
    this.set(spec);
  }

  /** @param {any} spec */
  set(spec) {
    this.text.value = `${JSON.stringify(spec, null, 2)}\n`;
    this.changed();
  }

  /** The spec; null when the text is no JSON, which is shown then. */
  read() {
    try {
      return JSON.parse(this.text.value);
    } catch (error) {
      this.syntax(/** @type {Error} */ (error));
      return null;
    }
  }

  changed() {
    this.text.rows = Math.min(36, Math.max(14, this.text.value.split("\n").length + 1));
    this.show([]);
    try {
      JSON.parse(this.text.value);
    } catch (error) {
      this.syntax(/** @type {Error} */ (error));
    }
  }

  /** @param {Error} error of the parser */
  syntax(error) {
    const said = /position (\d+)/.exec(error.message);
    const at = said ? Number(said[1]) : this.text.value.length;
    const words = error.message.replace(/^JSON\.parse: /, "").replace(/ in JSON at.*| at position.*|, \.\.\..*is not valid JSON/, "");
    this.list([{ place: [at, at + 1], words: `Not JSON yet: ${words}.` }]);
  }

  /** @param {{pointer: string, detail: string}[]} errors */
  show(errors) {
    this.list(
      errors.map(({ pointer, detail }) => ({
        place: placeOf(this.text.value, pointer) ?? [0, 0],
        words: `${pointer || "The spec"}: ${sentence(detail)}`,
      })),
    );
    return [];
  }

  /** @param {{place: [number, number], words: string}[]} wrong */
  list(wrong) {
    this.problems.hidden = !wrong.length;
    if (wrong.length) this.text.setAttribute("aria-invalid", "true");
    else this.text.removeAttribute("aria-invalid");
    fill(
      this.problems,
      wrong.map(({ place, words }) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              onclick: () => {
                this.text.focus();
                this.text.setSelectionRange(...place);
              },
            },
            `Line ${lineOf(this.text.value, place[0])}`,
          ),
          words,
        ),
      ),
    );
  }

  /** Enter keeps the indent. @param {KeyboardEvent} event */
  pressed(event) {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
    const before = this.text.value.slice(0, this.text.selectionStart);
    const line = before.slice(before.lastIndexOf("\n") + 1);
    const indent = /^ */.exec(line)?.[0] ?? "";
    const deeper = /[[{]\s*$/.test(line) ? "  " : "";
    if (!indent && !deeper) return;
    event.preventDefault();
    this.text.setRangeText(`\n${indent}${deeper}`, this.text.selectionStart, this.text.selectionEnd, "end");
    this.changed();
  }
}
