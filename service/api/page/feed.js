// Events of all streams as they happen: one socket for the whole page, which goes on where it broke off.
import { call, connect, now } from "./api.js";

const TOO_LONG = 15 * 60 * 1000;  // after such a break the page starts afresh instead of catching up
const RECENT = 300;  // messages of before the page was opened
const hearers = new Set();
let position = null;
let heardAt = 0;

// `hearer` gets messages {type: "event" | "gap"} and {type: "afresh"} after a long break; returns how to stop.
export function hearEvents(hearer) {
  hearers.add(hearer);
  return () => hearers.delete(hearer);
}
const tell = (message) => { for (const hearer of hearers) hearer(message); };

export async function startFeed(stand) {
  const log = await call("events?limit=1").catch(() => null);
  if (log) position = Math.max(log.forgotten, log.newest - RECENT);
  connect(path, hear, (open) => {
    if (!open && heardAt === 0) heardAt = now();
    stand(open);
  });
}

function path() {
  if (position !== null && heardAt && now() - heardAt > TOO_LONG) {
    position = null;
    tell({ type: "afresh" });
  }
  return position === null ? "events" : `events?after=${position}`;
}

function hear(message) {
  heardAt = 0;
  if (message.type === "hello") position ??= message.position;
  if (message.type === "gap") position = message.until;
  if (message.type === "event") position = message.position;
  tell(message);
}
