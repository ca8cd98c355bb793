// The page: what the model is, the token where one is needed, then the parts, each in a module of its own.
import { call, setToken, withToken } from "./api.js";
import { nameOf, startClips } from "./clips.js";
import "./drop.js";
import { hearEvents, startFeed } from "./feed.js";
import { offerLabels } from "./form.js";
import { startLabels } from "./labels.js";
import { showLatest } from "./latest.js";
import { startStreams } from "./streams.js";
import { $, noteLabels } from "./words.js";

const AGAIN = 5000;
const SOON = 1000;
let begun = false;

async function begin() {
  try {
    await showModel();
    $("#access").hidden = true;
    $("#metrics").href = withToken("metrics");
    // What is listed first comes with the page, not under the pointer of who is about to click.
    await Promise.race([start(), new Promise((resolve) => { setTimeout(resolve, SOON); })]);
    $("#main").hidden = false;
  } catch (error) {
    const locked = error.status === 401;
    $("#about").textContent = locked ? "A valid token is needed" : error.message;
    if (locked) $("#connection").textContent = "Waiting for a token";
    else setTimeout(begin, AGAIN);
  }
}

async function showModel() {
  const { model, labels, scopes } = await call("about");
  $("#main").dataset.may = scopes.join(" ");
  $("#about").textContent = `Model ${model}, ${labels.length} labels`;
  $("#labels").replaceChildren(...labels.map((label) => new Option(label)));
  offerLabels(labels);
  noteLabels(labels);
}

async function start() {
  if (begun) return;
  begun = true;
  hearEvents((message) => showLatest(message, nameOf));
  const clips = startClips();
  clips.finally(() => startFeed(showConnection));  // by then clips' events have a name
  const labels = startLabels(() => showModel().catch(() => {}));  // what could not be asked is asked at the next change
  await Promise.all([startStreams(), labels, clips]);
}

function showConnection(open) {
  $("#connection").textContent = open ? "Connected" : "Connection lost; trying again";
  $("#connection").classList.toggle("open", open);
}

document.addEventListener("locked", () => {
  if (!$("#access").hidden) return;
  $("#access").hidden = false;
  $("#token").focus();
});
$("#token-form").onsubmit = async (event) => {
  event.preventDefault();
  setToken($("#token").value);
  $("#access").hidden = true;
  $("#token-message").textContent = "";
  await begin();
  if (!$("#access").hidden) $("#token-message").textContent = "The service does not know this token.";
};
begin();
