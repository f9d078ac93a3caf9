// The page: where one is, what is shown there, and what is always there.
import { Activity } from "./activity.js";
import { access } from "./api.js";
import { Dialogs, messages } from "./dialogs.js";
import { Component, html, render } from "./html.js";
import { listenToKeys } from "./keyboard.js";
import { Watching } from "./model.js";
import { route, searchHash } from "./routes.js";
import { Search } from "./search.js";
import { SessionModel } from "./session.js";
import { SessionList } from "./sessions.js";
import { OverviewView } from "./view_overview.js";
import { SearchView } from "./view_search.js";
import { SessionView } from "./view_session.js";
import { SessionsView } from "./view_sessions.js";

const THEME = "moorage-theme";
const DARK = matchMedia("(prefers-color-scheme: dark)");

class TokenButton extends Watching {
  render() {
    return access.token === null
      ? null
      : html`<button class="plain" onClick=${() => access.forget()}>Sign out</button>`;
  }
}

class App extends Component {
  list = new SessionList();
  activity = new Activity();
  state = { theme: localStorage.getItem(THEME) };
  place = route(location.hash);
  #model = null;

  componentDidMount() {
    window.addEventListener("hashchange", () => this.#arrive());
    DARK.addEventListener("change", () => this.forceUpdate());
    listenToKeys(this);
    access.watch(() => this.forceUpdate());
    this.activity.start();
  }

  #arrive() {
    const before = this.place;
    messages.leave();
    this.place = route(location.hash);
    const { view, id, text } = this.place;
    if (view !== before.view || id !== before.id || text !== before.text) this.#model = null;
    document.title = `${id ?? text ?? view} – Moorage`;
    this.forceUpdate(() => {
      // a list keeps the focus on its rows; elsewhere keys should reach what is shown
      if (this.#model === null || view !== before.view) document.getElementById("main")?.focus();
    });
  }

  get dark() {
    return this.state.theme === null ? DARK.matches : this.state.theme === "dark";
  }

  /** The SessionModel that is shown; null elsewhere. */
  get session() {
    return this.place.view === "session" ? this.#model : null;
  }

  switchTheme() {
    const theme = this.dark ? "light" : "dark";
    localStorage.setItem(THEME, theme);
    this.setState({ theme });
  }

  search = (event) => {
    event.preventDefault();
    const text = new FormData(event.target).get("text").trim();
    if (text) location.hash = searchHash(text);
  };

  #view(theme) {
    const { view, id, tab, text } = this.place;
    if (view === "session") {
      this.#model ??= new SessionModel(id);
      return html`<${SessionView} key=${`session ${id}`} model=${this.#model} tab=${tab} />`;
    }
    if (view === "overview") return html`<${OverviewView} model=${this.activity} theme=${theme} />`;
    if (view === "search") {
      this.#model ??= new Search(text);
      return html`<${SearchView} key=${`search ${text}`} model=${this.#model} />`;
    }
    if (view === "nowhere")
      return html`<main class="page" id="main" tabindex="-1">
        <p class="empty">There is no page ${text}. <a href="#/sessions">All sessions</a></p>
      </main>`;
    return html`<${SessionsView} model=${this.list} />`;
  }

  render() {
    const theme = this.dark ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
    const { view, text } = this.place;
    const here = (name) => (name === view ? "page" : undefined);
    return html`<a class="skip" href="#main" onClick=${(event) => {
        event.preventDefault();
        document.getElementById("main").focus();
      }}>To the content</a>
      <header class="top">
        <a class="brand" href="#/sessions"><img src="icon.svg" alt="" width="22" height="22" />Moorage</a>
        <nav aria-label="Main">
          <a href="#/sessions" aria-current=${here("sessions")}>Sessions</a>
          <a href="#/overview" aria-current=${here("overview")}>Overview</a>
        </nav>
        <form role="search" onSubmit=${this.search}>
          <input id="search" name="text" aria-label="Search" placeholder="Search  /" spellcheck=${false}
            autocomplete="off" defaultValue=${view === "search" ? text : ""} />
        </form>
        <${TokenButton} model=${access} />
        <button class="plain" onClick=${() => this.switchTheme()} aria-label="Dark or light" title="Dark or light (t)">
          ${theme === "dark" ? "☀" : "☾"}</button>
        <button class="plain" onClick=${() => messages.showHelp(true)} aria-label="Keys" title="Keys (?)">?</button>
      </header>
      ${this.#view(theme)}
      <${Dialogs} />`;
  }
}

render(html`<${App} />`, document.getElementById("app"));
