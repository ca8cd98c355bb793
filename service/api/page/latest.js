// The table of the latest events: one row an event, brought up to date in place. What goes on stands on top until it
// is over; below it the latest that are.
import { now } from "./api.js";
import { $, cells, colour, element, moment, percent, put, span } from "./words.js";

const ROWS = 50;
const REDATE = 60_000;
const rows = new Map();
setInterval(() => { for (const row of rows.values()) date(row); }, REDATE);  // at midnight today becomes yesterday

export function showLatest(message, nameOf) {
  if (message.type === "gap") {
    doubt();
    note(`messages ${message.after + 1} to ${message.until} are no longer kept`);
  }
  if (message.type === "event") showEvent(message, nameOf(message.event.stream));
  if (message.type === "afresh") clear();  // whether what went on has ended is not heard any more
}

function showEvent({ event, position, recorded_at: recordedAt }, name) {
  const row = rows.get(event.id) || makeRow(event, recordedAt);
  if (Number(row.dataset.position) >= position) return;
  row.dataset.position = position;
  const length = event.end_pts === null ? "going on" : span(event.end_pts - event.start_pts);
  [name, length, percent(event.mean_confidence)].forEach((text, index) => put(row.cells[index + 2], text));
  setRunning(row, event.end_pts === null);
}

function makeRow(event, recordedAt) {
  const began = event.started_at ? Date.parse(event.started_at) : Date.parse(recordedAt) - 1000 * event.detect_delay;
  const row = cells(["", "", "", "", ""]);
  row.dataset.began = began;
  date(row);
  const spot = element("i", "spot");
  spot.style.background = colour(event.label);
  row.cells[1].append(spot, event.label);
  rows.set(event.id, row);
  return row;
}

const isRunning = (row) => row.classList.contains("running");

function setRunning(row, running) {
  if (row.isConnected && isRunning(row) === running) return;
  row.classList.toggle("running", running);
  insert(row);
}

// The end of what goes on may be among the messages that are not kept; if it is not, the next word will tell.
function doubt() {
  for (const row of rows.values()) {
    if (!isRunning(row)) continue;
    put(row.cells[3], "–");
    setRunning(row, false);
  }
}

const date = (row) => put(row.cells[0], moment(Number(row.dataset.began)));

function note(text) {
  const row = cells(["", text, "", "", ""]);
  row.dataset.began = now();
  insert(row);
}

function clear() {
  rows.clear();
  $("#latest tbody").replaceChildren();
}

function comesBefore(row, other) {
  if (isRunning(row) !== isRunning(other)) return isRunning(row);
  return Number(row.dataset.began) >= Number(other.dataset.began);
}

function insert(row) {
  const body = $("#latest tbody");
  $("#no-events").hidden = true;
  $("#latest").hidden = false;
  const others = [...body.rows].filter((other) => other !== row);
  body.insertBefore(row, others.find((other) => comesBefore(row, other)) ?? null);
  for (const old of [...body.rows].filter((one) => !isRunning(one)).slice(ROWS)) old.remove();
  for (const [id, kept] of rows) if (!kept.isConnected) rows.delete(id);
}
