/** Addresses within the page: `#/`, `#/new`, `#/builds/<id>`, `#/builds/<id>/L10-L20`. */

/** @typedef {{page: "builds", query: URLSearchParams} | {page: "new", query: URLSearchParams}
 *   | {page: "build", id: string, lines: [number, number] | null} | {page: "missing"}} Route */

/** @param {string} hash @returns {Route} */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  if (path === "" || path === "/" || path === "/signed-out") return { page: "builds", query: new URLSearchParams(query) };
  if (path === "/new") return { page: "new", query: new URLSearchParams(query) };
  const build = /^\/builds\/(bld_[0-9A-Z]{26})(?:\/L(\d{1,9})(?:-L(\d{1,9}))?)?$/.exec(path);
  if (!build) return { page: "missing" };
  const [, id, from, to] = build;
  return { page: "build", id, lines: from ? [Number(from) - 1, Number(to ?? from) - 1] : null };
}

/** The list of builds. @param {string | null} status @param {string[]} labels `name` or `name:value` */
export function listAddress(status, labels) {
  const query = new URLSearchParams(labels.map((label) => ["label", label]));
  if (status) query.set("status", status);
  return query.size ? `#/?${query}` : "#/";
}

/** @param {string} id @param {number} from @param {number} to lines, from 0 */
export function toLines(id, from, to) {
  return `#/builds/${id}/L${from + 1}${to > from ? `-L${to + 1}` : ""}`;
}
