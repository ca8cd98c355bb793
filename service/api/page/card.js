// One stream: its picture, state, present label, figures, timeline and recordings.
import { call, connect, now, withToken } from "./api.js";
import { Picture } from "./picture.js";
import { Timeline } from "./timeline.js";
import { $, BACKGROUND, colour, element, fromTemplate, percent, put, size, span } from "./words.js";

const LABELS_RATE = 5;
const MOST_RECORDINGS = 20;
const MORE_EVERY = 30000;
const SETTLED = 3000;  // milliseconds that a state lasts before it is announced
const LABELLED = new Set(["live", "stalled"]);  // in other states the last label says nothing about now
const STATES = {
  connecting: "Connecting", live: "Live", stalled: "Stalled", frozen: "Frozen", blind: "Blind",
  lost: "Lost", ended: "Ended", failed: "Failed",
};
const REASONS = { stalled: "no new picture comes", frozen: "the picture does not change", blind: "nothing can be seen" };
const views = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) target.dispatchEvent(new CustomEvent("view", { detail: isIntersecting }));
}, { rootMargin: "80px" });

export class Card {
  // `announce` says a text to screen readers; `gone` is called when the stream has ended under this page.
  constructor(stream, { announce, gone, change, remove }) {
    this.root = fromTemplate("#stream");
    this.announce = announce;
    this.gone = gone;
    this.find = (selector) => $(selector, this.root);
    this.find(".name").textContent = stream.name;
    this.root.setAttribute("aria-label", `Stream ${stream.name}`);
    this.picture = new Picture(this.find(".picture"), stream.links, stream.name);
    this.timeline = new Timeline(this.find(".timeline"), stream.links.events);
    this.readMore = 0;
    this.show(stream);
    this.wire(change, remove);
    const path = `${stream.links.labels}?mode=latest&rate=${LABELS_RATE}`;
    this.hangUp = connect(() => path, (message) => this.hear(message), (open) => this.stand(open));
  }

  wire(change, remove) {
    this.find(".change").onclick = () => change(this.stream);
    this.find(".remove").onclick = () => remove(this.stream);
    this.find(".pause").onclick = () => this.pause();
    this.find(".enlarge").onclick = () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.find(".screen").requestFullscreen?.();
    };
    this.find(".more").ontoggle = () => {
      this.choose();
      this.showMore();
    };
    this.find(".screen").onfullscreenchange = () => this.choose();
    this.find(".screen").addEventListener("view", ({ detail }) => this.picture.show({ inView: detail }));
    views.observe(this.find(".screen"));
  }

  // What is looked at closely moves, whatever else has to stand still for it.
  choose() {
    this.picture.show({ chosen: this.find(".more").open || document.fullscreenElement === this.find(".screen") });
  }

  close() {
    clearTimeout(this.settling);
    this.hangUp();
    this.picture.close();
    views.unobserve(this.find(".screen"));
    this.root.remove();
  }

  hear(message) {
    if (message.type === "snapshot") {
      this.show(message.stream, true);
      if (message.last && LABELLED.has(message.stream.state)) this.showLabel(message.last);
    } else if (message.type === "label") this.showLabel(message);
    else if (message.type === "state") this.showState(message);
    else if (message.type === "removed") {
      this.isAfresh = true;  // unless it is gone for good, which `gone` finds out
      this.gone();
    }
  }

  // While nothing is heard, nothing is claimed: no label, no state.
  stand(open) {
    this.isHeard = open;
    this.root.classList.toggle("unheard", !open);
    if (open) return;
    this.forgetLabel();
    this.timeline.noteState(null);
    this.picture.show({ state: "unknown" });
    if (this.isAfresh) this.showStanding("connecting", "Starting afresh", "");
    else if (this.root.dataset.state !== "unknown") this.showStanding("unknown", "Not connected", "Trying again.");
    this.isAfresh = false;  // if it does not come back, it is not that
  }

  // Why nothing is heard; whether GET /streams is answered tells.
  explain(answered) {
    if (this.isHeard || this.root.dataset.state !== "unknown") return;
    const reason = answered ? "Its labels cannot be followed, perhaps because too many listen" : "The service does not answer";
    this.showStanding("unknown", "Not connected", `${reason}; trying again.`);
  }

  // What GET /streams tells; the state only where the socket does not tell it sooner.
  show(stream, told = false) {
    this.stream = stream;
    this.explain(true);
    if (told) this.showState(stream);
    else if (this.isHeard && this.standing) this.showStanding(this.standing.state, this.words(), this.reason());
    put(this.find(".source"), stream.source);
    this.find(".by-operator").hidden = stream.defined_by !== "operator";
    this.find(".by-client").hidden = stream.defined_by === "operator";
    put(this.find(".fps"), figure(stream.fps, 1));
    put(this.find(".classified"), figure(stream.classified_fps, 1));
    this.find(".classified").parentElement.title =
      `${stream.reused.toLocaleString()} pictures looked like the last classified one and took its label`;
    put(this.find(".dropped"), stream.dropped.toLocaleString());
    put(this.find(".size"), stream.width ? `${stream.width}×${stream.height}` : "");
  }

  showState(standing) {
    // Why it has to try again is told during the try too: what lies below would move up and down with every one.
    this.standing = triesAgain(standing) ? { ...standing, reason: this.standing?.reason } : standing;
    this.timeline.noteState(standing.state, Date.parse(standing.since));
    this.showStanding(standing.state, this.words(), this.reason());
    this.showNextTry();
    this.picture.show({ state: standing.state });
    if (!LABELLED.has(standing.state)) this.forgetLabel();
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.announceState(), SETTLED);
  }

  // Not every flicker, nor every try of a camera that stays away: only what is new.
  announceState() {
    const { state, reason } = this.standing;
    if (state === "connecting" || state === this.announced) return;
    if (this.announced) this.announce(`${this.stream.name}: ${this.words()}${reason ? `, ${reason}` : ""}.`);
    this.announced = state;
  }

  words() {
    const { state } = this.standing;
    return state === "live" && this.stream.is_live === false ? "Playing" : STATES[state] || state;
  }

  showStanding(state, words, reason) {
    this.root.dataset.state = state;
    put(this.find(".state .text"), words);
    put(this.find(".reason"), reason);
    this.find(".reason").hidden = !reason;
    put(this.find(".placeholder"), this.picture.paused ? `${words}, picture paused` : words);
  }

  reason() {
    return this.standing.reason || REASONS[this.standing.state] || "";
  }

  showNextTry() {
    const words = this.isHeard ? nextTry(this.standing) : "";
    put(this.find(".next"), words);
    this.find(".next").hidden = !words;
  }

  showLabel(label) {
    if (this.standing && !LABELLED.has(this.standing.state)) return;
    this.age = label.frame_age;
    const isEvent = label.label !== BACKGROUND;
    this.find(".label").classList.toggle("nothing", !isEvent);
    put(this.find(".label"), isEvent ? label.label : "nothing of note");
    this.root.style.setProperty("--label", colour(label.label));
    put(this.find(".share"), percent(label.confidence));
    this.find(".meter i").style.width = `${100 * label.confidence}%`;
    this.find(".meter").setAttribute("aria-valuenow", Math.round(100 * label.confidence));
    this.root.classList.toggle("in-event", label.event !== null);
    this.showTop(label.top);
  }

  showTop(top) {
    const list = this.find(".top");
    while (list.children.length < top.length) list.append(topRow());
    while (list.children.length > top.length) list.lastChild.remove();
    top.forEach(({ label, confidence }, index) => {
      const [name, bar, share] = list.children[index].children;
      put(name, label);
      put(share, percent(confidence));
      bar.firstChild.style.width = `${100 * confidence}%`;
      bar.firstChild.style.background = colour(label);
    });
  }

  forgetLabel() {
    this.age = null;
    put(this.find(".label"), "–");
    this.find(".label").classList.add("nothing");
    put(this.find(".share"), "");
    this.find(".meter i").style.width = "0";
    this.find(".meter").removeAttribute("aria-valuenow");
    this.root.classList.remove("in-event");
    this.find(".top").replaceChildren();
  }

  pause() {
    const paused = !this.picture.paused;
    this.picture.show({ paused });
    this.find(".pause").setAttribute("aria-pressed", paused);
    this.find(".pause").title = paused ? "Show the picture" : "Pause the picture";
    if (this.standing) this.showStanding(this.root.dataset.state, this.find(".state .text").textContent, this.reason());
  }

  // Once a second.
  tick() {
    put(this.find(".age"), this.age === null || this.age === undefined ? "–" : `${Math.round(1000 * this.age)} ms`);
    if (this.standing) this.showNextTry();
    if (this.picture.inView) this.timeline.draw();
    if (this.find(".more").open && Date.now() - this.readMore > MORE_EVERY) this.showMore();
  }

  async showMore() {
    if (!this.find(".more").open) return;
    this.readMore = Date.now();
    try {
      const { links } = this.stream;
      const [{ recordings }, { hours }] = await Promise.all([
        call(`${links.recordings}?limit=${MOST_RECORDINGS}`), call(links.coverage),
      ]);
      this.showRecordings(recordings);
      put(this.find(".coverage"), covered(hours));
    } catch (error) { put(this.find(".coverage"), error.message); }
  }

  showRecordings(recordings) {
    this.find(".recordings").hidden = !recordings.length;
    this.find(".recordings ul").replaceChildren(...recordings.map((one) => {
      const item = element("li");
      const link = element("a", "", new Date(one.finished_at).toLocaleString([], { hourCycle: "h23" }));
      link.href = withToken(one.link);
      link.download = one.file;
      const label = this.timeline.labelOf(one.file.replace(/(\.\d+)?\.avi$/, ""));
      item.append(link, ` ${label ? `${label}, ` : ""}${size(one.bytes)}`);
      return item;
    }));
  }
}

const figure = (value, digits) => (value === null ? "–" : value.toFixed(digits));

const triesAgain = ({ state, attempt }) => state === "connecting" && attempt > 1;

function nextTry(standing) {
  if (triesAgain(standing)) return `Trying now (attempt ${standing.attempt})`;
  if (!standing.next_try_at) return "";
  const wait = Math.max(0, (Date.parse(standing.next_try_at) - now()) / 1000);
  return `Next try ${wait < 1 ? "now" : `in ${Math.round(wait)} s`} (attempt ${standing.attempt + 1})`;
}

function topRow() {
  const row = element("li");
  const bar = element("span", "thin");
  bar.append(element("i"));
  row.append(element("span"), bar, element("span", "number"));
  return row;
}

function covered(hours) {
  const sum = (name) => hours.reduce((total, hour) => total + hour[name], 0);
  return `Last 24 hours: watched ${span(sum("watched"))}, without pictures ${span(sum("dropped"))}, blind ${span(sum("blind"))}`;
}
