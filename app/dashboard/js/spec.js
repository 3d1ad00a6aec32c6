/** Specs as forms see them: what is empty is left out, and lists of pairs are lines of text. */

/** @typedef {{git: string, ref: string, steps: {name: string, run: string, timeout: string}[], timeout: string,
 *   env: string, labels: string}} Draft */

/** What the form begins with. @returns {Draft} */
export function emptyDraft() {
  return { git: "", ref: "", steps: [{ name: "test", run: "make test\n", timeout: "" }], timeout: "", env: "", labels: "" };
}

/** @param {Draft} draft @returns {any} the spec */
export function specOf(draft) {
  /** @type {any} */
  const spec = {};
  if (draft.git.trim()) {
    spec.source = { git: draft.git.trim() };
    if (draft.ref.trim()) spec.source.ref = draft.ref.trim();
  }
  spec.steps = draft.steps.map(({ name, run, timeout }) => ({
    name: name.trim(),
    run,
    ...(timeout.trim() ? { timeout: numberOr(timeout) } : {}),
  }));
  if (draft.timeout.trim()) spec.timeout = numberOr(draft.timeout);
  const env = pairs(draft.env, "=");
  if (Object.keys(env).length) spec.env = env;
  const labels = pairs(draft.labels, ":");
  if (Object.keys(labels).length) spec.labels = labels;
  return spec;
}

/** A spec as a draft; null when the form has no field for something in it. @param {any} spec @returns {Draft | null} */
export function draftOf(spec) {
  if (typeof spec !== "object" || spec === null || !Array.isArray(spec.steps)) return null;
  const known = new Set(["source", "steps", "env", "timeout", "labels"]);
  if (Object.keys(spec).some((name) => !known.has(name))) return null;
  if (spec.source?.sha) return null;
  if (spec.steps.some((/** @type {any} */ step) => Object.keys(step?.env ?? {}).length)) return null;
  if (Object.values(spec.env ?? {}).some((value) => String(value).includes("\n"))) return null;
  return {
    git: spec.source?.git ?? "",
    ref: spec.source?.ref ?? "",
    steps: spec.steps.map((/** @type {any} */ step) => ({
      name: step?.name ?? "",
      run: step?.run ?? "",
      timeout: step?.timeout ? String(step.timeout) : "",
    })),
    timeout: spec.timeout ? String(spec.timeout) : "",
    env: Object.entries(spec.env ?? {}).map(([name, value]) => `${name}=${value}`).join("\n"),
    labels: Object.entries(spec.labels ?? {}).map(([name, value]) => `${name}: ${value}`).join("\n"),
  };
}

/** What a build was submitted with, without what was filled in. @param {any} spec */
export function tidy(spec) {
  const drop = (/** @type {any} */ value) => value === null || (typeof value === "object" && !Object.keys(value).length);
  return JSON.parse(JSON.stringify(spec, (_, value) => (drop(value) ? undefined : value)));
}

/** @param {string} text */
function numberOr(text) {
  return /^\s*\d+\s*$/.test(text) ? Number(text) : text.trim();
}

/** @param {string} text @param {string} between */
function pairs(text, between) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const line of text.split("\n")) {
    if (!line.trim()) continue;
    const at = line.indexOf(between);
    const [name, value] = at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1)];
    found[name.trim()] = between === ":" ? value.trim() : value;
  }
  return found;
}
