// Where in the console one is, as the part of the address behind #. Pure but for `here`.

export const TABS = ["conversation", "events", "runs"];

export const sessionHash = (id, tab = TABS[0]) =>
  `#/session/${encodeURIComponent(id)}${tab === TABS[0] ? "" : `/${tab}`}`;
export const searchHash = (text) => `#/search/${encodeURIComponent(text)}`;

/** @returns {{view: string, id?: string, tab?: string, text?: string}} */
export function route(hash) {
  const [view, argument, tab] = hash.replace(/^#\/?/, "").split("/");
  if ((view === "session" || view === "sessions") && argument)
    return { view: "session", id: decoded(argument), tab: TABS.includes(tab) ? tab : TABS[0] };
  if (view === "search") return { view, text: decoded(argument ?? "") };
  if (view === "overview") return { view };
  return view === "" || view === "sessions" ? { view: "sessions" } : { view: "nowhere", text: hash };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
