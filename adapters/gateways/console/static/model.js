// Models hold what is known and tell those who watch when it changed; views only draw.
import { Component } from "./html.js";

const TELL_MS = 33;

/** Something that changes, and tells so at most 30 times a second. */
export class Model {
  #watchers = new Set();
  #timer = null;

  /**
   * @param {() => void} watcher called after changes
   * @returns {() => void} stops that
   */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  changed() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      for (const watcher of [...this.#watchers]) watcher();
    }, TELL_MS);
  }
}

/** A view of `props.model`, drawn again whenever that changed. */
export class Watching extends Component {
  componentDidMount() {
    this.unwatch = this.props.model.watch(() => this.forceUpdate());
    this.appeared();
  }

  componentWillUnmount() {
    this.unwatch();
    this.left();
  }

  /** Views that have their model work only while it is shown start it here, and stop it there. */
  appeared() {}
  left() {}
}

/** Calls `work` again and again while the page is visible: `milliseconds` after it was done. */
export class Poller {
  #work;
  #milliseconds;
  #timer = null;
  #stopped = true;
  #working = false;
  #again = false;
  #seen = () => document.visibilityState === "visible" && this.now();

  /** @param {() => Promise<void>} work  @param {number} milliseconds */
  constructor(work, milliseconds) {
    this.#work = work;
    this.#milliseconds = milliseconds;
  }

  start() {
    this.#stopped = false;
    document.addEventListener("visibilitychange", this.#seen);
    this.now();
  }

  stop() {
    this.#stopped = true;
    document.removeEventListener("visibilitychange", this.#seen);
    clearTimeout(this.#timer);
  }

  /** Do it now, and once more if it is being done already. */
  async now() {
    clearTimeout(this.#timer);
    if (this.#working) {
      this.#again = true;
      return;
    }
    this.#working = true;
    try {
      do {
        this.#again = false;
        await this.#work();
      } while (this.#again && !this.#stopped);
    } finally {
      this.#working = false;
    }
    if (!this.#stopped && document.visibilityState === "visible")
      this.#timer = setTimeout(() => this.now(), this.#milliseconds);
  }
}
