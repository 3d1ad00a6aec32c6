/** A new build: as a form or as JSON, whichever one likes; what one has is in the other. */

import { announce } from "./announce.js";
import { Problem } from "./api.js";
import { fill, h, heading } from "./dom.js";
import { secret } from "./pkce.js";
import { draftOf, emptyDraft, specOf, tidy } from "./spec.js";
import { SpecEditor } from "./spec_editor.js";
import { SpecForm, sentence } from "./spec_form.js";
import { dressTab } from "./status.js";

export class NewPage {
  /** @param {import("./main.js").Parts} parts @param {URLSearchParams} query */
  constructor({ api, shortcuts }, query) {
    this.api = api;
    this.shortcuts = shortcuts;
    this.form = new SpecForm(emptyDraft());
    this.editor = new SpecEditor({});
    this.mode = "form";
    this.sent = { text: "", key: "" };
    this.trouble = h("div", { class: "trouble", role: "alert", hidden: true });
    this.submitButton = /** @type {HTMLButtonElement} */ (h("button", { class: "button primary", type: "submit" }, "Start the build"));
    this.tabs = ["form", "json"].map((mode) =>
      h("button", { type: "button", "aria-pressed": "false", onclick: () => this.switchTo(mode) }, mode === "form" ? "Form" : "JSON"),
    );
    this.place = h("div", {});
    this.element = h(
      "main",
      { id: "main", class: "page new", tabindex: "-1" },
      h("div", { class: "page-head" }, heading("New build"), h("div", { class: "switch", role: "group", "aria-label": "How to write the spec" }, this.tabs)),
      h(
        "form",
        {
          novalidate: true,
          onsubmit: (/** @type {Event} */ event) => {
            event.preventDefault();
            this.submit();
          },
          onkeydown: (/** @type {KeyboardEvent} */ event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.submit();
          },
        },
        this.place,
        this.trouble,
        h("div", { class: "form-foot" }, this.submitButton, h("span", { class: "hint" }, h("kbd", {}, "Ctrl"), " ", h("kbd", {}, "Enter"), " does it, too")),
      ),
    );
    this.show();
    dressTab("New build");
    const from = query.get("from");
    if (from) this.begin(from);
  }

  /** With the spec of an earlier build. @param {string} id */
  async begin(id) {
    try {
      const spec = tidy((await this.api.build(id)).spec);
      const draft = draftOf(spec);
      this.editor.set(spec);
      if (draft) this.form.fill(draft);
      else this.mode = "json";
      this.show();
    } catch (error) {
      this.troubled(/** @type {Error} */ (error).message);
    }
  }

  show() {
    fill(this.place, this.mode === "form" ? this.form.element : this.editor.element);
    this.tabs.forEach((tab, index) => tab.setAttribute("aria-pressed", String(this.mode === ["form", "json"][index])));
    this.troubled("");
  }

  /** @param {string} mode */
  switchTo(mode) {
    if (mode === this.mode) return;
    if (mode === "json") this.editor.set(specOf(this.form.draft()));
    else {
      const spec = this.editor.read();
      if (spec === null) return;
      const draft = draftOf(spec);
      if (!draft) return this.troubled("The form has no field for some of this; go on with the JSON.");
      this.form.fill(draft);
    }
    this.mode = mode;
    this.show();
  }

  /** @param {string} words */
  troubled(words) {
    this.trouble.hidden = !words;
    fill(this.trouble, words);
  }

  async submit() {
    if (this.submitButton.disabled) return;
    const spec = this.mode === "form" ? specOf(this.form.draft()) : this.editor.read();
    if (spec === null) return;
    const text = JSON.stringify(spec);
    // The same spec again, after an answer that was lost, is the same build.
    if (this.sent.text !== text) this.sent = { text, key: secret() };
    this.submitButton.disabled = true;
    this.troubled("");
    try {
      const build = await this.api.submit(text, this.sent.key);
      announce("The build is submitted.");
      location.hash = `#/builds/${build.id}`;
    } catch (error) {
      this.refused(error);
    } finally {
      this.submitButton.disabled = false;
    }
  }

  /** @param {unknown} error */
  refused(error) {
    if (!(error instanceof Problem)) return this.troubled("The server cannot be reached; nothing is lost, try again.");
    const homeless = this.mode === "form" ? this.form.show(error.errors) : this.editor.show(error.errors);
    if (!error.errors.length) this.troubled(sentence(error.message));
    else if (homeless.length) this.troubled(homeless.map(({ pointer, detail }) => `${pointer || "The spec"}: ${sentence(detail)}`).join(" "));
    else announce(`${error.errors.length} of the fields need another look.`);
  }

  close() {}
}
