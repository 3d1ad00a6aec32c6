/** Where in a JSON text the value stands that a JSON Pointer (RFC 6901) names. */

/**
 * @param {string} text valid JSON
 * @param {string} pointer
 * @returns {[number, number] | null} offsets of the value, or of the nearest one around it
 */
export function placeOf(text, pointer) {
  const wanted = pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  let at = 0;
  /** @type {[number, number] | null} */
  let best = null;
  let deepest = -1;

  const space = () => {
    while (at < text.length && " \n\r\t".includes(text[at])) at += 1;
  };
  const string = () => {
    const from = at;
    at += 1;
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    at += 1;
    return JSON.parse(text.slice(from, at));
  };
  /** @param {number} depth how much of the pointer led here; -1 when it did not */
  const value = (depth) => {
    space();
    const from = at;
    if (text[at] === "{" || text[at] === "[") members(depth, text[at] === "{");
    else if (text[at] === '"') string();
    else while (at < text.length && !",]} \n\r\t".includes(text[at])) at += 1;
    if (depth > deepest) {
      deepest = depth;
      best = [from, at];
    }
  };
  /** @param {number} depth @param {boolean} named */
  const members = (depth, named) => {
    at += 1;
    for (let index = 0; ; index += 1) {
      space();
      if (at >= text.length || text[at] === "}" || text[at] === "]") break;
      const name = named ? string() : String(index);
      space();
      if (named) at += 1; // the colon
      value(depth >= 0 && wanted[depth] === name ? depth + 1 : -1);
      space();
      if (text[at] === ",") at += 1;
    }
    at += 1;
  };
  value(0);
  return best;
}

/** @param {string} text @param {number} offset */
export function lineOf(text, offset) {
  return text.slice(0, offset).split("\n").length;
}
