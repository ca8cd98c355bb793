// The last ten minutes of a stream: its events as bars, and below them when it could not be seen.
import { call, now } from "./api.js";
import { showLatest } from "./latest.js";
import { $, ENDS, apart, colour, element, percent, put, span, timeOfDay } from "./words.js";

const SPAN = 10 * 60 * 1000;
const MOST_EVENTS = 300;
const MOST_STRETCHES = 200;
const PAGE = 1000;
const MOST_PAGES = 5;
const SILENT = 5000;  // a running event is told of every second; after so long without word it grows no more
const KINDS = { live: "seen", ended: "over" };  // all other states: it could not be seen

export class Timeline {
  constructor(root, eventsLink) {
    this.root = root;
    this.bars = $(".bars", root);
    this.strip = $(".strip", root);
    this.readout = $(".readout", root);
    this.link = eventsLink;
    this.events = new Map();
    this.stretches = [];
    this.bars.onkeydown = (key) => this.move(key);
    this.bars.onpointerleave = () => this.choose(null);
    this.load();
  }

  async load() {
    const from = (now() - SPAN) / 1000;
    let after = 0;
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const answer = await call(`${this.link}?from=${from}&after=${after}&limit=${PAGE}`).catch(() => null);
      for (const message of answer?.messages || []) {
        this.add(message);
        showLatest(message, (stream) => stream);  // of many streams the feed has the last seconds only
      }
      if (!answer || answer.messages.length < PAGE) break;
      after = answer.next;
    }
    this.draw();
  }

  hear(message) {
    this.add(message);
    this.draw();
  }

  add({ event, position, phase, recorded_at: recordedAt }) {
    const told = Date.parse(recordedAt);
    const known = this.events.get(event.id) || this.make(event, told, phase);
    if (phase === "started") known.start = startOf(event, told, phase);
    if (known.position >= position) return;
    Object.assign(known, { event, position, told });
    if (event.end_pts !== null) known.end = endOf(event, known.start, told);
    if (this.events.size > MOST_EVENTS) this.drop(this.events.keys().next().value);
  }

  make(event, told, phase) {
    const bar = element("button", "bar");
    bar.type = "button";
    bar.tabIndex = -1;
    bar.style.background = colour(event.label);
    const known = { bar, start: startOf(event, told, phase), end: null, told, position: -1, event };
    bar.onfocus = bar.onpointerenter = bar.onclick = () => this.choose(known);
    bar.onblur = () => this.choose(null);
    this.events.set(event.id, known);
    this.bars.append(bar);
    return known;
  }

  // The name of a recording is the id of its event, and a number from the second part on.
  labelOf(id) {
    return this.events.get(id)?.event.label;
  }

  drop(id) {
    this.events.get(id).bar.remove();
    this.events.delete(id);
  }

  // Which state the stream is in since when; null while nobody tells.
  noteState(state, since = now()) {
    const last = this.stretches.at(-1);
    const kind = state && (KINDS[state] || "unseen");
    if (last && last.to === null) {
      if (last.kind === kind) return;
      last.to = Math.max(last.from, since);
    }
    if (kind === null) return;
    const piece = element("i", kind);
    this.strip.append(piece);
    this.stretches.push({ kind, from: Math.max(since, last?.to ?? 0), to: null, piece });
    if (this.stretches.length > MOST_STRETCHES) this.stretches.shift().piece.remove();
  }

  draw() {
    const end = now();
    for (const [id, known] of this.events) {
      if (shownUntil(known, end) < end - SPAN) this.drop(id);
      else this.drawBar(known, end);
    }
    this.drawStretches(end);
    this.keepOneStop();
    this.say();
  }

  drawStretches(end) {
    const isOver = ({ to }) => to !== null && to < end - SPAN;
    while (this.stretches.some(isOver)) this.stretches.shift().piece.remove();
    for (const stretch of this.stretches) place(stretch.piece, stretch.from, stretch.to ?? end, end);
  }

  drawBar(known, end) {
    place(known.bar, known.start, shownUntil(known, end), end);
    known.bar.classList.toggle("running", known.event.end_pts === null);
    const text = this.sentence(known);
    if (known.bar.title !== text) {
      known.bar.title = text;
      known.bar.setAttribute("aria-label", text);
    }
  }

  sentence({ event, start, end }) {
    const times = end === null
      ? `since ${timeOfDay(start)}`
      : `${timeOfDay(start)} to ${timeOfDay(end)} (${span((end - start) / 1000)})`;
    const sure = `${percent(event.mean_confidence)} on average, ${percent(event.peak_confidence)} at best`;
    return `${apart(event.label)}, ${times}, ${sure}${event.end_reason ? `; ${ENDS[event.end_reason] || event.end_reason}` : ""}`;
  }

  inOrder() {
    return [...this.events.values()].sort((one, other) => one.start - other.start);
  }

  // One stop of the Tab key for all bars; the arrow keys go from bar to bar.
  keepOneStop() {
    const stops = this.inOrder();
    if (stops.length && !stops.some(({ bar }) => bar.tabIndex === 0)) stops.at(-1).bar.tabIndex = 0;
  }

  move(key) {
    const stops = this.inOrder();
    const here = stops.findIndex(({ bar }) => bar === key.target);
    const there = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: stops.length - 1 }[key.key];
    if (!stops[there]) return;
    key.preventDefault();
    stops[here].bar.tabIndex = -1;
    stops[there].bar.tabIndex = 0;
    stops[there].bar.focus();
  }

  choose(known) {
    this.chosen = known;
    this.say();
  }

  say() {
    const last = this.inOrder().at(-1);
    const shown = this.chosen || last;
    const lead = this.chosen ? "" : shown?.end === null ? "Now: " : "Last: ";
    put(this.readout, shown ? lead + this.sentence(shown) : "No events in the last 10 minutes");
  }
}

// A file's events have no wall clock of their own: it is reckoned from when they were told.
function startOf(event, told, phase) {
  if (event.started_at) return Date.parse(event.started_at);
  if (phase === "started") return told - 1000 * event.detect_delay;
  return told - (event.end_pts === null ? SPAN : 1000 * (event.end_pts - event.start_pts));
}
function endOf(event, start, told) {
  return event.ended_at ? Date.parse(event.ended_at) : Math.min(told, start + 1000 * (event.end_pts - event.start_pts));
}
const shownUntil = (known, end) => known.end ?? Math.min(end, known.told + SILENT);

function place(bar, from, to, end) {
  const left = Math.max(0, (from - (end - SPAN)) / SPAN);
  bar.style.left = `${100 * left}%`;
  bar.style.width = `${100 * Math.max(0, (to - (end - SPAN)) / SPAN - left)}%`;
}
