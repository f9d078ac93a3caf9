// Keys, where nothing is being written.
import { messages } from "./dialogs.js";
import { sessionHash, TABS } from "./routes.js";
import { cancelNewest } from "./view_session.js";
import { openNewSession } from "./view_sessions.js";

const WRITING = "input, textarea, select, [contenteditable]";
const focus = (selector) => document.querySelector(selector)?.focus();

/** Go to the next (1) or previous (-1) row of a list. */
function step(by) {
  const rows = [...document.querySelectorAll("a.row")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))].focus();
}

function escape(app) {
  const active = document.activeElement;
  if (active?.matches(WRITING)) active.blur();
  else if (app.place.view !== "sessions") location.hash = "#/sessions";
}

const go = (hash) => () => void (location.hash = hash);

/** Key -> what it does; `app` is the App. */
const KEYS = {
  "/": () => focus("#search"),
  "?": () => messages.showHelp(true),
  j: () => step(1),
  ArrowDown: () => step(1),
  k: () => step(-1),
  ArrowUp: () => step(-1),
  s: go("#/sessions"),
  o: go("#/overview"),
  n: () => void openNewSession(),
  t: (app) => app.switchTheme(),
  i: () => focus("#composer"),
  a: () => focus(".question button.primary, .question input"),
  x: (app) => app.session && void cancelNewest(app.session),
};
for (const [index, tab] of TABS.entries())
  KEYS[index + 1] = (app) => {
    if (app.place.view === "session") location.hash = sessionHash(app.place.id, tab);
  };
const SCROLLING = new Set(["ArrowDown", "ArrowUp"]);

/** @param {object} app */
export function listenToKeys(app) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || messages.open) return;
    if (event.key === "Escape") return escape(app);
    if (event.target.matches?.(WRITING)) return;
    // in a session these scroll what is shown
    if (SCROLLING.has(event.key) && app.place.view === "session") return;
    const work = KEYS[event.key];
    if (!work) return;
    event.preventDefault();
    work(app);
  });
}
