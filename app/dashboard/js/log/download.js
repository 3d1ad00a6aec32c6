/** Saving a raw log: fetched with the token, which a plain link could not carry. */

import { announce } from "../announce.js";
import { h } from "../dom.js";

/** Milliseconds after which it is said that something is under way. */
const LONG = 400;

/** @param {import("../api.js").Api} api @param {string} id of the build */
export async function saveLog(api, id) {
  const note = setTimeout(() => announce("Fetching the raw log…", { seen: true }), LONG);
  try {
    const answer = await api.send("GET", `builds/${id}/log`);
    const url = URL.createObjectURL(await answer.blob());
    const link = h("a", { href: url, download: `${id}.log`, hidden: true });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    announce(/** @type {Error} */ (error).message, { seen: true, bad: true });
  } finally {
    clearTimeout(note);
  }
}
