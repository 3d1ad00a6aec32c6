/** A field of a form: its label, a hint, and what is wrong with what stands in it. */

import { h, say } from "./dom.js";

let made = 0;

export class Field {
  /**
   * @param {{label: string, hint?: string, pointer: string, value?: string, rows?: number, code?: boolean,
   *   placeholder?: string, type?: string, numeric?: boolean, oninput?: () => void}} about
   *   `pointer`: what it is in the spec; problems there, and inside of it, are shown here
   */
  constructor({ label, hint, pointer, value = "", rows, code = false, placeholder, numeric = false, oninput }) {
    this.pointer = pointer;
    const id = `field-${(made += 1)}`;
    this.input = /** @type {HTMLInputElement | HTMLTextAreaElement} */ (
      h(rows ? "textarea" : "input", {
        id, rows, placeholder, class: code ? "code" : null, autocomplete: "off",
        autocapitalize: "none", spellcheck: "false", inputmode: numeric ? "numeric" : null,
        "aria-describedby": `${id}-hint ${id}-wrong`,
        oninput: () => {
          this.wrong("");
          this.fit();
          oninput?.();
        },
      })
    );
    this.input.value = value;
    this.message = h("p", { class: "wrong", id: `${id}-wrong`, hidden: true });
    this.element = h(
      "div",
      { class: "field" },
      h("label", { for: id }, label),
      this.input,
      h("p", { class: "hint", id: `${id}-hint`, hidden: !hint }, hint ?? ""),
      this.message,
    );
    this.rows = rows ?? 0;
    this.fit();
  }

  get value() {
    return this.input.value;
  }

  set value(text) {
    this.input.value = text;
    this.fit();
  }

  /** A text area is as tall as its text. */
  fit() {
    if (this.rows) this.input.setAttribute("rows", String(Math.min(24, Math.max(this.rows, this.value.split("\n").length))));
  }

  /** @param {string} words empty: nothing is wrong */
  wrong(words) {
    this.message.hidden = !words;
    say(this.message, words);
    if (words) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }

  /** Whether a problem at this pointer is this field's. @param {string} pointer */
  owns(pointer) {
    return pointer === this.pointer || pointer.startsWith(`${this.pointer}/`);
  }
}
