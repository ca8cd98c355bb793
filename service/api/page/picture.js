// The live picture of a stream. It is fetched only while somebody can see it, so that nothing is encoded
// for nobody. A browser opens six connections to a host at most and a live picture holds one for good:
// beyond the first few, pictures are stills that are fetched anew every other second.
import { withToken } from "./api.js";

const MOST_LIVE = 4;
const RATE = 8;
const STILL_EVERY = 2000;
const AGAIN = 5000;
const HAS_PICTURE = new Set(["live", "stalled", "frozen", "blind"]);
const all = new Set();
const live = new Set();
const updateAll = () => { for (const picture of all) picture.update(); };
document.addEventListener("visibilitychange", updateAll);

export class Picture {
  constructor(place, links, name) {
    this.place = place;
    this.links = links;
    this.name = name;
    this.state = "connecting";
    this.inView = this.paused = false;
    this.mode = "off";
    all.add(this);
  }

  // What is left out stays as it is.
  show({ state, inView, paused }) {
    Object.assign(this, { state: state ?? this.state, inView: inView ?? this.inView, paused: paused ?? this.paused });
    this.update();
  }

  close() {
    all.delete(this);
    this.stop();
    updateAll();
  }

  update() {
    const wanted = HAS_PICTURE.has(this.state) && this.inView && !this.paused && !document.hidden;
    const mode = !wanted ? "off" : live.has(this) || live.size < MOST_LIVE ? "live" : "still";
    if (mode === this.mode) return;
    const seatLeft = this.mode === "live";
    this.stop();
    this.mode = mode;
    if (mode === "live") live.add(this);
    if (mode !== "off") this.load();
    if (seatLeft) updateAll();
  }

  load() {
    const image = new Image();
    image.alt = `Live picture of ${this.name}`;
    image.onload = () => { if (this.mode === "still") this.later(STILL_EVERY); };
    image.onerror = () => this.later(AGAIN);
    image.src = this.mode === "live" ? withToken(`${this.links.live}?rate=${RATE}`) : this.still();
    this.image = image;
    this.place.replaceChildren(image);
  }

  later(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.mode === "still") this.image.src = this.still();
      else if (this.mode === "live") this.load();
    }, wait);
  }

  still() {
    return withToken(`${this.links.snapshot}?at=${Date.now()}`);
  }

  stop() {
    clearTimeout(this.timer);
    live.delete(this);
    this.mode = "off";
    if (!this.image) return;
    this.image.onload = this.image.onerror = null;
    this.image.removeAttribute("src");  // ends the connection, which removing the element alone does not
    this.image.remove();
    this.image = null;
  }
}
