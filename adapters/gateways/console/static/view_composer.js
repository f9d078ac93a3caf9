// The box below a session: a new run, or a message to the one that is running.
import { newKey } from "./api.js";
import { attempt, messages } from "./dialogs.js";
import { Component, createRef, html } from "./html.js";

export class Composer extends Component {
  state = { sending: false, asJson: false };
  box = createRef();
  #tried = { what: null, key: null };

  keyed = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (event.altKey) this.steer();
    else this.submit(event);
  };

  submit = (event) => {
    event.preventDefault();
    const { session } = this.props;
    this.#send((input, key) => session.submit(input, key), "run");
  };

  steer = () => {
    const { session, running } = this.props;
    if (!running) return messages.tell("No run is running that could be steered.");
    this.#send((input, key) => session.steer(running, input, key), running);
  };

  /** Tried again after an error it is the same request: the first one may have arrived. */
  #key(what) {
    if (this.#tried.what !== what) this.#tried = { what, key: newKey() };
    return this.#tried.key;
  }

  async #send(work, to) {
    const text = this.box.current.value;
    if (!text.trim() || this.state.sending) return;
    let input = text;
    if (this.state.asJson)
      try {
        input = JSON.parse(text);
      } catch (error) {
        return messages.tell(`That is no JSON: ${error.message}`);
      }
    this.setState({ sending: true });
    const done = await attempt(() => work(input, this.#key(`${to} ${text}`)));
    this.setState({ sending: false });
    if (!done) return;
    this.#tried = { what: null, key: null };
    if (this.box.current.value === text) this.box.current.value = "";
    this.props.onSent?.();
  }

  render({ running, disabled }, { sending, asJson }) {
    return html`<form class="composer" onSubmit=${this.submit}>
      <textarea ref=${this.box} id="composer" rows="2" aria-label="Message" disabled=${disabled}
        placeholder=${disabled ?? "Write to the session…"} onKeyDown=${this.keyed}></textarea>
      <div class="buttons">
        <label><input type="checkbox" checked=${asJson}
          onChange=${(event) => this.setState({ asJson: event.target.checked })} /> JSON</label>
        ${running && html`<button type="button" onClick=${this.steer} title="Alt Enter">Steer</button>`}
        <button class="primary" disabled=${sending || Boolean(disabled)} title="Enter">Submit</button>
      </div>
    </form>`;
  }
}
