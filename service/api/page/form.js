// The form that adds a stream or changes one, and the question before one is removed.
import { call, send } from "./api.js";
import { $, BACKGROUND, element } from "./words.js";

const NUMBERS = ["enter", "exit", "min_duration", "rate"];
const form = $("#stream-form");
const field = (name) => form.elements.namedItem(name);

export function offerLabels(labels) {
  $("#choices").replaceChildren(...labels.filter((label) => label !== BACKGROUND).map((label) => {
    const choice = element("label", "choice");
    const box = element("input");
    Object.assign(box, { type: "checkbox", name: "labels", value: label });
    choice.append(box, label);
    return choice;
  }));
}

// `stream` null: a new one. `done` is called after the service has taken it.
export function openForm(stream, done) {
  form.reset();
  say("");
  $("h2", form).textContent = stream ? `Change ${stream.name}` : "Add a stream";
  $("#save").textContent = stream ? "Save" : "Add";
  field("name").readOnly = Boolean(stream);
  field("source").required = !stream;
  field("source").placeholder = stream ? stream.source : "rtsp://camera.example/stream";
  $("#source-hint").hidden = !stream;
  $("details", form).open = Boolean(stream);
  if (stream) fill(stream);
  form.onsubmit = (event) => {
    event.preventDefault();
    if (isComplete()) submit(stream, done);
  };
  $("#stream-dialog").showModal();
  field(stream ? "source" : "name").focus();
}

function fill({ name, options }) {
  field("name").value = name;
  for (const key of NUMBERS) field(key).value = options[key] ?? "";
  field("window").value = options.window_seconds ?? options.window;
  field("unit").value = options.window_seconds === null ? "frames" : "seconds";
  field("record").value = options.record;
  for (const box of form.querySelectorAll("[name=labels]")) box.checked = Boolean(options.labels?.includes(box.value));
}

// What the browser itself can tell; a field that is folded away is shown first.
function isComplete() {
  const wrong = form.querySelector("input:invalid");
  if (!wrong) return true;
  wrong.closest("details")?.setAttribute("open", "");
  wrong.reportValidity();
  return false;
}

async function submit(stream, done) {
  const source = field("source").value.trim();
  const options = { ...stream?.options, ...chosen() };
  $("#save").disabled = true;
  say("");
  try {
    if (stream) await send("PATCH", stream.links.self, source ? { source, options } : { options });
    else await send("POST", "streams", { name: field("name").value.trim(), source, options });
    $("#stream-dialog").close();
    done();
  } catch (error) { say(error.message); }
  $("#save").disabled = false;
}

function chosen() {
  const options = {};
  for (const key of NUMBERS) if (field(key).value || key === "rate") options[key] = number(key);
  const inSeconds = field("unit").value === "seconds";
  if (field("window").value) options[inSeconds ? "window_seconds" : "window"] = number("window");
  if (!inSeconds) options.window_seconds = null;
  options.record = field("record").value;
  const labels = [...form.querySelectorAll("[name=labels]:checked")].map((box) => box.value);
  options.labels = labels.length ? labels : null;
  return options;
}
const number = (key) => (field(key).value ? Number(field(key).value) : null);

function say(text) {
  $("#form-message").textContent = text;
}
for (const button of document.querySelectorAll("dialog .cancel")) {
  button.onclick = () => button.closest("dialog").close();
}

export function askToRemove(stream, done) {
  const dialog = $("#confirm-dialog");
  const tell = (text) => { $("#confirm-message").textContent = text; };
  tell("");
  $("#confirm-name").textContent = stream.name;
  $("#with-recordings").checked = false;
  $("#confirm").onclick = async () => {
    try {
      const recordings = $("#with-recordings").checked ? "delete" : "keep";
      await call(`${stream.links.self}?recordings=${recordings}`, { method: "DELETE" });
      dialog.close();
      $("#add").focus();  // the button that opened this goes with its card
      done();
    } catch (error) { tell(error.message); }
  };
  dialog.showModal();
  $(".cancel", dialog).focus();
}
