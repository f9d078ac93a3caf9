// Server-sent events out of pieces of text. Pure.

/** @typedef {{id: string|null, event: string, data: string|null, retry: number|null}} Block */

/** Keeps what has come of the block that has not ended yet. */
export class SseParser {
  #left = "";

  /** @param {string} text @returns {Block[]} the blocks that end in it; comments make none */
  feed(text) {
    const parts = (this.#left + text).split(/\r?\n\r?\n/);
    this.#left = parts.pop();
    return parts.map(block).filter((found) => found !== null);
  }
}

/** @param {string} text @returns {Block|null} */
function block(text) {
  const found = { id: null, event: "message", data: null, retry: null };
  let told = false;
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon === 0 || line === "") continue;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    told = true;
    if (name === "data") found.data = found.data === null ? value : `${found.data}\n${value}`;
    else if (name === "retry") found.retry = Number(value) || null;
    else if (name === "id" || name === "event") found[name] = value;
  }
  return told ? found : null;
}
