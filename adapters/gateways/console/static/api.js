// Requests to the gateway that this page came from.
import { Model } from "./model.js";

const TOKEN = "moorage-token";
const VISIBLE_ASCII = /^[!-~]+$/;
const ROOT = new URL("../", import.meta.url);

/** An error that the gateway, or the way to it, told. `status` 0: it could not be reached. */
export class Problem extends Error {
  /** @param {number} status  @param {object} document a problem document, or what there is of it */
  constructor(status, document = {}, retryAfterSeconds = null) {
    super(document.detail || document.title || `the server answered ${status}`);
    this.status = status;
    this.code = document.code ?? "";
    this.facts = document.facts ?? {};
    this.retryable = document.retryable ?? (status === 0 || status >= 500);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Who the page is to the server: its token, kept for as long as the tab is there. */
class Access extends Model {
  token = sessionStorage.getItem(TOKEN);
  /** What the token allows, as far as the server has told; null: nothing is known against it. */
  scopes = null;
  asking = false;
  refused = "";
  #waiting = [];

  /** Returns when no token has to be asked for. */
  ready() {
    return this.asking ? new Promise((resolve) => this.#waiting.push(resolve)) : undefined;
  }

  /** The server did not take the token `used`. */
  refuse(used) {
    if (used !== this.token) return; // there is another one meanwhile
    this.asking = true;
    this.refused = used === null ? "" : "This token is not known, or has expired.";
    this.changed();
  }

  /** The server told what the token `used` allows. */
  learn(used, scopes) {
    if (used !== this.token || !Array.isArray(scopes)) return;
    this.scopes = new Set(scopes);
    this.changed();
  }

  /** Whether the token may do what needs this scope, as far as is known. */
  allows(scope) {
    return this.scopes === null || this.scopes.has(scope) || this.scopes.has("admin");
  }

  /** @param {string} token  one that no header could carry is not taken */
  give(token) {
    if (!VISIBLE_ASCII.test(token.trim())) {
      this.refused = "A token has no such characters: copy it again as it was shown.";
      this.changed();
      return;
    }
    this.token = token.trim();
    this.scopes = null;
    sessionStorage.setItem(TOKEN, this.token);
    this.asking = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
    this.changed();
  }

  /** Forget the token; what is shown goes with it. */
  forget() {
    sessionStorage.removeItem(TOKEN);
    location.reload();
  }
}

export const access = new Access();

/**
 * An answer that is no error. Waits for a token where one is missing.
 * @param {string} path below the server's root, like `v1/sessions`
 * @param {{method?: string, headers?: object, body?: string, signal?: AbortSignal}} options
 * @returns {Promise<Response>}  Throws Problem, and AbortError.
 */
export async function request(path, options = {}) {
  for (;;) {
    await access.ready();
    const used = access.token;
    const headers = { accept: "application/json", ...options.headers };
    if (used !== null) headers.authorization = `Bearer ${used}`;
    let response;
    try {
      response = await fetch(new URL(path, ROOT), { cache: "no-store", ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, { detail: "the server cannot be reached" });
    }
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.code === "scope_missing") access.learn(used, problem.facts.granted);
    if (response.status !== 401) throw problem;
    access.refuse(used);
  }
}

async function problemOf(response) {
  const after = Number(response.headers.get("retry-after")) || null;
  const document = await response.json().catch(() => ({}));
  return new Problem(response.status, document, after);
}

/** GET a JSON value. @param {object} query names and values; null ones and [] are left out */
export async function get(path, query = {}, signal = undefined) {
  const response = await request(path + written(query), { signal });
  return parse(await response.text());
}

/** POST (or another method) a JSON value. */
export async function send(path, body = undefined, { method = "POST", headers = {} } = {}) {
  const content = body === undefined ? {} : { "content-type": "application/json" };
  const response = await request(path, {
    method,
    headers: { ...content, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return parse(await response.text());
}

function written(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== null && one !== undefined && one !== "") parameters.append(name, one);
  const text = parameters.toString();
  return text ? `?${text}` : "";
}

/** JSON with whole numbers above 2^53 as BigInt, where the browser tells their digits. */
export function parse(text) {
  return JSON.parse(text, (_key, value, context) =>
    typeof value === "number" &&
    !Number.isSafeInteger(value) &&
    /^-?\d+$/.test(context?.source ?? "")
      ? BigInt(context.source)
      : value,
  );
}

/** The path of a session, or of something below it. */
export function sessionPath(id, ...below) {
  return ["v1/sessions", id, ...below]
    .map((part, index) => (index ? encodeURIComponent(part) : part))
    .join("/");
}

/** A key that no other request has. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return "console-" + [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
