// Uploads and clips, with their events.
import { ask, call, headers, withToken, words } from "./api.js";
import { $, cells, clock, colour, element, fromTemplate, percent, put } from "./words.js";

const MOST_CLIPS = 20;
const shown = new Map();
let waiting;

// A clip's stream is its id.
export function nameOf(stream) {
  const card = shown.get(stream);
  if (card) return $(".name", card).textContent;
  return stream.startsWith("clip_") ? `${stream.slice(0, 12)}…` : stream;
}

function say(text, wrong = false) {
  $("#message").textContent = text;
  $("#message").classList.toggle("wrong", wrong);
}

// XMLHttpRequest, because fetch tells no progress.
function upload(form) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "clips");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => { $("#sent").value = event.loaded / event.total; };
    request.onerror = () => reject(new Error("the connection was lost"));
    request.onload = () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* not from the service */ }
      if (request.status === 202) resolve(body);
      else reject(new Error(words(body, request.status)));
    };
    request.send(form);
  });
}

function showChoice() {
  $("#chosen").textContent = $("#file").files[0]?.name || "Choose a video, or drop one here";
}

// Who leaves ends the upload: the browser asks first.
const askToStay = (event) => event.preventDefault();

async function submit(event) {
  event.preventDefault();
  const form = new FormData();
  for (const field of event.target.querySelectorAll("details input")) if (field.value) form.append(field.name, field.value);
  form.append("file", $("#file").files[0]);
  $("#send").disabled = true;
  $("#sent").hidden = false;
  say("Uploading …");
  window.addEventListener("beforeunload", askToStay);
  try {
    const { links } = await upload(form);
    show(await call(links.self));  // so that its events have a name
    say("Uploaded.");
    event.target.reset();
    showChoice();
  } catch (error) { say(error.message, true); }
  window.removeEventListener("beforeunload", askToStay);
  $("#send").disabled = false;
  $("#sent").hidden = true;
  refresh();
}

function make(clip) {
  const card = fromTemplate("#clip");
  $(".remove", card).onclick = async () => {
    await call(clip.links.self, { method: "DELETE" }).catch((error) => { if (error.status !== 404) say(error.message, true); });
    refresh();
  };
  for (const kind of ["csv", "json", "vtt"]) $(`.${kind}`, card).href = withToken(`${clip.links.events}?format=${kind}`);
  $(".video", card).href = withToken(clip.links.annotated);
  shown.set(clip.id, card);
  return card;
}

function show(clip) {
  const card = shown.get(clip.id) || make(clip);
  const busy = clip.state === "queued" || clip.state === "running";
  $(".name", card).textContent = clip.name;
  const share = clip.state === "running" && clip.progress !== null ? `, ${percent(clip.progress)}` : "";
  $(".state", card).textContent = clip.state + share;
  $(".state", card).classList.toggle("failed", clip.state === "failed");
  $("progress", card).hidden = !busy;
  if (clip.progress === null) $("progress", card).removeAttribute("value");
  else $("progress", card).value = clip.progress;
  $(".note", card).textContent = clip.held_up || clip.error || clip.ended_early
    || `${clip.width}×${clip.height}, ${clip.frames} frames${clip.fps ? `, judged at ${clip.fps} a second` : ""}`;
  $(".player", card).hidden = clip.state !== "done";
  $(".remove", card).textContent = busy ? "Cancel" : "Remove";
  $(".remove", card).setAttribute("aria-label", `${busy ? "Cancel" : "Remove"} ${clip.name}`);
  showEvents(card, clip.events || [], clip.duration);
  card.dataset.finished = String(!busy);
  return card;
}

function showEvents(card, events, duration) {
  const length = duration || Math.max(1, ...events.map((event) => event.end_pts ?? event.start_pts + 1));
  const line = $(".line", card);
  line.replaceChildren(...events.map((event) => {
    const bar = element("i");
    bar.style.left = `${(100 * event.start_pts) / length}%`;
    bar.style.width = `${(100 * ((event.end_pts ?? length) - event.start_pts)) / length}%`;
    bar.title = event.label;
    bar.style.background = colour(event.label);
    return bar;
  }));
  line.setAttribute("aria-label", events.map((event) => event.label).join(", ") || "no events");
  $("tbody", card).replaceChildren(...events.map((event) => cells([
    event.label, clock(event.start_pts), event.end_pts === null ? "…" : clock(event.end_pts), percent(event.mean_confidence),
  ])));
  $("table", card).hidden = !events.length;
}

async function refresh() {
  clearTimeout(waiting);
  try {
    const { clips } = await ask(`clips?limit=${MOST_CLIPS}`);
    const cards = await Promise.all(clips.map(async (clip) => {
      const card = shown.get(clip.id);
      return card?.dataset.finished === "true" ? card : show(await ask(clip.links.self));
    }));
    $("#clips").replaceChildren(...cards);
    $("#no-clips").hidden = cards.length > 0;
    for (const [id, card] of shown) if (!card.isConnected) shown.delete(id);
    put($("#clips-trouble"), "");
    clearTimeout(waiting);
    waiting = setTimeout(refresh, cards.some((card) => card.dataset.finished !== "true") ? 1000 : 10000);
  } catch (error) {
    const isRemoved = error.status === 404;  // a clip, meanwhile
    put($("#clips-trouble"), isRemoved ? "" : error.message);
    clearTimeout(waiting);
    waiting = setTimeout(refresh, isRemoved ? 0 : 5000);
  }
}

export function startClips() {
  $("#file").onchange = showChoice;
  $("#upload-form").onsubmit = submit;
  return refresh();
}
