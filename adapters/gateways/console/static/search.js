// Looking for something in all sessions: in their names, inputs of runs and data of events.
import { get } from "./api.js";
import { Model } from "./model.js";

const SHOWN = 20;
const LOOKS = 5; // the server looks at so many sessions at a time, and may find nothing in them

/** What is searched -> the name of the list in a page of it. */
export const KINDS = ["sessions", "runs", "events"];

/** @typedef {{items: object[], cursor: string|null, busy: boolean, problem: Error|null}} Found */

export class Search extends Model {
  /** @type {Record<string, Found>} */
  found = {};
  #stopped = false;

  /** @param {string} text */
  constructor(text) {
    super();
    this.text = text;
    for (const kind of KINDS) this.found[kind] = { items: [], cursor: null, busy: true, problem: null };
  }

  start() {
    for (const kind of KINDS) this.more(kind);
  }

  stop() {
    this.#stopped = true;
  }

  /** Go on looking: until there are some more, or for a while. */
  async more(kind) {
    const found = this.found[kind];
    const wanted = found.items.length + SHOWN;
    found.busy = true;
    this.changed();
    try {
      for (let look = 0; look < LOOKS && !this.#stopped; look++) {
        const limit = wanted - found.items.length;
        const query = { text: this.text, limit, cursor: found.cursor };
        const page = await get(`v1/search/${kind}`, query);
        found.items = [...found.items, ...page[kind]];
        found.cursor = page.next_cursor;
        if (found.cursor === null || found.items.length >= wanted) break;
      }
      found.problem = null;
    } catch (problem) {
      found.problem = problem;
    }
    found.busy = false;
    this.changed();
  }
}
