// Labels that the model learns from pictures: on trial first, then announced or forgotten.
import { ask, call } from "./api.js";
import { $, apart, colour, fromTemplate, percent, put } from "./words.js";

const AGAIN = 10000;
const cards = new Map();
let model;
let changed;
let timer;

// `hear` is called whenever the labels that may be announced are others than before.
export function startLabels(hear) {
  changed = hear;
  $("#teach-form").onsubmit = teach;
  $("#examples").onchange = showChoice;
  return refresh();
}

function say(text, wrong = false) {
  $("#teach-message").textContent = text;
  $("#teach-message").classList.toggle("wrong", wrong);
}

function showChoice() {
  const { length } = $("#examples").files;
  $("#chosen-examples").textContent = length ? `${length} picture${length > 1 ? "s" : ""}` : "Choose 5 to 20 pictures, or drop them here";
}

async function teach(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  $("#teach").disabled = true;
  say("Learning …");
  try {
    const { name } = await call(`${base()}/labels`, { method: "POST", body: form });
    event.target.reset();
    showChoice();
    say(`${name} is on trial: its events are counted and told to nobody.`);
  } catch (error) { say(error.message, true); }
  $("#teach").disabled = false;
  refresh();
}

const onTrial = ({ state }) => state === "shadow";
const base = () => `models/${encodeURIComponent(model)}`;

async function refresh() {
  clearTimeout(timer);
  try {
    if (!model) [{ name: model }] = (await ask("models")).models;
    const { learned } = await ask(`${base()}/labels`);
    const shown = await Promise.all(learned.map((label) => (onTrial(label) ? ask(label.links.self) : label)));
    $("#learned").replaceChildren(...shown.map(show));
    $("#no-learned").hidden = shown.length > 0;
    for (const [name, card] of cards) if (!card.isConnected) cards.delete(name);
    put($("#labels-trouble"), "");
  } catch (error) { put($("#labels-trouble"), error.message); }
  clearTimeout(timer);  // of another that ran meanwhile
  timer = setTimeout(refresh, AGAIN);
}

function show(label) {
  const card = cards.get(label.name) || make(label);
  put($(".state", card), onTrial(label) ? "on trial" : "announced");
  put($(".note", card), `From ${label.examples} pictures${onTrial(label) ? `; ${tried(label.comparison)}` : ""}`);
  put($(".warnings", card), label.warnings.join(" "));
  $(".promote", card).hidden = !onTrial(label);
  return card;
}

function make(label) {
  const card = fromTemplate("#learned-label");
  put($("strong", card), label.name);
  $(".spot", card).style.background = colour(label.name);
  $(".promote", card).onclick = () => act(label.links.promote, "POST", `${label.name} is announced from now on.`);
  $(".remove", card).onclick = () => act(label.links.self, "DELETE", `${label.name} is forgotten.`);
  for (const [kind, word] of [["promote", "Announce"], ["remove", "Forget"]]) {
    $(`.${kind}`, card).setAttribute("aria-label", `${word} ${label.name}`);
  }
  cards.set(label.name, card);
  return card;
}

async function act(path, method, done) {
  try {
    await call(path, { method });
    say(done);
    changed();
  } catch (error) { say(error.message, true); }
  refresh();
}

// What the trial has shown: how often it would have been announced, and what it takes from which label.
function tried({ frames, events, streams }) {
  if (!frames) return "no stream has been judged with it yet";
  const lost = new Map();
  for (const { taken, frames: judged } of streams) {
    for (const [name, share] of Object.entries(taken)) lost.set(name, (lost.get(name) || 0) + share * judged / frames);
  }
  const [most, share] = [...lost].sort(([, one], [, other]) => other - one)[0] || ["", 0];
  const cost = share >= 0.005 ? `; most of it would be taken from ${apart(most)}, ${percent(share)}` : "";
  return `${events} event${events === 1 ? "" : "s"} in ${frames.toLocaleString()} judged pictures${cost}`;
}
