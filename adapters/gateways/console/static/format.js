// Values as people read them. Pure.

/** Nanoseconds since 1970, as a number or a BigInt, in milliseconds. */
export const milliseconds = (ns) => Number(ns) / 1e6;

export const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
});
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** The time of day; with the date if that is not today's. */
export function clock(ns, now = Date.now()) {
  const date = new Date(milliseconds(ns));
  const time = CLOCK.format(date);
  return DAY.format(date) === DAY.format(new Date(now)) ? time : `${DAY.format(date)} ${time}`;
}

/** All of a point in time, for a title. */
export const timestamp = (ns) => new Date(milliseconds(ns)).toISOString();

/** How long ago, like `12 s ago`. */
export function ago(ns, now = Date.now()) {
  const passed = Math.max(0, now - milliseconds(ns)) / 1000;
  if (passed < 2) return "now";
  if (passed < 60) return `${Math.floor(passed)} s ago`;
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  if (passed < 86_400) return `${Math.floor(passed / 3600)} h ago`;
  return `${Math.floor(passed / 86_400)} d ago`;
}

/** A time span in milliseconds, like `340 ms`, `2.1 s`, `3 min 20 s`. */
export function duration(ms) {
  if (ms === null || Number.isNaN(ms)) return "–";
  if (ms < 0) return "0 ms";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 60_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.floor((ms % 3_600_000) / 60_000)} min`;
}

/** A whole number with its thousands apart. */
export const count = (number) => Number(number).toLocaleString("en").replaceAll(",", "\u202f");

/** The end of an id that is long; the beginning of those made here is a time. */
export const shortId = (id) => (id.length <= 16 ? id : `…${id.slice(-8)}`);

/** JSON with BigInts as the numbers that they are. */
export function json(value, indent = 2) {
  const marked = JSON.stringify(
    value,
    (_key, item) => (typeof item === "bigint" ? `\u0000${item}\u0000` : item),
    indent,
  );
  return (marked ?? "null").replace(/"\\u0000(-?\d+)\\u0000"/g, "$1");
}

/** What was said, out of what agents put into `content`, `input` and `output`. */
export function said(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  if (Array.isArray(value))
    return value.every((block) => block && typeof block === "object" && "type" in block)
      ? value.map(saidBlock).filter(Boolean).join("\n")
      : json(value);
  if (typeof value === "object")
    for (const key of ["prompt", "content", "text", "message"])
      if (typeof value[key] === "string" || Array.isArray(value[key])) return said(value[key]);
  return json(value);
}

function saidBlock(block) {
  if (block.type === "text") return block.text;
  if (block.type === "image") return `[image ${block.media_type}]`;
  if (block.type === "thinking" || block.type === "tool_call") return "";
  if (block.type === "tool_result") return json(block.tool_output);
  return json(block);
}
