// All streams: a card for each, kept in step with the service.
import { ask } from "./api.js";
import { Card } from "./card.js";
import { hearEvents } from "./feed.js";
import { askToRemove, openForm } from "./form.js";
import { $ } from "./words.js";

const POLL = 3000;
const cards = new Map();
let waiting;

export function startStreams() {
  $("#add").onclick = () => openForm(null, refresh);
  hearEvents(hear);
  setInterval(() => { if (!document.hidden) for (const card of cards.values()) card.tick(); }, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  refresh();
}

function hear(message) {
  if (message.type === "event") cards.get(message.event.stream)?.timeline.hear(message);
  if (message.type === "afresh") for (const card of cards.values()) card.timeline.load();
}

async function refresh() {
  clearTimeout(waiting);
  try {
    const { streams } = await ask("streams");
    keepInStep(streams);
    say("");
  } catch (error) {
    say(error.message);
    for (const card of cards.values()) card.explain(false);
  }
  clearTimeout(waiting);
  if (!document.hidden) waiting = setTimeout(refresh, POLL);
}

function keepInStep(streams) {
  const names = new Set(streams.map(({ name }) => name));
  for (const [name, card] of cards) if (!names.has(name)) drop(name, card);
  for (const stream of streams) {
    const card = cards.get(stream.name);
    if (card && card.stream.created_at === stream.created_at) card.show(stream);
    else add(stream);
  }
  $("#no-streams").hidden = streams.length > 0;
}

function add(stream) {
  const before = cards.get(stream.name);
  const card = new Card(stream, {
    announce: (text) => { $("#announcer").textContent = text; },
    gone: refresh,
    change: (one) => openForm(one, refresh),
    remove: (one) => askToRemove(one, refresh),
  });
  cards.set(stream.name, card);
  if (before) before.root.after(card.root);
  else $("#streams").append(card.root);
  before?.close();
}

function drop(name, card) {
  card.close();
  cards.delete(name);
  $("#announcer").textContent = `${name} was removed`;
}

function say(text) {
  $("#streams-message").textContent = text;
  $("#streams-message").hidden = !text;
}
