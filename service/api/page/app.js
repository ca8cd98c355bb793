// The page: uploads, clips with their events, and the live list over a WebSocket. Text is only ever set as text.
const $ = (selector, within = document) => within.querySelector(selector);
const LIVE_ROWS = 50;
let token = sessionStorage.getItem("token") || new URLSearchParams(location.search).get("token") || "";
if (location.search) history.replaceState(null, "", "/");  // no token in the address bar

const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});
const withToken = (path) => (token ? `${path}${path.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}` : path);
const clock = (seconds) => {
  const whole = Math.floor(seconds / 60);
  return `${String(whole).padStart(2, "0")}:${(seconds - 60 * whole).toFixed(2).padStart(5, "0")}`;
};
const percent = (share) => `${Math.round(share * 100)} %`;
const colour = (label) => `hsl(${[...label].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7)} 65% 50%)`;
const cells = (texts) => {
  const row = document.createElement("tr");
  for (const text of texts) row.insertCell().textContent = text;
  return row;
};

async function call(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  if (answer.status === 401) $("#access").hidden = false;
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || answer.statusText);
  return answer.status === 204 ? null : answer.json();
}

function say(text, wrong = false) {
  $("#message").textContent = text;
  $("#message").classList.toggle("wrong", wrong);
}

// Uploads: XMLHttpRequest, because fetch tells no progress.
function upload(form) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/clips");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => { $("#sent").value = event.loaded / event.total; };
    request.onerror = () => reject(new Error("the connection was lost"));
    request.onload = () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* not from the service */ }
      if (request.status === 202) resolve(body);
      else reject(new Error(body.detail || body.errors?.[0]?.what || `status ${request.status}`));
    };
    request.send(form);
  });
}

$("#file").onchange = () => { $("#chosen").textContent = $("#file").files[0]?.name || "Choose a video, or drop one here"; };
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("#drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("#drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      $("#file").files = event.dataTransfer.files;
      $("#file").onchange();
    }
  });
}
$("#upload-form").onsubmit = async (event) => {
  event.preventDefault();
  const form = new FormData();
  for (const field of document.querySelectorAll("details input")) if (field.value) form.append(field.name, field.value);
  form.append("file", $("#file").files[0]);
  $("#send").disabled = true;
  $("#sent").hidden = false;
  say("Uploading …");
  try {
    const { links } = await upload(form);
    show(await call(links.self));  // so that its events have a name
    say("Uploaded.");
    event.target.reset();
    $("#file").onchange();
  } catch (error) { say(error.message, true); }
  $("#send").disabled = false;
  $("#sent").hidden = true;
  refresh();
};

// Clips
const shown = new Map();
const nameOf = (stream) => {  // a clip's stream is its id, with a dot and a number from the second attempt on
  const card = shown.get(stream.split(".")[0]);
  return card ? $(".name", card).textContent : stream.length > 16 ? `${stream.slice(0, 12)}…` : stream;
};
function show(clip) {
  let card = shown.get(clip.id);
  if (!card) {
    card = $("#clip").content.cloneNode(true).firstElementChild;
    shown.set(clip.id, card);
    $(".remove", card).onclick = async () => {
      await call(clip.links.self, { method: "DELETE" }).catch((error) => say(error.message, true));
      refresh();
    };
    for (const kind of ["csv", "json", "vtt"]) $(`.${kind}`, card).href = withToken(`${clip.links.events}?format=${kind}`);
    $(".video", card).href = withToken(clip.links.annotated);
  }
  const busy = clip.state === "queued" || clip.state === "running";
  $(".name", card).textContent = clip.name;
  $(".state", card).textContent = clip.state + (clip.state === "running" && clip.progress !== null ? `, ${percent(clip.progress)}` : "");
  $(".state", card).classList.toggle("failed", clip.state === "failed");
  $("progress", card).hidden = !busy;
  if (clip.progress === null) $("progress", card).removeAttribute("value");
  else $("progress", card).value = clip.progress;
  $(".note", card).textContent = clip.error || clip.ended_early
    || `${clip.width}×${clip.height}, ${clip.frames} frames${clip.fps ? `, ${clip.fps} fps` : ""}`;
  $(".video", card).hidden = clip.state !== "done";
  $(".remove", card).textContent = busy ? "Cancel" : "Remove";
  const events = clip.events || [];
  const length = clip.duration || Math.max(1, ...events.map((event) => event.end_pts ?? event.start_pts + 1));
  $(".timeline", card).replaceChildren(...events.map((event) => {
    const bar = document.createElement("i");
    bar.style.left = `${(100 * event.start_pts) / length}%`;
    bar.style.width = `${(100 * ((event.end_pts ?? length) - event.start_pts)) / length}%`;
    bar.title = event.label;
    bar.style.background = colour(event.label);
    return bar;
  }));
  $(".timeline", card).setAttribute("aria-label", events.map((event) => event.label).join(", ") || "no events");
  $("tbody", card).replaceChildren(...events.map((event) => cells([
    event.label, clock(event.start_pts), event.end_pts === null ? "…" : clock(event.end_pts), percent(event.mean_confidence),
  ])));
  $("table", card).hidden = !events.length;
  card.dataset.finished = String(!busy);
  return card;
}

let waiting;
async function refresh() {
  clearTimeout(waiting);
  try {
    const { clips } = await call("/clips");
    $("#access").hidden = true;
    const cards = await Promise.all(clips.slice(0, 20).map(async (clip) => {
      const card = shown.get(clip.id);
      return card?.dataset.finished === "true" ? card : show(await call(clip.links.self));
    }));
    if (cards.length) $("#clips").replaceChildren(...cards);
    else $("#clips").innerHTML = '<p class="quiet">None yet.</p>';
    waiting = setTimeout(refresh, cards.some((card) => card.dataset.finished !== "true") ? 1000 : 10000);
  } catch (error) {
    say(error.message, true);
    waiting = setTimeout(refresh, 5000);
  }
}

// Events as they come; after a break it goes on from the last position.
let position = null;
function listen() {
  const path = withToken(position === null ? "/events" : `/events?after=${position}`);
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
  socket.onopen = () => { $("#connection").textContent = "listening"; };
  socket.onclose = () => { $("#connection").textContent = "connection lost; trying again"; setTimeout(listen, 2000); };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    const rows = $("#live tbody");
    if (message.type === "hello" && position === null) position = message.position;
    if (message.type === "gap") {
      position = message.until;
      rows.prepend(cells(["", "gap", `messages ${message.after + 1} to ${message.until} are no longer kept`, "", ""]));
    }
    if (message.type === "event") {
      position = message.position;
      const { event } = message;
      rows.prepend(cells([
        new Date(message.recorded_at).toLocaleTimeString(), message.phase, event.label, percent(event.mean_confidence), nameOf(event.stream),
      ]));
    }
    while (rows.rows.length > LIVE_ROWS) rows.deleteRow(-1);
  };
}

async function begin() {
  try {
    const about = await call("/about");
    $("#about").textContent = `Model ${about.model}: ${about.labels.length} labels`;
    $("#labels").replaceChildren(...about.labels.map((label) => new Option(label)));
    $("#metrics").href = withToken("/metrics");
    listen();
    refresh();
  } catch (error) { say(error.message, true); }
}
$("#token-form").onsubmit = (event) => {
  event.preventDefault();
  token = $("#token").value.trim();
  sessionStorage.setItem("token", token);
  $("#access").hidden = true;
  say("");
  begin();
};
begin();
