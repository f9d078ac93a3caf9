// What is asked before it is done, what went wrong, the token, and the keys.
import { access } from "./api.js";
import { Component, createRef, html } from "./html.js";
import { Model, Watching } from "./model.js";

const NOTICE_MS = 8_000;

class Messages extends Model {
  notices = [];
  question = null;
  help = false;

  /** @param {string} text  @param {"good"|"bad"} tone */
  tell(text, tone = "bad") {
    const notice = { text, tone, key: performance.now() };
    this.notices = [...this.notices.slice(-3), notice];
    setTimeout(() => this.dismiss(notice), NOTICE_MS);
    this.changed();
  }

  dismiss(notice) {
    this.notices = this.notices.filter((one) => one !== notice);
    this.changed();
  }

  /** Nothing is asked any longer: what it was about is not shown. */
  leave() {
    this.question?.answer(null);
    if (this.help) this.showHelp(false);
  }

  /** @returns {Promise<object|null>} the values of its fields by name; null: rather not */
  ask(question) {
    return new Promise((resolve) => {
      this.question = {
        ...question,
        answer: (values) => {
          this.question = null;
          this.changed();
          resolve(values);
        },
      };
      this.changed();
    });
  }

  showHelp(help) {
    this.help = help;
    this.changed();
  }

  get open() {
    return this.question !== null || this.help || access.asking;
  }
}

export const messages = new Messages();

/** Do something, and tell what the server has against it. @returns its value, or null */
export async function attempt(work, done = "") {
  try {
    const value = await work();
    if (done) messages.tell(done, "good");
    return value ?? true;
  } catch (problem) {
    messages.tell(problem.message);
    return null;
  }
}

/** A modal dialog: the browser keeps the focus in it, and Escape leaves it. */
class Modal extends Component {
  element = createRef();

  componentDidMount() {
    this.element.current.showModal();
  }

  render({ title, onClose, children }) {
    const cancelled = (event) => {
      event.preventDefault();
      onClose?.();
    };
    return html`<dialog ref=${this.element} aria-label=${title} onCancel=${cancelled}>
      <h2>${title}</h2>
      ${children}
    </dialog>`;
  }
}

function Question({ question }) {
  const submitted = (event) => {
    event.preventDefault();
    question.answer(Object.fromEntries(new FormData(event.target)));
  };
  return html`<${Modal} title=${question.title} onClose=${() => question.answer(null)}>
    <form onSubmit=${submitted}>
      ${question.text && html`<p>${question.text}</p>`}
      ${(question.fields ?? []).map(
        (field) => html`<label class="field"
          ><span>${field.label}</span>
          <input name=${field.name} type=${field.type ?? "text"} placeholder=${field.placeholder ?? ""}
            autocomplete="off" spellcheck=${false}
        /></label>`,
      )}
      <div class="buttons">
        <button type="button" onClick=${() => question.answer(null)}>${question.keep ?? "Cancel"}</button>
        <button class=${question.danger ? "danger" : "primary"} autofocus=${!question.fields}>
          ${question.action}
        </button>
      </div>
    </form>
  <//>`;
}

function TokenForm() {
  const submitted = (event) => {
    event.preventDefault();
    const token = new FormData(event.target).get("token");
    if (token.trim()) access.give(token);
  };
  return html`<${Modal} title="This server asks who you are">
    <form onSubmit=${submitted}>
      ${access.refused && html`<p class="bad" role="alert">${access.refused}</p>`}
      <p>A token as <code>moorage tokens new NAME</code> shows it. It is kept in this tab only.</p>
      <label class="field"
        ><span>Token</span>
        <input name="token" type="password" autocomplete="off" spellcheck=${false} autofocus required />
      </label>
      <div class="buttons"><button class="primary">Continue</button></div>
    </form>
  <//>`;
}

const KEYS = [
  ["/", "Search"], ["s", "Sessions"], ["o", "Overview"], ["n", "New session"],
  ["j k", "Next or previous session"], ["Enter", "Open it; in the box: submit"],
  ["1 2 3", "Conversation, events, runs"], ["i", "Write to the session"],
  ["Alt Enter", "Steer the running run instead"], ["a", "To the first decision that is wanted"],
  ["x", "Cancel the newest run, after a question"], ["t", "Dark or light"],
  ["Esc", "Leave a field, then a session"], ["?", "These keys"],
];

function Help() {
  return html`<${Modal} title="Keys" onClose=${() => messages.showHelp(false)}>
    <dl class="keys">
      ${KEYS.map(
        ([keys, what]) => html`<div>
          <dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd>`)}</dt>
          <dd>${what}</dd>
        </div>`,
      )}
    </dl>
    <div class="buttons">
      <button autofocus onClick=${() => messages.showHelp(false)}>Close</button>
    </div>
  <//>`;
}

class TokenGate extends Watching {
  render() {
    return access.asking ? html`<${TokenForm} key=${access.refused} />` : null;
  }
}

class Messaging extends Watching {
  render() {
    const { notices, question, help } = messages;
    return html`<div class="notices" role="status" aria-live="polite">
        ${notices.map(
          (notice) => html`<div key=${notice.key} class="notice ${notice.tone}">
            <span>${notice.text}</span>
            <button class="plain" aria-label="Dismiss" onClick=${() => messages.dismiss(notice)}>×</button>
          </div>`,
        )}
      </div>
      ${question && html`<${Question} question=${question} />`} ${help && html`<${Help} />`}`;
  }
}

export const Dialogs = () =>
  html`<${Messaging} model=${messages} /><${TokenGate} model=${access} />`;
