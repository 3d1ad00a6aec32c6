/** The page for who is not signed in, and the question to who is not any more. */

import { openDialog } from "./dialog.js";
import { fill, h } from "./dom.js";
import { mark } from "./icons.js";
import { themeButton } from "./theme.js";

/**
 * @param {import("./session.js").Session} session
 * @param {{trouble?: string, signedOut?: boolean}} [how]
 */
export function signInPage(session, { trouble = "", signedOut = false } = {}) {
  const words = h("p", { class: "trouble", role: "alert", hidden: !trouble }, trouble);
  const button = h(
    "button",
    {
      class: "button primary large", type: "button", disabled: !session.issuer?.config.client_id,
      onclick: () =>
        session.signIn().catch((error) => {
          words.hidden = false;
          fill(words, error.message);
        }),
    },
    "Sign in",
  );
  const issuer = session.issuer ? new URL(session.issuer.config.issuer).host : "";
  return h(
    "main",
    { id: "main", class: "sign-in", tabindex: "-1" },
    h("div", { class: "sign-in-box" }, mark(), h("h1", {}, "Baton"), h("p", { class: "quiet" }, signedOut ? "You are signed out." : "Sign in to see your builds."), words, button, issuer ? h("p", { class: "hint" }, `at ${issuer}`) : null),
    h("div", { class: "corner" }, themeButton()),
  );
}

/** Ask again; what is on the page stays. @param {import("./session.js").Session} session */
export function askAgain(session) {
  if (document.querySelector("dialog.again")) return;
  const words = h("p", { class: "trouble", role: "alert", hidden: true });
  const go = h(
    "button",
    {
      class: "button primary", type: "button", autofocus: true,
      onclick: () =>
        session.signInBeside().catch((error) => {
          words.hidden = false;
          fill(words, error.message);
        }),
    },
    "Sign in again",
  );
  const dialog = openDialog({
    title: "Your session has ended",
    body: [h("p", {}, "Everything here stays as it is, and goes on once you are signed in again."), words],
    actions: [h("button", { class: "button", type: "button", onclick: () => session.signOut() }, "Sign out"), go],
    lasting: true,
  });
  dialog.classList.add("again");
  session.addEventListener("in", () => dialog.close(), { once: true });
}
