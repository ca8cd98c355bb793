// The table of the latest events: one row an event, the latest on top, brought up to date in place.
import { $, cells, colour, element, moment, percent, put, span } from "./words.js";

const ROWS = 50;
const REDATE = 60_000;
const rows = new Map();
setInterval(() => { for (const row of rows.values()) date(row); }, REDATE);  // at midnight today becomes yesterday

export function showLatest(message, nameOf) {
  if (message.type === "gap") note(`messages ${message.after + 1} to ${message.until} are no longer kept`);
  if (message.type === "event") showEvent(message, nameOf(message.event.stream));
  if (message.type === "afresh") clear();  // whether what went on has ended is not heard any more
}

function showEvent({ event, position, recorded_at: recordedAt }, name) {
  const row = rows.get(event.id) || addRow(event, recordedAt);
  if (Number(row.dataset.position) >= position) return;
  row.dataset.position = position;
  const length = event.end_pts === null ? "going on" : span(event.end_pts - event.start_pts);
  [name, length, percent(event.mean_confidence)].forEach((text, index) => put(row.cells[index + 2], text));
  row.classList.toggle("running", event.end_pts === null);
}

function addRow(event, recordedAt) {
  const began = event.started_at ? Date.parse(event.started_at) : Date.parse(recordedAt) - 1000 * event.detect_delay;
  const row = cells(["", "", "", "", ""]);
  row.dataset.began = began;
  date(row);
  const spot = element("i", "spot");
  spot.style.background = colour(event.label);
  row.cells[1].append(spot, event.label);
  rows.set(event.id, row);
  insert(row, began);
  return row;
}

const date = (row) => put(row.cells[0], moment(Number(row.dataset.began)));

function note(text) {
  insert(cells(["", text, "", "", ""]), Date.now());
}

function clear() {
  rows.clear();
  $("#latest tbody").replaceChildren();
}

function insert(row, began) {
  const body = $("#latest tbody");
  $("#no-events").hidden = true;
  $("#latest").hidden = false;
  body.insertBefore(row, [...body.rows].find((other) => Number(other.dataset.began) <= began) ?? null);
  while (body.rows.length > ROWS) body.deleteRow(-1);
  for (const [id, kept] of rows) if (!kept.isConnected) rows.delete(id);
}
