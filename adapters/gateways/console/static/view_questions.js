// What runs ask of people: tool calls to be allowed, and questions to be answered.
import { attempt, messages } from "./dialogs.js";
import { json, shortId } from "./format.js";
import { Component, html } from "./html.js";

/** JSON if it can be read as such, else the text itself. */
export function value(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

class Approval extends Component {
  state = { editing: false };

  approve = (event) => {
    event.preventDefault();
    const { session, question } = this.props;
    const edited = new FormData(event.target).get("input");
    const input = edited === null ? undefined : value(edited);
    if (typeof input === "string") return messages.tell("The input is no JSON object.");
    attempt(() => session.approve(question.data.request_id, input));
  };

  deny = async () => {
    const { session, question } = this.props;
    const told = await messages.ask({
      title: `Deny ${question.data.tool_name}?`,
      text: "The agent is told, and goes on without it.",
      fields: [{ name: "reason", label: "Reason", placeholder: "may be left empty" }],
      action: "Deny",
      keep: "Not yet",
      danger: true,
    });
    if (told) attempt(() => session.deny(question.data.request_id, told.reason));
  };

  render({ question }, { editing }) {
    const { tool_name: name, tool_input: input } = question.data;
    return html`<form class="question" onSubmit=${this.approve} aria-label=${`Approval of ${name}`}>
      <p><b>${name}</b> wants to run <code class="run">${shortId(question.runId)}</code></p>
      ${editing
        ? html`<textarea name="input" aria-label="Input" rows="4" spellcheck=${false}>${json(input)}</textarea>`
        : html`<pre>${json(input)}</pre>`}
      <div class="buttons">
        <button type="button" class="plain" onClick=${() => this.setState({ editing: !editing })}>
          ${editing ? "Keep the input" : "Edit the input"}
        </button>
        <button type="button" onClick=${this.deny}>Deny…</button>
        <button class="primary approve">Approve</button>
      </div>
    </form>`;
  }
}

function Asked({ session, question }) {
  const answer = (event) => {
    event.preventDefault();
    const text = new FormData(event.target).get("answer");
    attempt(() => session.answer(question.runId, question.name, value(text)));
  };
  return html`<form class="question" onSubmit=${answer} aria-label=${`Answer to ${question.name}`}>
    <p><b>${question.name}</b> waits for an answer <code class="run">${shortId(question.runId)}</code></p>
    ${question.data !== null && question.data !== undefined && html`<pre>${json(question.data)}</pre>`}
    <div class="buttons">
      <input name="answer" aria-label="Answer" placeholder="text, or JSON" spellcheck=${false} required />
      <button class="primary">Answer</button>
    </div>
  </form>`;
}

/** `session` is a SessionModel. */
export function Questions({ session }) {
  const questions = session.questions.list();
  if (!questions.length) return null;
  return html`<section class="questions" aria-label="Waiting for you">
    ${questions.map((question) =>
      question.approval
        ? html`<${Approval} key=${question.key} session=${session} question=${question} />`
        : html`<${Asked} key=${question.key} session=${session} question=${question} />`)}
  </section>`;
}
