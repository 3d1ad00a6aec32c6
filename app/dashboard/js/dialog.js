/** Questions that stand before everything else. */

import { h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {{title: string, body: any, actions?: any, wide?: boolean, lasting?: boolean}} about
 *   `lasting`: Escape does not close it
 * @returns {HTMLDialogElement}
 */
export function openDialog({ title, body, actions, wide = false, lasting = false }) {
  const close = h("button", { class: "tool bare", type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("cross"));
  const dialog = /** @type {HTMLDialogElement} */ (
    h(
      "dialog",
      { class: wide ? "wide" : null, "aria-labelledby": "dialog-title" },
      h("header", {}, h("h2", { id: "dialog-title" }, title), lasting ? null : close),
      h("div", { class: "dialog-body" }, body),
      actions ? h("footer", {}, actions) : null,
    )
  );
  dialog.addEventListener("cancel", (event) => lasting && event.preventDefault());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && !lasting && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * @param {{title: string, words: string, yes: string, no: string, bad?: boolean}} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, words, yes, no, bad = false }) {
  return new Promise((resolve) => {
    let answer = false;
    const say = (/** @type {boolean} */ said) => () => {
      answer = said;
      dialog.close();
    };
    const dialog = openDialog({
      title,
      body: h("p", {}, words),
      actions: [
        h("button", { class: "button", type: "button", onclick: say(false) }, no),
        h("button", { class: bad ? "button danger" : "button primary", type: "button", onclick: say(true) }, yes),
      ],
    });
    dialog.addEventListener("close", () => resolve(answer));
  });
}
