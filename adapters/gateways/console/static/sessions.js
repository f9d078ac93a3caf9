// The list of sessions, a page at a time, kept as it is now.
import { get } from "./api.js";
import { Model, Poller } from "./model.js";

const POLL_MS = 2_000;
const PAGE = 50;

export class SessionList extends Model {
  sessions = null;
  next = null;
  problem = null;
  prefix = "";
  tag = "";
  state = "";
  /** The cursors of the pages before this one; the first page has none. */
  #cursors = [];
  #poller = new Poller(() => this.#load(), POLL_MS);

  start() {
    this.#poller.start();
  }

  stop() {
    this.#poller.stop();
  }

  get page() {
    return this.#cursors.length + 1;
  }

  /** @param {{prefix?: string, tag?: string, state?: string}} wanted */
  filter(wanted) {
    Object.assign(this, wanted);
    this.#cursors = [];
    this.changed();
    this.#poller.now();
  }

  turn(forward) {
    if (forward && this.next) this.#cursors.push(this.next);
    else if (!forward) this.#cursors.pop();
    this.#poller.now();
  }

  async #load() {
    const { prefix, tag, state } = this;
    const cursor = this.#cursors.at(-1);
    // a tag that is still being written filters nothing
    const [name, ...value] = tag.split("=");
    const tags = name && value.length ? `${encodeURIComponent(name)}=${value.join("=")}` : null;
    try {
      const page = await get("v1/sessions", { prefix, tags, states: state, cursor, limit: PAGE });
      if (cursor !== this.#cursors.at(-1) || prefix !== this.prefix) return;
      this.sessions = page.sessions;
      this.next = page.next_cursor;
      this.problem = null;
    } catch (problem) {
      this.problem = problem;
    }
    this.changed();
  }
}

/** How many of a session's runs are in each state, by the names that views use. */
export function occupancy(session) {
  const of = (state) => session.runs[state] ?? 0;
  return {
    running: of("running") + of("cancelling"),
    queued: of("queued"),
    waiting: of("waiting"),
    failed: of("failed") + of("timed_out") + of("interrupted"),
    ended: of("completed") + of("cancelled") + of("failed") + of("timed_out") + of("interrupted"),
  };
}
