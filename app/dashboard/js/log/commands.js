/** Lines that tell more than their text: `::error file=a.py,line=3::words`, `##[error]words`. */

const COMMAND = /^(?:::(error|warning|notice|debug)(?: (.*?))?::|##\[(error|warning|notice|debug)\])(.*)$/s;
/** What is shown before the words. @type {Record<string, string>} */
const WORDS = { error: "Error", warning: "Warning", notice: "Notice", debug: "Debug" };

/**
 * A line as it is shown, and what it says to be; other lines are what they are.
 * @param {string} text
 * @returns {{text: string, said: string}} `said`: `error`, `warning`, `notice`, `debug` or nothing
 */
export function read(text) {
  const found = text.startsWith("::") || text.startsWith("##[") ? COMMAND.exec(text) : null;
  if (!found) return { text, said: "" };
  const said = found[1] ?? found[3];
  /** @type {Record<string, string>} */
  const about = {};
  for (const part of (found[2] ?? "").split(",")) {
    const [name, value] = part.split(/=(.*)/s);
    if (value) about[name.trim()] = unescape(value);
  }
  const place = about.file ? [about.file, about.line, about.line && about.col].filter(Boolean).join(":") : "";
  const parts = [WORDS[said], place, about.title ?? "", unescape(found[4])];
  return { text: parts.filter(Boolean).join(": "), said };
}

/** Undo what the runner's toolkit does to its values. @param {string} value */
function unescape(value) {
  const signs = /** @type {Record<string, string>} */ ({ "%0d": "", "%0a": " ", "%3a": ":", "%2c": ",", "%25": "%" });
  return value.replace(/%(?:0d|0a|3a|2c|25)/gi, (sign) => signs[sign.toLowerCase()]);
}
