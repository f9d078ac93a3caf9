// A session's events as what was said and done, run by run. Pure: made anew from the events.
import { said } from "./format.js";
import { Spans } from "./spans.js";

/**
 * @typedef {{kind: "user"|"assistant"|"tool"|"note", key: string, text?: string, thinking?: string,
 *   streaming?: boolean, steered?: boolean, call?: object, tone?: string}} Item
 * @typedef {{key: string, runId: string|null, state: string|null, items: Item[], cut: boolean,
 *   submitted: any, spans: Spans}} Group
 */

const ENDS = {
  run_completed: "completed", run_failed: "failed", run_cancelled: "cancelled",
  run_timed_out: "timed out", run_interrupted: "interrupted",
};
const STATES = {
  run_submitted: "queued", run_started: "running", run_waiting: "waiting", run_requeued: "queued",
  run_resumed: "queued", run_cancel_requested: "cancelling",
};
const SESSION_NOTES = {
  session_paused: "Session paused", session_resumed: "Session resumed",
  session_closed: "Session closed", session_reopened: "Session reopened",
  session_quarantined: "Session quarantined", session_recovered: "Session recovered",
  conversation_cleared: "Conversation cleared", session_restored: "Session restored",
  session_forked: "Session forked", context_compacted: "Context compacted",
};

/** One run, or what the host recorded between runs. */
class Voice {
  constructor(event) {
    /** @type {Group} */
    this.group = {
      key: `${event.run_id ?? "host"}-${event.seq}`, runId: event.run_id, state: null, items: [],
      cut: event.run_id !== null && event.type !== "run_submitted",
      submitted: null, spans: new Spans(),
    };
    this.calls = new Map();
    this.partial = null;
    this.inputs = null;
    this.sent = false;
    this.answered = false;
  }

  add(event, item) {
    const added = { key: `${event.seq}-${this.group.items.length}`, ...item };
    this.group.items.push(added);
    return added;
  }

  note(event, text, tone = "quiet") {
    this.add(event, { kind: "note", text, tone });
  }

  call(event, data) {
    let call = this.calls.get(data.tool_call_id);
    if (call === undefined) {
      call = { id: data.tool_call_id, name: data.tool_name, input: data.tool_input, state: "called" };
      this.calls.set(call.id, call);
      this.add(event, { kind: "tool", call });
    }
    return call;
  }

  /** The run is over, and what was still to be decided or done in it stays as it is. */
  leaveCalls(how) {
    for (const call of this.calls.values())
      if (call.state === "asks") Object.assign(call, { state: "undecided", how });
      else if (call.state === "running") Object.assign(call, { state: "unfinished", how });
  }

  stopStreaming() {
    if (this.partial) this.partial.streaming = false;
    this.partial = null;
  }
}

const FOLDS = {
  run_submitted(voice, event) {
    voice.group.submitted = event.time_ns;
    const text = said(event.data.input);
    voice.inputs = voice.add(event, { kind: "user", text });
  },
  run_started(voice, event) {
    voice.stopStreaming();
    if (event.data.attempt > 1)
      voice.note(event, `Attempt ${event.data.attempt}`);
  },
  run_requeued: (voice, event) => voice.note(event, "Interrupted; it begins again"),
  run_cancel_requested: (voice, event) =>
    voice.note(event, withReason("Asked to cancel", event.data?.reason)),
  message_sent(voice, event) {
    const { role, content, steer_id: steerId } = event.data;
    const text = said(content);
    if (role === "user" && steerId === undefined && !voice.sent && voice.inputs) {
      voice.inputs.text = text;
      voice.sent = true;
    } else if (role === "user") {
      voice.stopStreaming();
      voice.add(event, { kind: "user", text, steered: steerId !== undefined });
    } else if (role === "assistant") voice.add(event, { kind: "assistant", text });
    else if (text) voice.note(event, `${role}: ${text}`);
  },
  message_streamed(voice, event) {
    voice.partial ??= voice.add(event, {
      kind: "assistant", text: "", thinking: "", streaming: true,
    });
    voice.partial.text += event.data.delta ?? "";
    voice.partial.thinking += event.data.thinking ?? "";
  },
  message_received(voice, event) {
    const text = said(event.data.content);
    const thinking = event.data.thinking;
    const { partial } = voice;
    voice.stopStreaming();
    if (partial) {
      partial.text = text || partial.text;
      if (typeof thinking === "string") partial.thinking = thinking;
    } else if (text) voice.add(event, { kind: "assistant", text, thinking });
    if (text) voice.answered = true;
    for (const call of event.data.tool_calls ?? []) voice.call(event, call);
  },
  tool_call_started(voice, event) {
    voice.stopStreaming();
    Object.assign(voice.call(event, event.data), { state: "running" });
  },
  tool_call_completed: (voice, event) =>
    Object.assign(voice.call(event, event.data), {
      state: event.data.is_error ? "failed" : "done", output: event.data.tool_output,
    }),
  tool_call_failed: (voice, event) =>
    Object.assign(voice.call(event, event.data), { state: "failed", error: event.data.error }),
  tool_approval_requested(voice, event) {
    voice.stopStreaming();
    Object.assign(voice.call(event, event.data), { state: "asks" });
  },
  tool_approval_granted: (voice, event) =>
    Object.assign(voice.call(event, event.data), { state: "approved", by: event.data.by }),
  tool_approval_denied: (voice, event) =>
    Object.assign(voice.call(event, event.data), {
      state: "denied", by: event.data.by, reason: event.data.reason,
    }),
  run_completed(voice, event) {
    const { partial } = voice;
    voice.stopStreaming();
    const output = event.data.output;
    if (voice.answered || output === null || output === undefined) return;
    const text = said(output);
    if (partial && typeof output === "string") partial.text = text;
    else if (text && text !== partial?.text) voice.add(event, { kind: "assistant", text });
  },
  run_failed: ended, run_cancelled: ended, run_timed_out: ended, run_interrupted: ended,
  error_occurred: (voice, event) => voice.note(event, said(event.data), "bad"),
};

function ended(voice, event) {
  voice.stopStreaming();
  const { error } = event.data ?? {};
  const tone = event.type === "run_cancelled" ? "quiet" : "bad";
  const what = `Run ${ENDS[event.type]}`;
  voice.note(event, error ? `${what}: ${error.message} (${error.code})` : what, tone);
}

/** The run that was begun last among those that run; what happens to the session happens to it. */
function running(voices) {
  const found = [...voices.values()];
  return found.findLast(({ group }) => group.state === "running" || group.state === "cancelling");
}

function withReason(text, reason) {
  return reason ? `${text}: ${reason}` : text;
}

/**
 * @param {object[]} events ascending
 * @returns {Group[]} in the order in which they begin
 */
export function conversation(events) {
  const voices = new Map();
  const groups = [];
  let last = null;
  for (const event of events) {
    const noted = SESSION_NOTES[event.type];
    const fold = FOLDS[event.type];
    if (!noted && !fold && !(event.type in STATES)) continue;
    const beside = noted && event.run_id === null ? running(voices) : undefined;
    let voice = beside ?? voices.get(event.run_id);
    if (voice === undefined || (event.run_id === null && last !== voice)) {
      voice = new Voice(event);
      voices.set(event.run_id, voice);
      groups.push(voice.group);
    }
    last = voice;
    const state = STATES[event.type] ?? ENDS[event.type];
    if (state) voice.group.state = state;
    voice.group.spans.add(event);
    if (event.type in ENDS) voice.leaveCalls(ENDS[event.type]);
    if (noted) voice.note(event, withReason(noted, event.data?.reason));
    else fold?.(voice, event);
  }
  return groups.filter((group) => group.items.length);
}
