// All streams: a card for each, kept in step with the service; many are shown compactly.
import { ask } from "./api.js";
import { Card } from "./card.js";
import { hearEvents } from "./feed.js";
import { askToRemove, openForm } from "./form.js";
import { $ } from "./words.js";

const POLL = 3000;
const MANY = 8;  // more than these are shown compactly, unless this browser was told otherwise
const FEW = 3;  // changes at once that are announced one by one
const cards = new Map();
let waiting;
let news = [];

export function startStreams() {
  $("#add").onclick = () => openForm(null, refresh);
  $("#compact").onclick = ({ currentTarget }) => {
    localStorage.setItem("compact", currentTarget.ariaPressed === "true" ? "no" : "yes");
    arrange();
  };
  hearEvents(hear);
  setInterval(() => { if (!document.hidden) for (const card of cards.values()) card.tick(); }, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  return refresh();
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
  arrange();
}

// Compact cards are a little higher than wide: with so many columns all of them fill a wide screen.
function arrange() {
  const chosen = localStorage.getItem("compact");
  const compact = cards.size > 1 && (chosen ? chosen === "yes" : cards.size > MANY);
  $("#streams").classList.toggle("compact", compact);
  $("#streams").style.setProperty("--columns", Math.ceil(Math.sqrt(1.7 * cards.size)));
  $("#compact").ariaPressed = String(compact);
  $("#compact").hidden = cards.size < 2;
}

function add(stream) {
  const before = cards.get(stream.name);
  const card = new Card(stream, {
    announce,
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
  announce(`${name} was removed.`);
}

// To screen readers: they would hear but the last of what comes at once.
function announce(text) {
  if (!news.length) {
    setTimeout(() => {
      $("#announcer").textContent = news.length > FEW ? `${news.length} streams have changed.` : news.join(" ");
      news = [];
    }, 500);
  }
  news.push(text);
}

function say(text) {
  $("#streams-message").textContent = text;
  $("#streams-message").hidden = !text;
}
