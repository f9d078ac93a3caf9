// Following a session's log: with fetch, since EventSource sends no Authorization header.
import { Problem, parse, request, sessionPath } from "./api.js";
import { SseParser } from "./sse.js";

const SILENCE_MS = 90_000; // three heartbeats: then the connection is taken for dead
const BACKOFF_MS = 400;
const BACKOFF_MS_MAX = 10_000;
// a browser has six connections to a server, for all tabs: one that nobody looks at gives its back
const HIDDEN_MS = 30_000;
const FOREVER_MS = 2 ** 31 - 1;
const visible = () => document.visibilityState === "visible";
const CLOSED_MS = 5_000; // how often to see whether a closed session was opened again

/** @param {number} failures @returns {number} milliseconds, with jitter */
export function backoff(failures) {
  const most = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** Math.min(failures, 10));
  return most * (0.5 + Math.random() / 2);
}

/**
 * The events behind `after`, each once and in order, until `stop`: over connections that are cut,
 * and servers that are killed and started again.
 */
export class Feed {
  #stopping = new AbortController();
  #wake = () => {};
  #cut = () => {};
  #hiding = null;
  #online = () => this.retry();
  #seen = () => {
    clearTimeout(this.#hiding);
    if (visible()) this.retry();
    else this.#hiding = setTimeout(() => this.#cut(), HIDDEN_MS);
  };

  /**
   * @param {string} sessionId
   * @param {number} after the seq behind which to begin
   * @param {(events: object[]) => void} onEvents
   * @param {(state: "connecting"|"live"|"waiting"|"ended"|"gone", problem: Error|null) => void} onState
   */
  constructor(sessionId, after, onEvents, onState) {
    this.sessionId = sessionId;
    this.after = after;
    this.onEvents = onEvents;
    this.onState = onState;
  }

  start() {
    window.addEventListener("online", this.#online);
    document.addEventListener("visibilitychange", this.#seen);
    this.#run();
    return this;
  }

  stop() {
    window.removeEventListener("online", this.#online);
    document.removeEventListener("visibilitychange", this.#seen);
    clearTimeout(this.#hiding);
    this.#stopping.abort();
    this.#wake();
  }

  /** Do not wait any longer. */
  retry() {
    this.#wake();
  }

  async #run() {
    let failures = 0;
    let ended = false;
    while (!this.#stopping.signal.aborted) {
      if (!visible()) {
        await this.#pause(FOREVER_MS);
        continue;
      }
      const before = this.after;
      let delay = null;
      try {
        if (!ended) this.onState("connecting", null);
        const reason = await this.#read();
        ended = reason === "session_closed";
        this.onState(ended ? "ended" : "waiting", null);
        if (ended) delay = CLOSED_MS;
        failures = 0;
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        if (error.code === "cursor_expired") this.after = error.facts.oldest_seq - 1;
        else if (error.status === 404) return this.onState("gone", error);
        ended = false;
        this.onState("waiting", error);
        delay = error.retryAfterSeconds && error.retryAfterSeconds * 1000;
      }
      failures = this.after > before ? 1 : failures + 1;
      await this.#pause(delay ?? backoff(failures));
    }
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** One connection: why it ended. Throws Problem when it was cut. */
  async #read() {
    const connection = new AbortController();
    const stop = () => connection.abort();
    this.#cut = stop;
    this.#stopping.signal.addEventListener("abort", stop);
    let silence = setTimeout(stop, SILENCE_MS);
    try {
      const response = await request(sessionPath(this.sessionId, "events"), {
        headers: { accept: "text/event-stream", "last-event-id": String(this.after) },
        signal: connection.signal,
      });
      if (response.status === 204) return "session_closed";
      this.onState("live", null);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new SseParser();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) throw new Problem(0, { detail: "the connection was cut" });
        clearTimeout(silence);
        silence = setTimeout(stop, SILENCE_MS);
        const reason = this.#take(parser.feed(value));
        if (reason !== null) return reason;
      }
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw new Problem(0, { detail: "the connection was cut" });
    } finally {
      clearTimeout(silence);
      this.#stopping.signal.removeEventListener("abort", stop);
      connection.abort();
    }
  }

  /** Hand on what is new; the reason if the stream says that it ends. */
  #take(blocks) {
    const events = [];
    let reason = null;
    for (const { event, data } of blocks) {
      if (data === null) continue;
      const value = parse(data);
      if (event === "end") reason = value.reason;
      else if (event === "problem") throw new Problem(value.status, value);
      else if (value.seq > this.after) {
        this.after = value.seq;
        events.push(value);
      }
    }
    if (events.length) this.onEvents(events);
    return reason;
  }
}
