/** A spec as a form. */

import { h } from "./dom.js";
import { Field } from "./field.js";
import { icon } from "./icons.js";

export class SpecForm {
  /** @param {import("./spec.js").Draft} draft */
  constructor(draft) {
    this.stepsList = h("ol", { class: "step-fields" });
    this.element = h("div", { class: "spec-form" });
    /** @type {{name: Field, run: Field, timeout: Field, element: HTMLElement, remove: HTMLElement}[]} */
    this.steps = [];
    this.fill(draft);
  }

  /** @param {import("./spec.js").Draft} draft */
  fill(draft) {
    this.git = new Field({
      label: "Git repository", pointer: "/source/git", value: draft.git,
      placeholder: "https://git.example.com/team/site.git", hint: "Leave it empty to build in an empty folder.",
    });
    this.ref = new Field({
      label: "Branch, tag or ref", pointer: "/source/ref", value: draft.ref, placeholder: "its default branch",
    });
    this.timeout = new Field({
      label: "Time limit, in seconds", pointer: "/timeout", value: draft.timeout, placeholder: "3600", numeric: true,
      hint: "For checkout and all steps together.",
    });
    this.env = new Field({
      label: "Environment", pointer: "/env", value: draft.env, rows: 3, code: true, placeholder: "NAME=value",
      hint: "One variable on each line. Not for secrets: whoever sees the build sees them.",
    });
    this.labels = new Field({
      label: "Labels", pointer: "/labels", value: draft.labels, rows: 2, code: true, placeholder: "pr: 17",
      hint: "One on each line; builds can be found by them.",
    });
    this.steps = [];
    this.stepsList.replaceChildren();
    for (const step of draft.steps) this.addStep(step, false);
    const add = h(
      "button",
      { class: "button", type: "button", onclick: () => this.addStep({ name: "", run: "", timeout: "" }, true) },
      icon("plus"),
      "Add a step",
    );
    const more = draft.timeout || draft.env || draft.labels;
    this.element.replaceChildren(
      h("fieldset", {}, h("legend", {}, "Source"), h("div", { class: "pair" }, this.git.element, this.ref.element)),
      h("fieldset", {}, h("legend", {}, "Steps"), this.stepsList, add),
      h(
        "details",
        { class: "more", open: Boolean(more) },
        h("summary", {}, "Labels, environment, time limit"),
        this.labels.element,
        this.env.element,
        this.timeout.element,
      ),
    );
    this.number();
  }

  /** @param {{name: string, run: string, timeout: string}} step @param {boolean} focus */
  addStep(step, focus) {
    const name = new Field({ label: "Name", pointer: "", value: step.name, placeholder: "test" });
    const timeout = new Field({ label: "Time limit (s)", pointer: "", value: step.timeout, placeholder: "none of its own", numeric: true });
    const run = new Field({ label: "Script", pointer: "", value: step.run, rows: 3, code: true, placeholder: "make test", hint: "Run by sh -e: it ends at the first command that fails." });
    const remove = h("button", { class: "tool bare", type: "button", onclick: () => this.removeStep(fields) }, icon("cross"));
    const element = h("li", { class: "step-field" }, h("div", { class: "pair step-line" }, name.element, timeout.element, remove), run.element);
    const fields = { name, run, timeout, element, remove };
    this.steps.push(fields);
    this.stepsList.append(element);
    this.number();
    if (focus) name.input.focus();
  }

  /** @param {any} fields */
  removeStep(fields) {
    this.steps.splice(this.steps.indexOf(fields), 1);
    fields.element.remove();
    this.number();
    this.steps.at(-1)?.name.input.focus();
  }

  /** Say which step is which, to people and to problems. */
  number() {
    this.steps.forEach((step, index) => {
      step.name.pointer = `/steps/${index}/name`;
      step.run.pointer = `/steps/${index}/run`;
      step.timeout.pointer = `/steps/${index}/timeout`;
      step.remove.setAttribute("aria-label", `Remove step ${index + 1}`);
      step.remove.hidden = this.steps.length < 2;
    });
  }

  get fields() {
    const own = [this.git, this.ref, this.timeout, this.env, this.labels];
    return /** @type {Field[]} */ ([...own, ...this.steps.flatMap(({ name, run, timeout }) => [name, run, timeout])]);
  }

  /** @returns {import("./spec.js").Draft} */
  draft() {
    const value = (/** @type {Field | undefined} */ field) => field?.value ?? "";
    return {
      git: value(this.git),
      ref: value(this.ref),
      timeout: value(this.timeout),
      env: value(this.env),
      labels: value(this.labels),
      steps: this.steps.map(({ name, run, timeout }) => ({ name: name.value, run: run.value, timeout: timeout.value })),
    };
  }

  /** Show problems beside their fields; returns those that have none.
   * @param {{pointer: string, detail: string}[]} errors */
  show(errors) {
    for (const field of this.fields) field.wrong("");
    /** @type {Field | null} */
    let first = null;
    const homeless = errors.filter(({ pointer, detail }) => {
      const field = this.fields.find((each) => each.owns(pointer));
      if (!field) return true;
      field.wrong(sentence(detail));
      first ??= field;
      field.input.closest("details")?.setAttribute("open", "");
      return false;
    });
    /** @type {any} */ (first)?.input.focus();
    return homeless;
  }
}

/** @param {string} words */
export function sentence(words) {
  const first = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
